"""The answer cache: nothing twice, nothing stale, nothing lost."""

import subprocess
import sys

import pytest
import torch

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import LargeClassifier
from kcm_lightning.large.answer_cache import CachedClassifier
from kcm_lightning.utils.errors import InputError

CPU = torch.device("cpu")


class Counting(LargeClassifier):
    """A large model that counts the rows it is asked about; its answer depends on input and, in tenths, on
    the hint."""

    uses_hint = True

    def __init__(self, name: str = "counting"):
        self.name, self.rows = name, 0

    def load(self, class_names, device):
        pass

    @property
    def identity(self):
        return self.name

    def prompt_keys(self, query):
        if query.hint is None:
            return [b""] * len(query)
        return [bytes((row * 10).round().byte().tolist()) for row in query.hint]

    def distribution(self, query):
        self.rows += len(query)
        logits = query.inputs.float() + (0 if query.hint is None else (query.hint * 10).round())
        return logits.softmax(-1).unsqueeze(1)


def cached(folder, model, dataset="data"):
    wrapped = CachedClassifier(model, str(folder), dataset)
    wrapped.load([], CPU)
    return wrapped


def test_same_answers_and_nothing_asked_twice(tmp_path):
    inputs, samples = torch.randn(50, 4), torch.randperm(50)
    model = Counting()
    wrapped = cached(tmp_path, model)
    expected = Counting().distribution(Query(inputs))
    torch.testing.assert_close(wrapped.distribution(Query(inputs, None, samples)), expected)
    mixed = torch.randperm(50)
    torch.testing.assert_close(
        wrapped.distribution(Query(inputs[mixed], None, samples[mixed])), expected[mixed]
    )
    assert model.rows == 50
    again = Counting()
    torch.testing.assert_close(cached(tmp_path, again).distribution(Query(inputs, None, samples)), expected)
    assert again.rows == 0


def test_only_missing_rows_are_asked_and_in_their_places(tmp_path):
    inputs = torch.randn(10, 4)
    model = Counting()
    wrapped = cached(tmp_path, model)
    wrapped.distribution(Query(inputs[:6:2], None, torch.tensor([0, 2, 4])))
    torch.testing.assert_close(
        wrapped.distribution(Query(inputs, None, torch.arange(10))), Counting().distribution(Query(inputs))
    )
    assert model.rows == 10


def test_key_is_model_prompt_and_sample(tmp_path):
    inputs, samples, hint = torch.randn(5, 4), torch.arange(5), torch.rand(5, 4)
    model = Counting()
    wrapped = cached(tmp_path, model)
    for asked in (None, hint, hint + 0.2):
        expected = Counting().distribution(Query(inputs, asked))
        torch.testing.assert_close(wrapped.distribution(Query(inputs, asked, samples)), expected)
        torch.testing.assert_close(wrapped.distribution(Query(inputs, asked, samples)), expected)
    assert model.rows == 15
    for other in (cached(tmp_path, Counting("other")), cached(tmp_path, Counting(), "other data")):
        other.distribution(Query(inputs, None, samples))
        assert other.model.rows == 5
    wrapped.distribution(Query(inputs))  # a user's own inputs have no place in a data set, and are not kept
    assert model.rows == 20


def test_killed_process_loses_nothing_that_it_had_used(tmp_path):
    code = (
        "import os, sys, torch; sys.path.insert(0, sys.argv[2]);"
        "from test_answer_cache import Counting, Query, cached; w = cached(sys.argv[1], Counting());"
        "w.distribution(Query(torch.ones(7, 3), None, torch.arange(7))); os._exit(9)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(__file__).rsplit("/", 1)[0]], check=False
    )
    assert run.returncode == 9
    model = Counting()
    cached(tmp_path, model).distribution(Query(torch.ones(8, 3), None, torch.arange(8)))
    assert model.rows == 1


def test_many_samples_and_no_pickle(tmp_path):
    inputs = torch.randn(40_000, 3)
    model = Counting()
    wrapped = cached(tmp_path, model)
    wrapped.distribution(Query(inputs, None, torch.arange(40_000)))
    torch.testing.assert_close(
        wrapped.distribution(Query(inputs, None, torch.arange(40_000))),
        Counting().distribution(Query(inputs)),
    )
    assert (tmp_path / "answers.sqlite").read_bytes()[:15] == b"SQLite format 3"


def test_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--model\.cache.*file"):
        CachedClassifier(Counting(), str(tmp_path / "file"), "data")
