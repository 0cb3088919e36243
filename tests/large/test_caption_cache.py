"""Cached and recorded captions."""

import json
import sqlite3
from pathlib import Path

import pytest
import torch

from kcm_lightning.core.predictions import Prediction, Purpose, Query
from kcm_lightning.large import LargeCaptioner, RecordedCaptions, with_cache
from kcm_lightning.large.captioner import CaptionAnswer, TokenSteps
from kcm_lightning.utils.errors import InputError

CPU = torch.device("cpu")


class Counting(LargeCaptioner):
    """Captions an image by its name and hint, and counts what it is asked; has nothing to say of images
    called silent."""

    uses_hint = True
    identity = "counting"

    def __init__(self):
        self.asked: list[str] = []

    def load(self, class_names, device):
        pass

    def prompt_keys(self, query):
        if query.hint is None:
            return [b""] * len(query)
        return [caption.encode() for caption in query.hint.prediction]

    def caption(self, query, *, with_steps=False):
        inputs, hint = query.inputs, query.hint
        self.asked += inputs
        captions = [
            None if path == "silent" else f"{path} {hint.prediction[i] if hint else ''}"
            for i, path in enumerate(inputs)
        ]
        confidence = torch.tensor(
            [float("nan") if caption is None else len(caption) / 100 for caption in captions]
        )
        return CaptionAnswer(captions, confidence, steps=self._steps(inputs) if with_steps else None)

    def _steps(self, inputs):
        lengths = [len(path) for path in inputs]
        tokens = torch.full((len(inputs), max(lengths)), -1)
        for row, length in enumerate(lengths):
            tokens[row, :length] = torch.arange(length)
        likely = tokens.unsqueeze(-1).repeat(1, 1, 3)
        return TokenSteps(tokens, likely, likely.float() / 7, end=9)


@pytest.fixture
def cached(tmp_path):
    model = with_cache(Counting(), str(tmp_path))
    model.load([], CPU)
    return model


def test_nothing_is_asked_twice_and_what_comes_back_is_what_went_in(cached, tmp_path):
    fresh = cached.answer(Query(["a", "bb", "silent"], None, torch.tensor([1, 2, 3])))
    again = with_cache(Counting(), str(tmp_path))  # another process
    again.load([], CPU)
    found = again.answer(Query(["bb", "new", "a", "silent"], None, torch.tensor([2, 4, 1, 3])))
    assert found.prediction == [fresh.prediction[1], "new ", fresh.prediction[0], None]
    torch.testing.assert_close(found.confidence[[2, 0]], fresh.confidence[:2])
    assert (
        again.model.asked == ["new", "silent"] and found.confidence[3].isnan()
    )  # no answer is no answer to keep


def test_a_hint_is_another_question(cached):
    hint = Prediction(["x", "y"], torch.ones(2))
    assert cached.answer(Query(["a", "b"], hint, torch.tensor([1, 2]))).prediction == ["a x", "b y"]
    swapped = Prediction(["y", "y"], torch.ones(2))
    assert cached.answer(Query(["a", "b"], swapped, torch.tensor([1, 2]))).prediction == ["a y", "b y"]
    assert cached.model.asked == ["a", "b", "a"]


def test_steps_are_kept_and_asked_for_where_they_are_not(cached):
    places = torch.tensor([1, 2])
    cached.answer(Query(["a", "bbbb"], None, places))
    wanted = cached.model.caption(Query(["a", "bbbb"], purpose=Purpose.FIT), with_steps=True)
    cached.model.asked.clear()
    for _ in range(2):
        found = cached.caption(Query(["a", "bbbb"], None, places, purpose=Purpose.FIT), with_steps=True)
        for name in ("tokens", "topk_tokens", "topk_probs"):
            torch.testing.assert_close(getattr(found.steps, name), getattr(wanted.steps, name))
        assert found.steps.end == 9
    assert cached.model.asked == ["a", "bbbb"]
    assert cached.answer(Query(["a"], None, places[:1])).prediction == ["a "] and cached.model.asked == [
        "a",
        "bbbb",
    ]


