"""Caption files that were joined, cut or exported: what is left out is counted, what is wrong is one line."""

import json
from collections import Counter
from pathlib import Path

import pytest

from kcm_lightning.data.caption_files import read_all, read_karpathy, read_official
from kcm_lightning.utils.errors import InputError


def karpathy(number: int, split: str = "train", **changes) -> dict:
    row = {"filename": f"{number}.jpg", "split": split, "sentences": [{"raw": f"caption {number}"}]}
    return {**row, **changes}


def write(path: Path, content) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def official(ids: list, captions: list[tuple], **more) -> dict:
    images = [{"id": own, "file_name": f"{place}.jpg"} for place, own in enumerate(ids)]
    notes = [{"id": i, "image_id": own, "caption": caption} for i, (own, caption) in enumerate(captions)]
    return {"images": images, "annotations": notes, **more}


@pytest.fixture
def read(tmp_path):
    """Reads an official file, or Karpathy's; gives names with captions, and what was left out."""

    def read(content, kind=read_official) -> tuple[dict[str, list[str]], dict[str, int]]:
        file, left_out = write(tmp_path / "file.json", content), Counter()
        options = {"split": "train"} if kind is read_official else {}
        images = kind(file, tmp_path, left_out=left_out, **options)
        return {image.path.name: image.captions for image in images}, dict(+left_out)

    return read


# ------------------------------------------------------------------ COCO's own files


def test_an_official_file_is_read_as_pycocotools_reads_it(real_data):
    from pycocotools.coco import COCO

    file = real_data / "coco" / "annotations" / "captions_val2017.json"
    left_out = Counter()
    found = read_official(file, Path("val2017"), "val", left_out)
    coco = COCO(str(file))
    assert [image.path.name for image in found] == [coco.imgs[own]["file_name"] for own in sorted(coco.imgs)]
    for image, own in zip(found, sorted(coco.imgs), strict=True):
        assert image.captions == [note["caption"] for note in coco.imgToAnns[own]]
    assert not +left_out


def test_two_files_joined_with_repeated_ids_are_refused(read):
    """Half the images were gone, and the rest had two images' captions."""
    first, second = official([1, 2], [(1, "a"), (2, "b")]), official([2, 3], [(2, "c"), (3, "d")])
    second["images"][0]["file_name"] = "other.jpg"
    joined = {name: first[name] + second[name] for name in ("images", "annotations")}
    with pytest.raises(
        InputError, match=r"image id 2 is that of '1\.jpg' and of 'other\.jpg'; were two files joined"
    ):
        read(joined)


def test_ids_in_digits_are_numbers_and_others_are_names(read):
    content = official([10, "9", "b1"], [("10", "ten"), (9, "nine"), ("b1", "b"), ("b1", "bb")])
    assert read(content) == ({"1.jpg": ["nine"], "0.jpg": ["ten"], "2.jpg": ["b", "bb"]}, {})
    with pytest.raises(InputError, match="image id 9 is that of"):
        read(official([9, "9"], []))


def test_captions_without_a_word_or_an_image_are_counted(read):
    captions = [
        (1, "one"),
        (1, None),
        (1, " "),
        (1, 5),
        (1, "\ud83d"),
        (2, None),
        (7, "lost"),
        (7, "lost too"),
    ]
    found, left_out = read(official([1, 2], captions, categories=[{"id": 1}]))
    assert found == {"0.jpg": ["one"], "1.jpg": []}
    assert left_out == {"captions without a word": 5, "captions of no image": 2}


def test_entries_that_are_there_twice_are_counted(read):
    """Files that were joined had every caption twice, unsaid."""
    content = official([1, 2], [(1, "one"), (1, "two"), (2, "two"), (2, "two")])  # two people say the same
    content["annotations"] += [dict(note) for note in content["annotations"][:3]]
    found, left_out = read(content)
    assert found == {"0.jpg": ["one", "two"], "1.jpg": ["two", "two"]}
    assert left_out == {"captions that are there twice": 3}
    for note in content["annotations"]:
        note.pop("id")  # then nobody can say
    assert read(content)[0] == {"0.jpg": ["one", "two", "one", "two"], "1.jpg": ["two"] * 3}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["images"][1].pop("id"), "image 1 lacks 'id'"),
        (lambda c: c["images"][1].update(id=None), "image 1: None is no whole number"),
        (lambda c: c["images"][1].update(id=1.5), "image 1: 1.5 is no whole number"),
        (lambda c: c["images"][1].update(id=[1]), r"image 1: \[1\] is no whole number"),
        (lambda c: c["images"][1].pop("file_name"), "image 1 lacks 'file_name'"),
        (lambda c: c["images"][1].update(file_name="a\0b"), r"image 1: 'a\\x00b' is no file name"),
        (lambda c: c["images"].append(None), "image 2: None is no object"),
        (lambda c: c.pop("annotations"), "it holds no list `annotations`"),
        (lambda c: c.update(annotations={}), "it holds no list `annotations`"),
        (lambda c: c["annotations"].append(None), "entry 2: None is no object"),
        (lambda c: c["annotations"][1].pop("image_id"), "entry 1 lacks 'image_id'"),
        (lambda c: c["annotations"][1].pop("caption"), "entry 1 lacks 'caption'"),
    ],
)
def test_damaged_official_files_are_one_line(read, change, said):
    content = official([1, 2], [(1, "a"), (2, "b")])
    change(content)
    with pytest.raises(InputError, match=rf"file\.json is no file of captions: {said}"):
        read(content)


