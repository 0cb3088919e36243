"""Data sets in the hub's formats, in a local folder: images, texts, captions."""

import io

import numpy as np
import pytest
from PIL import Image

from kcm_lightning.data import HubCaptions, HubImages, HubTexts
from kcm_lightning.utils.errors import InputError

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.slow
CLASSES = ["owl", "cat", "dog"]


def image(seed, kind="JPEG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (30 + seed % 7, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return {"bytes": file.getvalue(), "path": None}


def save(folder, splits, features):
    for split, rows in splits.items():
        columns = {name: [row[name] for row in rows] for name in features}
        data = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
        (folder / "data").mkdir(parents=True, exist_ok=True)
        data.to_parquet(str(folder / "data" / f"{split}-00000-of-00001.parquet"))
    return folder


@pytest.fixture
def images(tmp_path):
    def rows(count, seed):
        return [{"img": image(seed + n), "kind": n % 3} for n in range(count)]

    splits = {"train": rows(60, 0), "validation": rows(20, 100), "test": rows(21, 200)}
    features = {"img": datasets.Image(), "kind": datasets.ClassLabel(names=CLASSES)}
    return save(tmp_path / "pets", splits, features), splits


def test_images_and_their_classes(images, tmp_path):
    folder, splits = images
    options = {"image": "img", "label": "kind", "image_size": 16, "prepared": str(tmp_path / "prepared")}
    data = HubImages(str(folder), **options)
    data.prepare_data()
    data.setup()
    assert data.name == "pets" and data.class_names == sorted(CLASSES)
    for split, name in {"train": "train", "val": "validation", "test": "test"}.items():
        batch = data.batches[data.positions[split]]
        stored = {row["img"]["bytes"]: CLASSES[row["kind"]] for row in splits[name]}
        assert {
            path.read_bytes(): data.class_names[label]
            for path, label in zip(batch["large"], batch["target"].tolist(), strict=True)
        } == stored
    again = HubImages(str(folder), **options)
    again.setup()
    assert again.fingerprint() == data.fingerprint()


def test_texts_and_their_classes(tmp_path, word_tokenizer):
    rows = [{"body": f"the box number {n} is late", "title": f"t{n}", "topic": n % 3} for n in range(200)]
    features = {"body": datasets.Value("string"), "title": datasets.Value("string")}
    features["topic"] = datasets.ClassLabel(names=CLASSES)
    folder = save(tmp_path / "tickets", {"train": rows[:150], "test": rows[150:]}, features)
    options = {"text": ["title", "body"], "label": "topic", "tokenizer": str(word_tokenizer)}
    data = HubTexts(str(folder), prepared=str(tmp_path / "prepared"), **options)
    data.prepare_data()
    data.setup()
    assert data.name == "tickets" and data.class_names == sorted(CLASSES)
    tested = data.batches[data.positions["test"]]
    assert sorted(tested["large"]) == sorted(f"{row['title']}\n{row['body']}" for row in rows[150:])
    assert len(data.positions["val"]) and len(data.positions["train"]) + len(data.positions["val"]) == 150


def test_captions(tmp_path):
    def rows(count, seed):
        return [{"image": image(seed + n), "said": [f"a dog runs {n}", "it is a dog"]} for n in range(count)]

    features = {"image": datasets.Image(), "said": datasets.Sequence(datasets.Value("string"))}
    splits = {"train": rows(12, 0), "validation": rows(5, 50), "test": rows(6, 90)}
    folder = save(tmp_path / "captioned", splits, features)
    data = HubCaptions(
        str(folder), caption="said", image_size=16, vocab_size=8, prepared=str(tmp_path / "prepared")
    )
    data.prepare_data()
    data.setup()
    assert [len(data.positions[split]) for split in ("train", "val", "test")] == [12, 5, 6]
    ids = data.batches[data.positions["test"]]["index"]
    assert sorted(data.references(ids)) == sorted([f"a dog runs {n}", "it is a dog"] for n in range(6))


def test_what_cannot_be_used_is_one_line(images, tmp_path, monkeypatch):
    folder, _ = images
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name, options, said in (
        (str(folder), {"image": "picture"}, "has no column 'picture'; it has img, kind"),
        (str(folder), {"image": "kind", "label": "img"}, "column 'kind' holds no images"),
        (str(tmp_path / "nowhere"), {}, "cannot be read, neither as a folder nor from the hub"),
    ):
        settings = {"image": "img", "label": "kind", "prepared": str(tmp_path / "p")} | options
        with pytest.raises(InputError, match=said) as error:
            HubImages(name, **settings).prepare_data()
        assert "\n" not in str(error.value)