def test_another_image_under_the_same_name_is_captioned(cached, tmp_path):
    """The sample ids, which come from the file names, stay the same."""
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for path in paths:
        Path(path).write_text(path)
    query = Query(paths, None, torch.tensor([1, 2]))
    cached.answer(query)
    cached.model.asked.clear()
    Path(paths[0]).write_text("another image")
    cached.answer(query)
    assert cached.model.asked == paths[:1]


@pytest.mark.parametrize(
    "damage", ["value = substr(value, 1, 30)", "value = X'5B5D'", "value = NULL", "checksum = 0"]
)
def test_a_damaged_caption_is_asked_again(damage, cached, tmp_path):
    query = Query(["a", "bbbb"], None, torch.tensor([1, 2]), Purpose.FIT)
    wanted = cached.caption(query, with_steps=True)
    cached.model.asked.clear()
    connection = sqlite3.connect(tmp_path / "captions.sqlite")
    with connection:
        connection.execute(f"UPDATE answers SET {damage}")
    with pytest.warns(UserWarning, match=r"2 of the answers in .*captions\.sqlite were damaged"):
        found = cached.caption(query, with_steps=True)
    assert cached.model.asked == ["a", "bbbb"] and found.prediction == wanted.prediction
    torch.testing.assert_close(found.steps.topk_probs, wanted.steps.topk_probs)


def test_captions_of_earlier_versions_are_left_alone_and_said(tmp_path):
    connection = sqlite3.connect(tmp_path / "captions.sqlite")
    with connection:
        connection.execute("CREATE TABLE captions (model TEXT, sample INTEGER, caption TEXT)")
        connection.execute("INSERT INTO captions VALUES ('counting set', 1, 'a dog')")
    with pytest.warns(UserWarning, match="1 answers of an earlier version"):
        with_cache(Counting(), str(tmp_path))


def test_equal_images_are_captioned_once(cached):
    found = cached.answer(Query(["a", "b", "a"], None, torch.tensor([1, 2, 3])))
    assert found.prediction == ["a ", "b ", "a "] and cached.model.asked == ["a", "b"]


def recorded(path, rows, **options) -> RecordedCaptions:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = RecordedCaptions(str(path), **options)
    model.load([], CPU)
    return model


def test_recorded_captions_are_found_by_file_name_and_by_folder(tmp_path):
    rows = [
        {"filename": "1.jpg", "caption": " one "},
        {"filename": "val/1.jpg", "caption": "of val", "confidence": 0.5},
    ]
    model = recorded(tmp_path / "a.jsonl", rows, recorded_confidence=0.7)
    answer = model.answer(Query(["/data/train/1.jpg", "/data/val/1.jpg"]))
    assert answer.prediction == ["one", "of val"] and answer.confidence.tolist() == pytest.approx([0.7, 0.5])
    with pytest.raises(InputError, match=r"has no caption of /x/2\.jpg"):
        model.answer(Query(["/x/2.jpg"]))
    taught = model.caption(Query(["/x/2.jpg", "1.jpg"], purpose=Purpose.FIT), with_steps=True)
    assert taught.prediction == [None, "one"] and taught.confidence.isnan().tolist() == [True, False]


def test_bad_recordings_name_the_line(tmp_path):
    good = {"filename": "1.jpg", "caption": "x"}
    for bad in (
        {"filename": "2.jpg"},
        {"caption": "x"},
        {**good, "confidence": 2},
        {**good, "confidence": True},
        {**good, "confidence": float("nan")},
        {**good, "confidence": "sure"},
        {**good, "caption": "y"},
        {**good, "filename": 1},
    ):
        with pytest.raises(InputError, match=r"a\.jsonl, line 2"):
            recorded(tmp_path / "a.jsonl", [good, bad])
    with pytest.raises(InputError, match="there is no file"):
        RecordedCaptions(str(tmp_path / "none")).load([], CPU)
    with pytest.raises(InputError, match="outside"):
        RecordedCaptions("x", recorded_confidence=2)
