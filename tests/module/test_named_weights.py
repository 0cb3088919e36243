"""Checkpoints name what they are of: what is taken up is of the same model, classes and prepared data."""

import warnings
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import nn

from kcm_lightning.data import DigitsLT
from kcm_lightning.large import ImageClassifier
from kcm_lightning.module import FineTuneImageClassifier, KCMModule, SequentialTraining
from kcm_lightning.module.checks import start_judge
from kcm_lightning.module.made_of import MadeOf
from kcm_lightning.module.optimizers import Phase
from kcm_lightning.small import CKAN
from kcm_lightning.utils.errors import InputError


class Renamed(DigitsLT):
    """The digits with two classes in each other's place."""

    def read(self) -> None:
        super().read()
        self.class_names[3], self.class_names[4] = self.class_names[4], self.class_names[3]


class Paler(DigitsLT):
    """The digits, normalized otherwise."""

    mean = (0.1, 0.1, 0.1)


class Counting(nn.Module):
    """A small model that counts its calls."""

    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.gain, self.calls, self.num_classes = gain, 0, 10
        self.layer = nn.Linear(192, 10)

    def forward(self, images):
        self.calls += 1
        return self.gain * self.layer(images.flatten(1))


@pytest.fixture(scope="module")
def make(tiny_classifier):
    def make(judge: nn.Module | None = None, epochs: int = 1, **options) -> KCMModule:
        judge = judge or CKAN(10, width=8, depths=(1,))
        teacher = ImageClassifier(str(tiny_classifier(10)))
        return KCMModule(judge, teacher, Phase(epochs), Phase(0), compare=False, **options)

    return make


def trainer(folder: Path, epochs: int = 1) -> L.Trainer:
    options = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return L.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=epochs,
        limit_train_batches=2,
        limit_val_batches=1,
        limit_test_batches=1,
        use_distributed_sampler=False,
        **options,
    )


def saved(module: L.LightningModule, folder: Path, data: DigitsLT | None = None) -> Path:
    """A checkpoint of a module after an epoch."""
    run = trainer(folder)
    run.fit(module, datamodule=data or DigitsLT())
    run.save_checkpoint(folder / "checkpoints" / "last.ckpt")
    return folder / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def of_digits(make, tmp_path_factory) -> Path:
    return saved(make(), tmp_path_factory.mktemp("digits"))


def other_judge() -> CKAN:
    return CKAN(10, width=8, depths=(1,), grid=1, order=3)


@pytest.mark.parametrize("use", ["test", "validate", "predict", "fit", "judge_ckpt"])
@pytest.mark.parametrize(
    ("judge", "data", "said"),
    [
        (other_judge, DigitsLT, "--model.judge.grid was 3, is 1; --model.judge.order was 1, is 3"),
        (None, Renamed, r"classes are in another order \(class 3 was '3', is '4'\)"),
        (None, Paler, r"the data's mean was \[0.305, 0.305, 0.305\], is \[0.1, 0.1, 0.1\]"),
        (lambda: CKAN(10, width=12, depths=(1,)), DigitsLT, "is of another model or other data"),
    ],
)
def test_what_is_of_something_else_is_refused_wherever_it_is_taken_up(
    make, of_digits, tmp_path, use, judge, data, said
):
    path = of_digits
    built = judge and judge()
    with pytest.raises(InputError, match=said) as found:
        if use == "judge_ckpt":
            trainer(tmp_path).fit(make(built, judge_ckpt=str(path)), datamodule=data())
        else:
            module = make(built, epochs=2)
            getattr(trainer(tmp_path, epochs=2), use)(module, datamodule=data(), ckpt_path=path)
    assert "give the options that it was made with, as the config.yaml of its run has them" in str(
        found.value
    )


def test_the_same_model_is_taken_up_also_where_it_counts_its_calls(make, tmp_path):
    path = saved(make(Counting()), tmp_path)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*does not say what it is of")
        module = make(Counting())
        run = trainer(tmp_path)
        run.test(module, datamodule=DigitsLT(), ckpt_path=path, verbose=False)
        run.test(module, datamodule=DigitsLT(), ckpt_path=path, verbose=False)
        assert module.judge.calls > 0
    with pytest.raises(InputError, match=r"--model.judge.gain was 1.0, is 2.0"):
        run.test(make(Counting(gain=2.0)), datamodule=DigitsLT(), ckpt_path=path, verbose=False)


def changed(of: Path, path: Path, **entries) -> Path:
    """A copy of a checkpoint with some entries taken out (None) or replaced."""
    found = torch.load(of, weights_only=True)
    for name, value in entries.items():
        if value is None:
            del found[name]
        else:
            found[name] = value
    torch.save(found, path)
    return path