# ------------------------------------------------------------------ Karpathy's files


def test_karpathys_captions_without_a_word_are_counted(read):
    rows = [
        karpathy(0, sentences=[{"raw": text} for text in ("one", None, "", 3)]),
        karpathy(1, filepath=None),
    ]
    found, left_out = read({"images": rows}, read_karpathy)
    assert found == {"0.jpg": ["one"], "1.jpg": ["caption 1"]} and left_out == {"captions without a word": 3}


def test_karpathys_sentences_that_are_there_twice_are_counted(read):
    sentences = [{"raw": "one", "sentid": 1}, {"raw": "one", "sentid": 2}, {"raw": "one", "sentid": 1}]
    found, left_out = read({"images": [karpathy(0, sentences=sentences)]}, read_karpathy)
    assert found == {"0.jpg": ["one", "one"]} and left_out == {"captions that are there twice": 1}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (None, "image 1: None is no object"),
        ([], r"image 1: \[\] is no object"),
        (karpathy(1, filename="a\0.jpg"), r"image 1: 'a\\x00\.jpg' is no file name"),
        (karpathy(1, filename=None), "image 1: None is no file name"),
        (karpathy(1, filename="\ud800.jpg"), "image 1: 'utf-8' codec"),
        (karpathy(1, filepath=7), "image 1: 7 is no file name"),
        (karpathy(1, sentences=None), "image 1: None is no list"),
        (karpathy(1, sentences=[None]), "image 1: None is no object"),
        ({"filename": "a.jpg", "split": "train"}, "image 1 lacks 'sentences'"),
    ],
)
def test_damaged_rows_of_karpathy_are_one_line(read, row, said):
    with pytest.raises(InputError, match=rf"file\.json is not in Karpathy's format: {said}"):
        read({"images": [karpathy(0), row]}, read_karpathy)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"images": ' + "[" * 100_000, "it is nested too deeply"),
        ('{"images": [], "images": []}', "the key 'images' is there twice"),
        ('{"images": [NaN]}', "NaN is no number"),
    ],
)
def test_json_that_says_two_things_or_never_ends(read, content, said):
    for kind in (read_karpathy, read_official):
        with pytest.raises(InputError, match=rf"file\.json is no JSON, or cut off: {said}"):
            read(content, kind)


# ------------------------------------------------------------------ all of a data set


def test_rows_of_unknown_splits_are_counted(tmp_path):
    """They vanished without a word."""
    rows = [
        karpathy(n, split)
        for n, split in enumerate(("train", "val", "test", "restval", "tset", "tset", None))
    ]
    write(tmp_path / "file.json", {"images": rows})
    images, left_out = read_all(tmp_path, "file.json", None, "")
    assert Counter(image.split for image in images) == {"train": 2, "val": 1, "test": 1}
    assert +left_out == {"of the unknown split 'tset'": 2, "of the unknown split 'None'": 1}
    write(tmp_path / "file.json", {"images": rows[:2] + rows[4:]})
    with pytest.raises(InputError, match="no images of split test; there are images of 'tset', 'None'"):
        read_all(tmp_path, "file.json", None, "")


@pytest.mark.parametrize("again", ["0.jpg", "./0.jpg", "sub/../0.jpg"])
def test_an_image_named_twice_is_refused_whatever_its_splits(tmp_path, again):
    rows = [karpathy(n, split) for n, split in enumerate(("train", "val", "test"))]
    write(tmp_path / "file.json", {"images": [*rows, karpathy(3, "test", filename=again)]})
    with pytest.raises(InputError, match=r"images are named twice in the caption files, .*0\.jpg and 0 more"):
        read_all(tmp_path, "file.json", None, "")
