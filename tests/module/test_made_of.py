"""Weights name what they are of: another model of the same shapes, other classes, otherwise prepared data."""

from functools import partial

import pytest
import torch
from torch import nn

from kcm_lightning.kan.layer import KANLayer
from kcm_lightning.module.made_of import MadeOf
from kcm_lightning.small import CKAN, CNN, GRU, TKAN, Captioner, ExpertResNet32

CLASSES = ["ant", "bee", "cat"]


class Data:
    """What of a data module prepares a sample."""

    mean, std = (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)

    def __init__(self, max_tokens: int = 40, image_size: int = 32):
        self.max_tokens, self.image_shape = max_tokens, (3, image_size, image_size)


def difference(then: nn.Module, now: nn.Module, **options) -> str:
    """What is said where weights of one model are given to another; nothing where they may be."""
    before = MadeOf.read(MadeOf.of(then, Data(), CLASSES).as_plain())
    data = options.pop("data", Data())
    own = MadeOf.of(now, data, options.pop("classes", CLASSES))
    try:
        before.compare(own, model=now, data=data, option="model.judge")
    except ValueError as error:
        return str(error)
    return ""


class Own(nn.Module):
    """A model of a user's own, whose options leave no trace in its weights."""

    only_for_training = ("noise",)

    def __init__(
        self,
        slope: float = 0.1,
        activation: type[nn.Module] = nn.ReLU,
        steps: tuple[int, ...] = (1, 2),
        low: float = -1.0,
        dropout: float = 0.1,
        noise: float = 0.0,
        squash=torch.tanh,
    ):
        super().__init__()
        self.slope, self.steps, self.noise, self.squash = slope, list(steps), noise, squash
        self.layers = nn.Sequential(nn.Linear(2, 2), activation(), nn.Dropout(dropout))
        self.register_buffer("knots", torch.linspace(low, 1, 5), persistent=False)
        self.calls = 0


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (
            CKAN(3, width=8, depths=(1,), grid=3, order=1),
            CKAN(3, width=8, depths=(1,), grid=1, order=3),
            ("--model.judge.grid was 3, is 1", "--model.judge.order was 1, is 3"),
        ),
        (
            TKAN(3, vocab_size=9, embedding=4, width=4, grid=3, order=2),
            TKAN(3, vocab_size=9, embedding=4, width=4, grid=2, order=3),
            ("--model.judge.grid was 3, is 2",),
        ),
        (
            Captioner(9, width=8, channels=8, depths=(1,), grid=5, order=3),
            Captioner(9, width=8, channels=8, depths=(1,), grid=6, order=2),
            ("--model.judge.grid was 5, is 6", "--model.judge.order was 3, is 2"),
        ),
        (
            CKAN(3, width=8, depths=(1,)),
            CKAN(3, width=8, depths=(1,), grid_range=(-3.0, 3.0)),
            ("--model.judge.grid_range was [-2.0, 2.0], is [-3.0, 3.0]",),
        ),
        (ExpertResNet32(3, blocks=1), ExpertResNet32(3, blocks=1, scale=20.0), ("scale was 30.0, is 20.0",)),
        (CKAN(3, width=8, depths=(1,)), CNN(3, width=8, depths=(1,)), ("--model.judge was CKAN, is CNN",)),
        (Own(), Own(slope=0.2), ("--model.judge.slope was 0.1, is 0.2",)),
        (Own(), Own(activation=nn.SiLU), ("layers.1 in --model.judge was ReLU, is SiLU",)),
        (Own(), Own(steps=(2, 1)), ("--model.judge.steps was [1, 2], is [2, 1]",)),
        (Own(), Own(low=-2.0), ("knots in --model.judge (itself)",)),
        (Own(), Own(squash=torch.sigmoid), ("--model.judge.squash was tanh, is sigmoid",)),
        (Own(), Own(squash=partial(torch.clamp, min=0)), ("--model.judge.squash was tanh, is unset",)),
    ],
)
def test_another_model_with_the_same_shapes_is_told(then, now, said):
    found = difference(then, now)
    assert all(part in found for part in said), found
    assert difference(then, then) == "" == difference(now, now)


def test_what_has_a_say_in_training_alone_makes_no_difference():
    worked = Own(dropout=0.5, noise=0.3)
    assert difference(Own(), worked.eval()) == ""
    assert difference(GRU(3, 9, 4, 4), GRU(3, 9, 4, 4, dropout=0.7, embeddings_from="elsewhere")) == ""


