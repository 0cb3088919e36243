"""Captioned images: formats, vocabulary, damaged and odd files, and what an answered file leaves out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kcm_lightning.data import MSCOCO
from kcm_lightning.data.image_store import ImageStore
from kcm_lightning.data.vocabulary import Vocabulary
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.image_io import open_image
from kcm_lightning.utils.tokens import BEGIN, END, PADDING, UNKNOWN
from tests.data.caption_data import write, write_odd
from tests.utils.image_files import write_jpeg_with_exif, write_tiff


@pytest.fixture
def make(tmp_path):
    write(tmp_path / "tiny")

    def make(setup=True, **options) -> MSCOCO:
        settings = {
            "root": str(tmp_path / "tiny"),
            "captions": "dataset_tiny.json",
            "images": "images",
            "image_size": 16,
        }
        data = MSCOCO(**{**settings, "prepared": str(tmp_path / "prepared"), "vocab_size": 18, **options})
        if setup:
            data.setup()
        return data

    make.folder = tmp_path / "tiny"
    return make


def test_splits_captions_and_pixels(make):
    data = make()
    assert {split: len(rows) for split, rows in data.positions.items()} == {
        "train": 32,
        "val": 12,
        "test": 12,
    }
    batch = data.view(data.batches[data.positions["test"][:4]], augment=False)
    assert batch["pixels"].shape == batch["small"].shape == (4, 3, 16, 16)
    assert batch["pixels"].float().mean((2, 3)).argmax(1)[:3].tolist() == [0, 1, 2]  # red, green, blue
    assert data.references(batch["index"])[0][1] == "the picture shows a red wall"
    assert data.vocabulary.decode(batch["target"][0].tolist()) == "a red wall is all there is"
    assert batch["large"][0].endswith("044.jpg")


def test_training_takes_any_caption(make):
    data = make()
    rows = data.positions["train"].repeat(8)
    batch = data.view(data.batches[rows], augment=True)
    seen = {data.vocabulary.decode(row.tolist()).split()[0] for row in batch["target"]}
    assert seen == {"a", "the", "this"} and batch["small"].shape == (256, 3, 16, 16)


def test_pool_takes_the_first_half_of_val(make):
    data, whole = make(distill_split="both"), make()
    assert torch.equal(torch.cat([data.positions["pool"], data.positions["val"]]), whole.positions["val"])
    assert data.fingerprint()["test"] == whole.fingerprint()["test"]


def test_images_without_an_answer_are_left_out_and_counted(make):
    answers = make.folder / "answers.jsonl"
    answers.write_text(
        "".join(json.dumps({"filename": f"{n:03}.jpg", "caption": "x"}) + "\n" for n in range(30, 50))
    )
    data = make(answered=str(answers))
    assert (
        len(data.positions["train"]) == 32
        and len(data.positions["val"]) == 12
        and len(data.positions["test"]) == 6
    )
    assert data.fingerprint()["left_out"] == {"bad": 0, "uncaptioned": 0, "unanswered": 6}


def test_official_annotation_files(make, tmp_path):
    root = tmp_path / "coco"
    root.mkdir()
    rows = json.loads((make.folder / "dataset_tiny.json").read_text())["images"]
    files = {}
    for split in ("train", "val", "test"):
        own = [row for row in rows if row["split"] == split]
        (root / f"{split}2017").symlink_to(make.folder / "images")
        images = [{"id": n, "file_name": row["filename"]} for n, row in enumerate(own)]
        notes = [
            {"id": 10 * n + i, "image_id": n, "caption": s["raw"]}
            for n, row in enumerate(own)
            for i, s in enumerate(row["sentences"])
        ]
        files[split] = f"captions_{split}2017.json"
        (root / files[split]).write_text(
            json.dumps({"images": images, "annotations": notes, "info": {}, "licenses": []})
        )
    official, karpathy = make(root=str(root), annotations=files), make()
    for split in ("train", "val", "test"):
        assert official.fingerprint()[split] == karpathy.fingerprint()[split]
    assert official.name == "coco" and karpathy.name.startswith("tiny-")
    del files["test"]
    halved, whole = make(root=str(root), annotations=files).positions, official.positions
    assert (
        halved["val"].tolist() == whole["val"][::2].tolist()
        and halved["test"].tolist() == whole["val"][1::2].tolist()
    )


def test_sets_with_one_file_name_are_two_sets(make):
    first, again, file = make(setup=False), make(setup=False), make.folder / "dataset_tiny.json"
    assert first.name == again.name
    file.write_text(file.read_text().replace("red", "scarlet"))
    assert make(setup=False).name != first.name


def test_images_of_one_name_in_several_folders_are_several_images(make, tmp_path):
    root, files = tmp_path / "coco", {}
    for split, color in (("train", "red"), ("val", "green"), ("test", "blue")):
        (root / f"{split}2017").mkdir(parents=True)
        Image.new("RGB", (20, 20), color).save(root / f"{split}2017" / "000.jpg")
        files[split] = f"captions_{split}2017.json"
        images, notes = (
            [{"id": 1, "file_name": "000.jpg"}],
            [{"id": 1, "image_id": 1, "caption": f"all {color}"}],
        )
        (root / files[split]).write_text(json.dumps({"images": images, "annotations": notes}))
    data = make(root=str(root), annotations=files, vocab_size=5)
    for split, color in (("train", "red"), ("val", "green"), ("test", "blue")):
        assert data.references(data.batches[data.positions[split]]["index"]) == [[f"all {color}"]]
    (root / files["val"]).write_text(
        json.dumps({"images": [{"id": 1, "file_name": "000.jpg"}], "annotations": []})
    )
    with pytest.raises(InputError, match="no image of split val can be used; left out: 1 uncaptioned"):
        make(root=str(root), annotations=files, vocab_size=5)
    instances = {
        "images": [{"id": 1, "file_name": "000.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "bbox": []}],
    }
    (root / files["val"]).write_text(json.dumps(instances))
    with pytest.raises(InputError, match="is no file of captions"):
        make(root=str(root), annotations=files, vocab_size=5)


def test_images_are_upright_and_of_any_depth(tmp_path):
    image = Image.new("RGB", (30, 20), "red")
    turned = image.getexif()
    turned[274] = 6
    image.save(tmp_path / "turned.jpg", exif=turned)
    assert open_image(tmp_path / "turned.jpg").size == (20, 30)
    Image.fromarray(np.full((4, 4), 32768, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(open_image(tmp_path / "deep.png"))[0, 0].tolist() == [128, 128, 128]


def test_a_image_that_changes_under_its_name_is_another_one(make, tmp_path):
    class OneProcess:
        world_size, global_rank, training = 1, 0, False

    folder, places = tmp_path / "own", []
    folder.mkdir()
    data = make(predict_folder=str(folder))
    data.trainer = OneProcess()
    for color in ("red", "blue"):
        Image.new("RGB", (20, 20 if color == "red" else 30), color).save(folder / "a.png")
        (batch,) = data.predict_dataloader()
        places += batch["index"].tolist()
    assert len(set(places)) == 2


def test_bad_images_are_found_before_training(make):
    first, second = make.folder / "images" / "003.jpg", make.folder / "images" / "040.jpg"
    first.write_bytes(first.read_bytes()[:300])
    second.unlink()
    with pytest.raises(
        InputError, match=r"2 images are missing or damaged: .*003\.jpg, .*040\.jpg; --data\.bad_images=skip"
    ):
        make()
    data = make(bad_images="skip")
    assert len(data.positions["train"]) == 31 and len(data.positions["val"]) == 11
    assert data.fingerprint()["left_out"]["bad"] == 2


@pytest.fixture
def odd_images(tmp_path):
    folder, random = tmp_path / "odd", np.random.RandomState(0)
    folder.mkdir()
    for number in range(195):
        Image.fromarray(random.randint(0, 255, (20, 30, 3), dtype=np.uint8)).save(folder / f"{number:03}.jpg")
    write_odd(folder)
    return folder


def test_odd_images_are_read_and_bad_ones_named(odd_images, tmp_path):
    paths = sorted(odd_images.iterdir())
    ImageStore.make(tmp_path / "store", paths, 16)
    store = ImageStore(tmp_path / "store")
    assert [paths[number].name for number in store.bad] == ["truncated.jpg"]
    colors = {
        path.name: store[torch.tensor([n])][0].float().mean((1, 2)).round().tolist()
        for n, path in enumerate(paths)
    }
    assert (
        colors["alpha.png"] == [255, 255, 255]
        and colors["dot.png"] == [0, 0, 255]
        and colors["wide.png"] == [0, 128, 0]
    )
    assert colors["cmyk.jpg"][0] > 200 and max(colors["cmyk.jpg"][1:]) < 60
    with pytest.raises(OSError):
        open_image(odd_images / "truncated.jpg")


def test_vocabulary_of_words():
    words = Vocabulary.of(["A red dog's ball.", "a red cat"], size=6)
    assert words.units == ["a", "red"] and len(words) == 6
    assert words.encode("A blue, red", 5) == [4, UNKNOWN, 5, END] and words.encode("a a a a a", 3) == [
        4,
        4,
        END,
    ]
    assert words.decode([BEGIN, 4, 5, END, 4]) == "a red" and words.decode([PADDING, UNKNOWN]) == ""


def test_vocabulary_of_the_large_models_tokens(word_tokenizer):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(word_tokenizer)
    vocabulary = Vocabulary.of(["the box", "great box"], tokenizer)
    assert vocabulary.decode(vocabulary.encode("great box", 9)) == "great box"
    distribution = torch.rand(2, 3, len(tokenizer)).softmax(-1)
    likely = distribution.topk(len(tokenizer))
    gathered = vocabulary.gather(likely.indices, likely.values, end=3)
    numbers = vocabulary.numbers(torch.tensor([[tokenizer.convert_tokens_to_ids("box"), 3, 0, -1]]), end=3)
    assert numbers.tolist() == [[vocabulary.encode("box", 2)[0], END, UNKNOWN, PADDING]]
    own = [tokenizer.convert_tokens_to_ids(word) for word in ("box", "great", "the")]
    numbers = [vocabulary.encode(word, 2)[0] for word in ("box", "great", "the")]
    total = distribution[..., [*own, 3]].sum(-1)
    for word, number in zip(own, numbers, strict=True):
        torch.testing.assert_close(gathered[..., number], distribution[..., word] / total)
    torch.testing.assert_close(gathered[..., END], distribution[..., 3] / total)
    torch.testing.assert_close(gathered.sum(-1), torch.ones(2, 3))


def test_bad_input(make, tmp_path):
    (tmp_path / "cut.json").write_text('{"images": [')
    (tmp_path / "other.json").write_text('{"rows": []}')
    (tmp_path / "short.json").write_text('{"images": [{"filename": "x"}]}')
    cases = {
        "there is no caption file": {"captions": "none.json"},
        "is no JSON, or cut off": {"captions": str(tmp_path / "cut.json")},
        "holds no list `images`": {"captions": str(tmp_path / "other.json")},
        "not in Karpathy's format": {"captions": str(tmp_path / "short.json")},
        "answered: there is no file": {"answered": "none.jsonl"},
        "image_size must be at least 16": {"image_size": 4},
        "make a vocabulary of 18: set --data.vocab_size=18": {"vocab_size": 19},
    }
    for said, options in cases.items():
        with pytest.raises(InputError, match=said):
            make(**options)
    with pytest.raises(InputError, match="missing or damaged"):
        make().batch_of([str(tmp_path / "cut.json")])


def test_what_is_left_out_is_counted_and_said(make):
    file = make.folder / "dataset_tiny.json"
    content = json.loads(file.read_text())
    rows = content["images"]
    rows[0]["split"] = rows[1]["split"] = "tset"
    rows[2]["sentences"] = []
    rows[3]["sentences"][0]["raw"] = None
    file.write_text(json.dumps(content))
    words = "1 uncaptioned, 1 captions without a word, 2 of the unknown split 'tset'"
    with pytest.warns(UserWarning, match=f"tiny-.*: left out: {words}"):
        data = make()
    assert data.title == f"{data.name} (left out: {words})"
    found = data.fingerprint()
    assert found["left_out"]["of the unknown split 'tset'"] == 2
    assert found["left_out"]["captions without a word"] == 1
    used = sum(found[split]["samples"] for split in ("train", "val", "test"))
    assert used + found["left_out"]["uncaptioned"] + 2 == len(rows) == 56


def test_images_of_unknown_splits_are_not_even_looked_for(make):
    file = make.folder / "dataset_tiny.json"
    content = json.loads(file.read_text())
    content["images"].append({"filename": "none.jpg", "split": "other", "sentences": []})
    file.write_text(json.dumps(content))
    assert make().left_out["bad"] == 0


def test_an_annotation_file_of_an_unknown_split_is_refused(make):
    with pytest.raises(InputError, match=r"--data\.annotations\.vla: the splits are train, val, test"):
        make(setup=False, annotations={"train": "a.json", "vla": "b.json"})


def test_a_line_of_the_answered_file_without_a_name_is_refused(make):
    (make.folder / "answers.jsonl").write_text('{"filename": "040.jpg"}\n{"caption": "x"}\n')
    with pytest.raises(InputError, match=r"--data\.answered: .*answers\.jsonl, line 2: it has no `filename`"):
        make(answered=str(make.folder / "answers.jsonl"))


def test_images_elsewhere_are_found(make, tmp_path):
    data = make(images=str(make.folder / "images"), root=str(tmp_path), captions="tiny/dataset_tiny.json")
    assert {split: len(rows) for split, rows in data.positions.items()} == {
        "train": 32,
        "val": 12,
        "test": 12,
    }


def test_a_users_odd_images_are_read_or_named_with_the_reason(make, tmp_path, monkeypatch):
    data, odd = make(), tmp_path / "own"
    odd.mkdir()
    sideways, title = (274, 3, 1, b"\x06\0\0\0"), (0x010E, 11, 1, b"\xff" * 4)
    write_jpeg_with_exif(odd / "exif.jpg", [sideways, title])
    deep = np.full((20, 20), 40_000, dtype="<u2")
    write_tiff(odd / "deep.tif", deep.tobytes(), (20, 20))
    write_tiff(odd / "float.tif", deep.astype("<f4").tobytes(), (20, 20), bits=32, kind=3)
    Image.new("RGB", (90, 90)).save(odd / "large.png")
    monkeypatch.setattr("kcm_lightning.utils.image_io.MAX_PIXELS", 5_000)
    batch = data.batch_of([odd / "exif.jpg", odd / "deep.tif"])
    mean, std = torch.tensor(data.mean)[:, None, None], torch.tensor(data.std)[:, None, None]
    gray = (batch["small"][1] * std + mean) * 255
    torch.testing.assert_close(gray, torch.full((3, 16, 16), 156.0))  # 40,000 / 256
    with pytest.raises(
        InputError, match=r"2 images .*float\.tif, .*large\.png \(the first: its values have 32"
    ):
        data.batch_of([str(path) for path in sorted(odd.iterdir())])

    class OneProcess:
        world_size, global_rank, training = 1, 0, False

    data.predict_folder, data.trainer = str(odd), OneProcess()
    (batch,) = data.predict_dataloader()
    assert [path.rpartition("/")[2] for path in batch["large"]] == ["deep.tif", "exif.jpg"]
    reasons = {path.name: why for path, why in data.unreadable.items()}
    assert reasons["large.png"] == "90 x 90 pixels are more than 5,000" and "32 bits" in reasons["float.tif"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), "not Tensor"),
        (np.zeros(3), "not ndarray"),
        ("a.jpg", "not str"),
        (Path("a.jpg"), "not PosixPath"),
        ([], "this one is empty"),
        ([5], "number 0 is int"),
        (None, "not NoneType"),
        (5, "not int"),
    ],
)
def test_what_is_no_list_of_paths_is_one_line(make, wrong, said):
    with pytest.raises(InputError, match=f"images must be a list of paths.* {said}$"):
        make(setup=False).batch_of(wrong)


def test_links_that_lead_in_a_circle_are_named_and_the_others_captioned(make, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    Image.new("RGB", (20, 20), "red").save(folder / "red.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "there.png").symlink_to(folder / "back.png")
    (folder / "back.png").symlink_to(folder / "there.png")
    (folder / "nowhere.png").symlink_to(tmp_path / "none")
    (folder / "around").symlink_to(folder)
    (folder / "folder.png").mkdir()
    data = make()

    class OneProcess:
        world_size, global_rank, training = 1, 0, False

    data.predict_folder, data.trainer = str(folder), OneProcess()
    (batch,) = data.predict_dataloader()
    assert [path.rpartition("/")[2] for path in batch["large"]] == ["red.png"]
    bad = {path.name for path in data.unreadable}
    assert bad == {"loop.png", "there.png", "back.png", "nowhere.png", "folder.png"}
    with pytest.raises(InputError, match=r"1 images are missing or damaged: .*loop\.png"):
        data.batch_of([folder / "loop.png"])


def test_an_option_that_is_no_path_is_one_line(make):
    for option in ("root", "predict_folder", "prepared"):
        with pytest.raises(InputError, match=f"--data.{option}: 'a.x00b' holds a character that no path has"):
            make(setup=False, **{option: "a\0b"})
    for option in ("captions", "answered"):
        with pytest.raises(InputError, match="there is no"):
            make(**{option: "a\0b"})


@pytest.mark.parametrize(
    ("name", "images", "sizes"), [("coco", "", (426, 54, 84)), ("flickr8k", "images", (775, 115, 129))]
)
def test_real_images(real_data, tmp_path, name, images, sizes):
    data = MSCOCO(
        str(real_data / name), f"dataset_{name}.json", images=images, vocab_size=1000, prepared=str(tmp_path)
    )
    data.setup()
    assert tuple(len(data.positions[split]) for split in ("train", "val", "test")) == sizes
    assert data.name == name and data.fingerprint()["left_out"]["bad"] == 0
