"""The Data Shunt configuration against the figures of Data Shunt's published log: gates, pruning, arithmetic.

The log says how often CLIP was called (5,349 of 8,000), how many test images each region has (2,720, 2,624,
2,656) and how many of those were answered rightly (1,957, 1,579, 1,509). The logits are made to fit it; what
is under test is the rest.
"""

import pytest
import torch
import yaml
from torch import Tensor, nn

from kcm_lightning.cli.configs import shipped_configs
from kcm_lightning.core.collaboration import Gates, Roles, class_predictor, collaborate
from kcm_lightning.core.pruning import Pruning
from kcm_lightning.core.routing import Route, Thresholds
from kcm_lightning.large import LargeClassifier
from kcm_lightning.results.class_figures import summarize
from kcm_lightning.results.columns import gather

IMAGES, RIGHT, CALLED = (2_720, 2_624, 2_656), (1_957, 1_579, 1_509), 5_349
REGION = torch.arange(100) * 3 // 100


class Written(nn.Module):
    """A small model with given logits; its input is the sample's number."""

    def __init__(self, logits: Tensor):
        super().__init__()
        self.logits = logits

    def forward(self, numbers: Tensor) -> Tensor:
        return self.logits[numbers]


class Certain(LargeClassifier):
    """A large model with given answers."""

    identity = "certain"

    def __init__(self, classes: Tensor):
        self.classes = classes

    def load(self, class_names, device):
        pass

    def distribution(self, query):
        return torch.eye(100)[self.classes[query.inputs]].unsqueeze(1)


def peaked(answers: Tensor, height: float, floor: float = 0.0) -> Tensor:
    """Logits that are `height` at the answer and `floor` elsewhere."""
    return torch.full((len(answers), 100), floor).scatter_(1, answers.unsqueeze(1), height)


@pytest.fixture
def options() -> dict:
    return yaml.safe_load((shipped_configs() / "cifar_lt_datashunt.yaml").read_text())["model"]["init_args"]


def test_the_figures_of_the_log(options):
    generator = torch.Generator().manual_seed(0)
    target = torch.cat(
        [region_classes(region)[torch.arange(count) % 33] for region, count in enumerate(IMAGES)]
    )
    wanted = target.clone()  # what the collaboration is to answer: wrong where the log is
    for region, (images, right) in enumerate(zip(IMAGES, RIGHT, strict=True)):
        rows = (REGION[target] == region).nonzero().squeeze(1)
        wrong = rows[torch.randperm(images, generator=generator)[: images - right]]
        wanted[wrong] = (target[wrong] + 37) % 100
    order = torch.randperm(8_000, generator=generator)
    called = torch.zeros(8_000, dtype=torch.bool)
    called[order[:CALLED]] = True
    kept = order[CALLED:]
    by_judge, by_student = kept[:1_800], kept[1_800:]
    by_student, pruned = by_student[wanted[by_student] >= 10], by_student[wanted[by_student] < 10]
    by_judge = torch.cat([by_judge, pruned])  # the student cannot answer a class of its pruned ones

    other = (wanted + 50) % 100  # what a model says that is not the one to answer
    judge = peaked(other, 10.0)  # 0.9955: sure by the paper's 0.98, not by Data Shunt's 0.99999
    judge[by_judge] = peaked(wanted[by_judge], 30.0)
    student = peaked(other, 11.0)  # 0.9984
    student[by_student] = peaked(wanted[by_student], 30.0)
    large = torch.where(called, wanted, other)
    first, second, rest = order[:CALLED].tensor_split(3)
    student[first] = peaked(first % 10, 30.0)  # surely a class that is pruned: its logit becomes 0
    student[second] = peaked(
        10 + other[second] % 90, 11.0, -20.0
    )  # sure, until ten logits of -20 are raised to 0
    assert (student[second].softmax(-1).amax(-1) >= 0.99999).all() and len(rest)

    thresholds = Thresholds(options["thresholds"]["judge"], options["thresholds"]["student"])
    student_says = class_predictor(Written(student), 1.0, Pruning(**options["pruning"]))
    numbers = torch.arange(8_000)
    batches = [
        {"small": part, "large": part, "index": part, "target": target[part]} for part in numbers.split(500)
    ]
    roles = Roles(class_predictor(Written(judge)), student_says, Certain(large))
    outcomes = [collaborate(batch, roles=roles, gates=Gates(thresholds)) for batch in batches]
    kept_columns = [{"index": batch["index"], "target": batch["target"]} for batch in batches]
    found = summarize(gather(outcomes, kept_columns), REGION, ("head", "med", "tail"))

    assert found["samples"] == 8_000 and found["routes"][Route.TEACHER.name.lower()] == CALLED
    assert f"{100 * found['lm_rate']['called']:.2f}" == "66.86"
    accuracy = found["accuracy"]["kcm"]
    logged = {"head": 0.71949, "med": 0.60175, "tail": 0.56815, "overall": 0.630625}
    assert {name: round(value, 5) for name, value in accuracy.items()} == pytest.approx(logged, abs=1e-5)


def region_classes(region: int) -> Tensor:
    return (region == REGION).nonzero().squeeze(1)


def test_the_configuration_is_that_of_the_code(options):
    assert (
        options["judge"]["class_path"].endswith("ExpertResNet32")
        and options["judge"]["init_args"]["experts"] == 3
    )
    assert (
        options["judge_phase"]["epochs"] == 200
        and options["judge_phase"]["lr"] == 0.1
        and options["loss"] == "tlc"
    )
    assert (
        options["student_phase"]["epochs"] == 7 and options["buffer"] == 64 and options["direction"] == "hard"
    )
    assert options["pruning"] == {"classes": list(range(10)), "how": "zero"}
    assert set(options["thresholds"].values()) == {0.99999} == {options["distill_thresholds"]["judge"]}
