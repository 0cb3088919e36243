"""Recorded captions: one caption is of one image, and one image has one."""

import json

import pytest
import torch

from kcm_lightning.core.predictions import Purpose, Query
from kcm_lightning.large import RecordedCaptions
from kcm_lightning.utils.errors import InputError


def recorded(path, captions: list[tuple[str, str]]) -> RecordedCaptions:
    rows = [{"filename": name, "caption": caption} for name, caption in captions]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = RecordedCaptions(str(path))
    model.load([], torch.device("cpu"))
    return model


def captions_of(model: RecordedCaptions, *paths) -> list[str]:
    return model.caption(Query([str(path) for path in paths])).prediction


@pytest.mark.parametrize("purpose", list(Purpose))
def test_of_two_captions_of_one_image_it_is_said_which_counts(tmp_path, purpose):
    """The longer name won, unsaid."""
    model = recorded(
        tmp_path / "a.jsonl", [("x.jpg", "a cat"), ("images/x.jpg", "a dog"), ("y.jpg", "a cow")]
    )
    said = r"two captions of an image, /data/images/x\.jpg, under 'images/x\.jpg' and 'x\.jpg': the name"
    with pytest.warns(UserWarning, match=said) as told:
        for _ in range(2):
            answer = model.caption(Query(["/data/images/x.jpg"], purpose=purpose))
            assert answer.prediction == ["a dog"]
    assert len(told) == 1  # once a file
    assert captions_of(model, "/data/y.jpg", "/data/other/x.jpg") == ["a cow", "a cat"]


@pytest.mark.filterwarnings("error")
def test_one_caption_under_two_names_is_one(tmp_path):
    model = recorded(tmp_path / "a.jsonl", [("x.jpg", "a cat"), ("images/x.jpg", " a cat ")])
    assert captions_of(model, "/data/images/x.jpg") == ["a cat"]


def test_names_are_compared_as_paths(tmp_path):
    captions = [("./x.jpg", "a cat"), ("b//c/../y.jpg", "a dog"), ("/data/z.jpg", "a cow")]
    model = recorded(tmp_path / "a.jsonl", captions)
    assert captions_of(model, "/data/x.jpg", "/data/b/y.jpg", "/data/z.jpg") == ["a cat", "a dog", "a cow"]
    with pytest.raises(InputError, match=r"line 2: 'x\.jpg' has another caption already"):
        recorded(tmp_path / "a.jsonl", [("x.jpg", "a cat"), ("./x.jpg", "a dog")])


def test_one_name_of_two_images_is_an_error(tmp_path):
    """Both would have had the one's caption."""
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").touch()
    (tmp_path / "link").symlink_to(tmp_path / "train")
    model = recorded(tmp_path / "a.jsonl", [("1.jpg", "a cat")])
    assert captions_of(model, tmp_path / "train" / "1.jpg", tmp_path / "link" / "1.jpg") == ["a cat"] * 2
    with pytest.raises(
        InputError, match=r"'1\.jpg' is the name of two images, .*train/1.jpg and .*test/1.jpg"
    ):
        captions_of(model, tmp_path / "test" / "1.jpg")
    both = recorded(tmp_path / "b.jsonl", [("train/1.jpg", "a cat"), ("test/1.jpg", "a dog")])
    paths = (tmp_path / "train" / "1.jpg", tmp_path / "test" / "1.jpg")
    assert captions_of(both, *paths) == ["a cat", "a dog"]