def test_options_that_an_older_version_does_not_know_are_passed_over():
    older, now = MadeOf.of(Own(), Data(), CLASSES), MadeOf.of(Own(), Data(), CLASSES)
    del older.settings["slope"], older.data["max_tokens"]
    older.options.remove("slope")
    older.compare(now, model=Own(), data=Data(), option="model.judge")
    older = MadeOf.of(Own(), Data(), CLASSES).as_plain()
    del older["options"], older["settings"]["slope"]  # as before options were kept
    MadeOf.read(older).compare(now, model=Own(), data=Data(), option="model.judge")


def test_a_grid_that_moves_while_it_learns_is_no_other_option():
    def moved() -> CKAN:
        model = CKAN(3, width=8, depths=(1,))
        layer = next(part for part in model.modules() if isinstance(part, KANLayer))
        layer.grid_low.sub_(1.5)  # as `update_grid` moves it
        return model

    assert difference(CKAN(3, width=8, depths=(1,)), moved()) == ""


class Read(Data):
    """Data that have been read: what they do not do is known."""

    def __init__(self, tokenizer=None):
        super().__init__()
        self.positions, self.tokenizer = {}, tokenizer


def test_what_only_one_side_has_is_told(word_tokenizer):
    """A tokenizer, and statistics that pixels are normalized by."""
    from transformers import AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(word_tokenizer), Own()
    plain = Read()
    plain.mean = None
    for then, now, said in (
        (Read(), Read(tokenizer), r"tokenizer was None, is \w{16}"),
        (Read(tokenizer), Read(), r"tokenizer was \w{16}, is None"),
        (Read(), plain, r"mean was \[0.5, 0.5, 0.5\], is None"),
        (plain, Read(), r"mean was None, is \[0.5"),
    ):
        before, own = (MadeOf.of(model, data, CLASSES) for data in (then, now))
        with pytest.raises(ValueError, match=said):
            before.compare(own, model=model, data=now, option="model.judge")
    # data that are not read, as `load` has them, may find both out later
    MadeOf.of(model, Read(tokenizer), CLASSES).compare(
        MadeOf.of(model, Data(), CLASSES), model=model, data=Data(), option="model.judge"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": ["ant", "cat", "bee"]}, "classes are in another order (class 1 was 'bee', is 'cat')"),
        ({"classes": ["ant", "bee", "cow"]}, "classes are other ones (class 2 was 'cat', is 'cow')"),
        ({"classes": ["ant", "bee"]}, "the data had 3 classes, have 2"),
        ({"data": Data(max_tokens=80)}, "--data.max_tokens was 40, is 80"),
        ({"data": Data(image_size=64)}, "image_shape was [3, 32, 32], is [3, 64, 64]"),
    ],
)
def test_other_classes_and_otherwise_prepared_data_are_told(options, said):
    model = Own()
    assert said in difference(model, model, **options)


def test_a_tokenizer_is_known_by_what_it_does(word_tokenizer, tmp_path):
    from transformers import AutoTokenizer

    class Texts:
        def __init__(self, folder):
            self.tokenizer = AutoTokenizer.from_pretrained(folder)

    one, moved = Texts(word_tokenizer), tmp_path / "moved"
    one.tokenizer.save_pretrained(moved)
    rules = (moved / "tokenizer.json").read_text()
    before = MadeOf.of(Own(), one, CLASSES)
    before.compare(MadeOf.of(Own(), Texts(moved), CLASSES), model=Own(), data=one, option="model.judge")
    (moved / "tokenizer.json").write_text(
        rules.replace('"Digits"', '"Punctuation"').replace(
            '"individual_digits": true', '"behavior": "Isolated"'
        )
    )
    other = Texts(moved)
    with pytest.raises(ValueError, match=r"tokenizer was \w+, is \w+"):
        before.compare(MadeOf.of(Own(), other, CLASSES), model=Own(), data=other, option="model.judge")


@pytest.mark.parametrize(
    "found", [None, [], {"layers": {}}, {"layers": [], "settings": {}, "classes": [], "data": {}}]
)
def test_what_is_no_such_record_is_refused(found):
    with pytest.raises(ValueError, match="not what weights are of"):
        MadeOf.read(found)
