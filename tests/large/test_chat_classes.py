"""Chat models and many classes: a distribution from `top_logprobs`, images in the request."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import Chat
from kcm_lightning.large.reply_distribution import with_others
from tests.large.chat_server import ChatServer, right_word

CPU = torch.device("cpu")
CLASSES = ["negative", "neutral", "positive", "mixed"]


def ask(server: ChatServer, folder: Path, inputs, classes=CLASSES, **options):
    settings = {"prompt": "Is it {labels}?\n\n{text}", "extra": {"top_logprobs": 20}} | options
    model = Chat("judge-1", server.url, answers=str(folder / "answers.sqlite"), **settings)
    model.load(classes, CPU)
    return model.answer(Query(inputs))


def by_hand(named: int, sure: float, given: dict[int, float], classes: int) -> list[float]:
    """The named class has what it has, others what tokens say, the rest is shared out."""
    rest = 1 - sure - sum(given.values())
    return [sure if c == named else given.get(c, 0.0) + rest / (classes - 1) for c in range(classes)]


def test_other_classes_have_what_the_server_says(tmp_path):
    texts = [f"thing {n}" for n in range(6)]
    others = {"positive": 0.1, "negative": 0.1, "mi": 0.06, "ne": 0.04, "The": 0.02}
    with ChatServer(others=others) as server:
        answer = ask(server, tmp_path, texts)
        stored = ask(server, tmp_path, texts)
    assert sum(server.requests.values()) == 6
    torch.testing.assert_close(stored.distribution, answer.distribution)
    for text, row in zip(texts, answer.distribution.tolist(), strict=True):
        if right_word(text) == "positive":  # "ne" begins two classes, half for each
            expected = by_hand(2, 0.75, {0: 0.1 + 0.02, 1: 0.02, 3: 0.06}, 4)
        else:  # "ne" may begin what was said
            expected = by_hand(0, 0.75, {2: 0.1, 3: 0.06}, 4)
        assert row == pytest.approx(expected, abs=1e-6) and sum(row) == pytest.approx(1)


def test_without_them_the_rest_is_even(tmp_path):
    with ChatServer() as server:
        answer = ask(server, tmp_path, ["a", "b"])
    for row, named in zip(answer.distribution.tolist(), answer.prediction.tolist(), strict=True):
        assert row == pytest.approx(by_hand(named, 0.75, {}, 4))


def test_more_than_is_left_over_is_scaled_and_the_named_class_stays_on_top():
    labels, sure = torch.tensor([0, 1, -1]), torch.tensor([0.9, 0.3, 0.5])
    others = [{"positive": 0.4, "mixed": 0.4}, {"positive": 0.69}, {"positive": 0.5}]
    found = with_others(labels, sure, others, CLASSES)[:, 0]
    assert found[0].tolist() == pytest.approx([0.9, 0, 0.05, 0.05], abs=1e-6)
    assert found[1].argmax() == 1 and found[1].sum() == pytest.approx(1) and found[2].isnan().all()


def test_few_of_many_classes_are_said(tmp_path):
    with ChatServer() as server, pytest.warns(UserWarning, match="tells of 20 of the 300 classes at most"):
        ask(server, tmp_path, ["a"], classes=["positive", "negative", *(f"class {n}" for n in range(298))])


@pytest.mark.parametrize("as_files", [True, False])
def test_images_are_sent_in_the_request(tmp_path, as_files):
    shades = [250, 5, 200, 30]
    images = [np.full((40, 60, 3), shade, dtype=np.uint8) for shade in shades]
    inputs = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    if as_files:
        inputs = [tmp_path / f"{shade}.png" for shade in shades]
        for path, image in zip(inputs, images, strict=True):
            Image.fromarray(image).resize((3000, 2000)).save(path)
    options = {"prompt": "Is this image {labels}?", "classes": ["dark", "bright"], "image_size": 300}
    with ChatServer() as server:
        answer = ask(server, tmp_path, inputs, **options)
        assert ask(server, tmp_path, inputs, **options).prediction.tolist() == [1, 0, 1, 0]
    assert answer.prediction.tolist() == [1, 0, 1, 0] and server.requests["image"] == 4
    assert server.sizes <= {(300, 200), (60, 40)} and len(server.sizes) == 1
