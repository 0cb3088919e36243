"""Own images out of folders and tables: classes, splits, sizes, copies, damaged files."""

import csv
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from kcm_lightning.data import ImageFolder
from kcm_lightning.utils.errors import InputError

CLASSES = ("cat", "dog", "owl")


def save(path, seed, size=(40, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def fill(root, counts=(30, 20, 10), seed=0):
    """Images of different sizes and modes, by their place and class."""
    labels = {}
    for number, (name, count) in enumerate(zip(CLASSES, counts, strict=True)):
        for image in range(count):
            unique = seed * 100_000 + 1_000 * number + image
            mode = ("RGB", "L", "P", "RGBA")[image % 4]
            path = root / name / ("more" if image % 5 == 0 else ".") / f"{unique}.png"
            labels[save(path, unique, (20 + image, 50 - image), mode).resolve()] = name
    return labels


@pytest.fixture
def folder(tmp_path):
    def folder(root, setup=True, **options):
        data = ImageFolder(str(root), image_size=16, prepared=str(tmp_path / "prepared"), **options)
        if setup:
            data.prepare_data()
            data.setup()
        return data

    return folder


def by_path(data):
    """Class and split of each image by its path."""
    found = {}
    for split, positions in data.positions.items():
        if len(positions):
            batch = data.batches[positions]
            for path, label in zip(batch["large"], batch["target"].tolist(), strict=True):
                found[path.resolve()] = (data.class_names[label] if label >= 0 else None, split)
    return found


def test_class_folders_parted_by_a_seed(tmp_path, folder):
    labels = fill(tmp_path / "pets")
    data = folder(tmp_path / "pets")
    found = by_path(data)
    assert {path: label for path, (label, _) in found.items()} == labels
    assert data.class_names == list(CLASSES) and data.name == "pets" and data.image_shape == (3, 16, 16)
    sides = Counter(split for _, split in found.values())
    assert sides["test"] == pytest.approx(12, abs=8) and 0 < sides["val"] < 15 and not sides["pool"]
    counts = [sum(own == (name, "train") for own in found.values()) for name in CLASSES]
    assert data.class_counts.tolist() == counts
    assert data.regions["thirds"].tolist() == [0, 1, 2]
    again, other = folder(tmp_path / "pets"), folder(tmp_path / "pets", split_seed=5)
    assert by_path(again) == found and again.fingerprint() == data.fingerprint()
    assert {path for path, own in by_path(other).items() if own[1] == "test"} != {
        path for path, own in found.items() if own[1] == "test"
    }


def test_the_small_model_sees_the_middle_square_and_the_large_one_the_file(tmp_path, folder):
    fill(tmp_path / "pets")
    data = folder(tmp_path / "pets")
    batch = data.view(data.batches[data.positions["train"][:4]], augment=False)
    assert set(batch) == {"small", "large", "target", "index"} and batch["small"].shape == (4, 3, 16, 16)
    for small, path in zip(batch["small"], batch["large"], strict=True):
        image = Image.open(path)
        rgb = (
            Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            if image.mode == "RGBA"
            else image
        ).convert("RGB")
        side = min(rgb.size)
        left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
        square = rgb.resize((16, 16), box=(left, top, left + side, top + side))
        values = torch.from_numpy(np.asarray(square) / 255).permute(2, 0, 1)
        expected = (values - torch.tensor(data.mean)[:, None, None]) / torch.tensor(data.std)[:, None, None]
        assert (small - expected).abs().mean() < 0.1
    own = data.batch_of(batch["large"])
    assert torch.equal(own["small"], batch["small"]) and own["large"] == batch["large"]


def test_folders_of_splits_are_kept_and_unlabelled_ones_are_the_pool(tmp_path, folder):
    root, expected = tmp_path / "parted", {}
    for seed, (name, split) in enumerate({"train": "train", "valid": "val", "TEST": "test"}.items()):
        expected |= {path: (label, split) for path, label in fill(root / name, seed=seed).items()}
    for number in range(7):
        expected[save(root / "unlabelled" / f"{number}.jpg", 900 + number).resolve()] = (None, "pool")
    assert by_path(folder(root, distill_split="both")) == expected


def test_without_a_test_folder_one_is_parted_off(tmp_path, folder):
    val = fill(tmp_path / "root" / "val", seed=1)
    fill(tmp_path / "root" / "train", seed=2)
    found = by_path(folder(tmp_path / "root"))
    assert {path for path, own in found.items() if own[1] == "val"} == set(val)
    assert 0 < sum(own[1] == "test" for own in found.values()) < 40


@pytest.mark.parametrize("split", [None, "part"])
def test_a_table_of_paths_and_labels(tmp_path, folder, split):
    labels = fill(tmp_path / "images")
    rows = []
    for number, (path, label) in enumerate(labels.items()):
        part = ("train", "train", "val", "test")[number % 4]
        rows.append({"file": path.relative_to(tmp_path.resolve()), "kind": label, "part": part})
    with (tmp_path / "list.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    found = by_path(folder(tmp_path / "list.csv", path="file", label="kind", split=split))
    assert {path: own for path, (own, _) in found.items()} == labels
    if split:
        assert [found[(tmp_path / row["file"]).resolve()][1] for row in rows] == [row["part"] for row in rows]


def test_what_is_tested_on_is_trained_on_nowhere(tmp_path, folder, recwarn):
    root = tmp_path / "root"
    for seed, split in enumerate(("train", "val", "test")):
        fill(root / split, seed=seed)
    copied = sorted((root / "test" / "cat").glob("*.png"))[:5]
    for path in copied:
        (root / "train" / "dog" / path.name).write_bytes(path.read_bytes())
    data = folder(root)
    train, test = (set(data.contents(split).tolist()) for split in ("train", "test"))
    assert not train & test and len(data.positions["train"]) == 60 and len(data.positions["test"]) == 60
    said = " ".join(str(warning.message) for warning in recwarn)
    assert "5 copies of other images" in said and "5 of these with another label than it" in said


def test_names_of_classes_from_a_file(tmp_path, folder):
    fill(tmp_path / "pets")
    (tmp_path / "names.csv").write_text("folder,name\nowl,Eule\ncat,Katze\ndog,Hund\n")
    assert folder(tmp_path / "pets", class_names=str(tmp_path / "names.csv")).class_names == [
        "Katze",
        "Hund",
        "Eule",
    ]
    (tmp_path / "names.csv").write_text("folder,name\nowl,Eule\ncat,Katze\n")
    with pytest.raises(InputError, match=r"names.csv has no name for 'dog'"):
        folder(tmp_path / "pets", class_names=str(tmp_path / "names.csv"))


def test_damaged_images_stop_or_are_skipped(tmp_path, folder, recwarn):
    fill(tmp_path / "pets")
    (tmp_path / "pets" / "cat" / "bad.png").write_bytes(b"no image")
    with pytest.raises(
        InputError, match=r"1 images are missing or damaged: .*bad.png .*--data.bad_images=skip"
    ):
        folder(tmp_path / "pets")
    data = folder(tmp_path / "pets", bad_images="skip")
    assert sum(map(len, data.positions.values())) == 60
    assert "bad.png" in " ".join(str(warning.message) for warning in recwarn)


def test_a_changed_file_is_decoded_anew(tmp_path, folder):
    labels = fill(tmp_path / "pets")
    before = folder(tmp_path / "pets").fingerprint()
    save(next(iter(labels)), 777)
    assert folder(tmp_path / "pets").fingerprint() != before


@pytest.mark.parametrize(
    ("prepare", "options", "said"),
    [
        (lambda root: None, {}, "is neither a folder nor a table"),
        (lambda root: root.mkdir(), {}, "there are no images"),
        (lambda root: save(root / "a.png", 0), {}, "a.png is in no class's folder"),
        (lambda root: [save(root / "cat" / f"{n}.png", n) for n in range(9)], {}, "the only label is 'cat'"),
        (lambda root: fill(root), {"test_share": 0.95}, "below 1 together"),
        (
            lambda root: (fill(root / "train"), save(root / "test" / "emu" / "a.png", 5)),
            {},
            "only the test split has them",
        ),
        (lambda root: fill(root), {"image_size": 4}, "must be at least 8"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(tmp_path, prepare, options, said):
    prepare(tmp_path / "root")
    with pytest.raises(InputError, match=said):
        settings = {"image_size": 16, "prepared": str(tmp_path / "prepared")} | options
        data = ImageFolder(str(tmp_path / "root"), **settings)
        data.prepare_data()
        data.setup()