def test_a_checkpoint_of_an_earlier_version_is_taken_up_with_a_warning(make, of_digits, tmp_path):
    path = changed(of_digits, tmp_path / "last.ckpt", made_of=None)
    with pytest.warns(UserWarning, match="last.ckpt does not say what it is of"):
        trainer(tmp_path).test(make(), datamodule=DigitsLT(), ckpt_path=path, verbose=False)
    with pytest.warns(UserWarning, match="cannot be checked"):
        trainer(tmp_path).fit(make(judge_ckpt=str(path)), datamodule=DigitsLT())
    wide = make(CKAN(10, width=12, depths=(1,)))
    with pytest.warns(UserWarning), pytest.raises(InputError, match="a judge with other options"):
        trainer(tmp_path).test(wide, datamodule=DigitsLT(), ckpt_path=path, verbose=False)


def test_weights_alone_are_no_run_to_go_on_with(make, of_digits, tmp_path):
    path = changed(of_digits, tmp_path / "last.ckpt", optimizer_states=[])
    with pytest.raises(InputError, match=r"holds weights alone: .* --model.judge_ckpt"):
        trainer(tmp_path, epochs=2).fit(make(epochs=2), datamodule=DigitsLT(), ckpt_path=path)
    trainer(tmp_path).test(make(), datamodule=DigitsLT(), ckpt_path=path, verbose=False)


def test_weights_that_are_no_numbers_are_refused(make, of_digits, tmp_path):
    state = torch.load(of_digits, weights_only=True)["state_dict"]
    state["judge.classifier.weight"][2, 3] = float("inf")
    path = changed(of_digits, tmp_path / "last.ckpt", state_dict=state)
    for use in ({"ckpt_path": path}, {}):
        module = make(judge_ckpt=None if use else str(path))
        with pytest.raises(InputError, match=r"not finite \(judge.classifier.weight\): it is damaged"):
            trainer(tmp_path).fit(module, datamodule=DigitsLT(), **use)


@pytest.mark.parametrize("content", [{"made_of": 3}, {"made_of": {"layers": []}}])
def test_a_damaged_record_is_one_line(make, of_digits, tmp_path, content):
    path = changed(of_digits, tmp_path / "last.ckpt", **content)
    with pytest.raises(InputError, match="is of another model or other data: not what weights are of"):
        trainer(tmp_path).test(make(), datamodule=DigitsLT(), ckpt_path=path, verbose=False)


def test_a_sequential_training_goes_on_with_its_own_model(tmp_path):
    def sequence(grid: int = 3, order: int = 1) -> SequentialTraining:
        return SequentialTraining(CKAN(10, width=8, depths=(1,), grid=grid, order=order), Phase(1))

    path = saved(sequence(), tmp_path)
    with pytest.raises(InputError, match=r"--model.model.grid was 3, is 1"):
        trainer(tmp_path, epochs=2).fit(sequence(1, 3), datamodule=DigitsLT(), ckpt_path=path)
    judge, data = CKAN(10, width=8, depths=(1,)), DigitsLT()
    with pytest.raises(InputError, match=r"--model.judge_ckpt: .* is no checkpoint of a run with a judge"):
        start_judge(judge, str(path), MadeOf.of(judge, data, []), data)


def test_a_fine_tuning_goes_on_with_its_own_model(tmp_path):
    def tuned(activation: str = "relu") -> FineTuneImageClassifier:
        sizes = {"embedding_size": 8, "hidden_sizes": [8], "depths": [1], "layer_type": "basic"}
        architecture = {"model_type": "resnet", "hidden_act": activation, **sizes}
        return FineTuneImageClassifier(
            str(tmp_path / f"out{len(list(tmp_path.iterdir()))}"),
            Phase(2),
            architecture=architecture,
            image_size=16,
        )

    def fit(module: FineTuneImageClassifier, data: DigitsLT, **options) -> L.Trainer:
        run = trainer(tmp_path, epochs=2)
        module.on_fit_end = lambda: None  # writes nothing
        run.fit(module, datamodule=data, **options)
        return run

    path = tmp_path / "last.ckpt"
    fit(tuned(), DigitsLT()).save_checkpoint(path)
    for module, data, said in (
        (tuned("silu"), DigitsLT(), r"ReLU, is SiLU"),
        (tuned(), Renamed(), "classes are in another order"),
        (tuned(), Paler(), "the data's mean was"),
    ):
        with pytest.raises(InputError, match=said):
            fit(module, data, ckpt_path=path)
