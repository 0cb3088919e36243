"""How often promises of `calibrate --confidence` are broken, and how much they leave to the small models.

The samples of a test are the world, so that what is true there is known; calibration samples are drawn from
it, with replacement, many times.

python -m benchmarks.promises RUN/predictions.jsonl ... [--synthetic] [--drop 0.01] [--draws 1000]
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from kcm_lightning.calibrate.answers import ClassAnswers
from kcm_lightning.calibrate.bounds import Bound
from kcm_lightning.calibrate.certificate import candidates, certify
from kcm_lightning.calibrate.target import Target
from kcm_lightning.core.routing import Thresholds
from kcm_lightning.utils.tables import markdown_table

SIZES = (20, 200, 1_000, 5_000)
BOUNDS: tuple[Bound, ...] = ("exact", "harms", "betting", "score")
NOTHING = Thresholds(None, None)


def recorded(path: Path) -> ClassAnswers:
    """The answers of a test, out of its `predictions.jsonl`."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]

    def right(who: str) -> Tensor:
        return torch.tensor([row[f"{who}_prediction"] == row["target_index"] for row in rows])

    fused = "fused" if "fused_prediction" in rows[0] else "teacher_without_hint"
    return ClassAnswers(
        judge_confidence=torch.tensor([row["judge_confidence"] for row in rows]),
        gate_score=torch.tensor([row["gate_score"] for row in rows]),
        student_doubt=torch.zeros(len(rows)),
        judge_right=right("judge"),
        student_right=right("student"),
        teacher_right=right("teacher_without_hint"),
        fused_right=right(fused),
    )


def synthetic(samples: int = 8_000) -> ClassAnswers:
    """A small model that is right as often as its confidence says, which has ten values, often 1."""
    draw = torch.Generator().manual_seed(0)
    score, chance, large = torch.rand(3, samples, generator=draw)
    score = ((score.sqrt() * 10).round() / 10).clamp(0.1, 1.0)
    right, teacher = chance < score * 0.97, large < 0.9
    return ClassAnswers(score, score, torch.zeros(samples), right, right, teacher, teacher)


class World:
    """Samples whose truth is known, and thresholds that are tested on draws of them."""

    def __init__(self, answers: ClassAnswers, target: Target):
        self.answers, self.target = answers, target
        self.thresholds = candidates(answers, judge=None)
        self.scores = torch.tensor([own.student for own in self.thresholds], dtype=torch.double)
        kept_and_drop = [self.truth(own) for own in self.thresholds]
        self.best = max((kept for kept, drop in kept_and_drop if drop <= target.value), default=0.0)

    def truth(self, thresholds: Thresholds) -> tuple[float, float]:
        """Share that small models keep, and drop in accuracy."""
        routes = self.answers.routes(thresholds)
        return 1 - self.answers.lm_rate(thresholds), self.answers.losses(routes, self.target).mean().item()

    def plug_in(self, drawn: ClassAnswers) -> Thresholds:
        """The loosest thresholds whose drop on the samples is within the target: no promise."""
        qualities = drawn.qualities(None, self.scores, "accuracy")
        fits = (qualities >= drawn.quality_of_large("accuracy") - self.target.value).nonzero().flatten()
        return self.thresholds[fits.max()] if len(fits) else NOTHING

    def tried(self, size: int, rule: Bound | None, draws: int) -> tuple[float, float]:
        """Share of draws whose promise is broken, and the mean share that small models keep."""
        generator = torch.Generator().manual_seed(size)
        broken, kept = 0, 0.0
        for _ in range(draws):
            drawn = self.answers.rows(torch.randint(len(self.answers), (size,), generator=generator))
            chosen = (
                self.plug_in(drawn)
                if rule is None
                else certify(drawn, self.target, self.thresholds, bound=rule).thresholds
            )
            share, drop = self.truth(chosen) if chosen else (0.0, 0.0)
            broken, kept = broken + (chosen is not None and drop > self.target.value), kept + share
        return broken / draws, kept / draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("predictions", nargs="*", type=Path, help="predictions.jsonl of tests")
    parser.add_argument("--synthetic", action="store_true", help="also made-up answers with many ties")
    parser.add_argument("--drop", type=float, default=0.01)
    parser.add_argument("--draws", type=int, default=1_000)
    args = parser.parse_args()
    worlds = {str(path.parent): recorded(path) for path in args.predictions}
    if args.synthetic:
        worlds["synthetic, ties"] = synthetic()
    rows = []
    for name, answers in worlds.items():
        world = World(answers, Target("accuracy_drop", args.drop))
        for size in SIZES:
            tried = [world.tried(size, rule, args.draws) for rule in (*BOUNDS, None)]
            cells = [f"{100 * broken:.1f} / {100 * kept:.1f}" for broken, kept in tried]
            rows.append([name, f"{size:,}", *cells, f"{100 * world.best:.1f}"])
            print("  ".join(rows[-1]), flush=True)
    head = ["broken / kept, %", "samples", *BOUNDS, "no promise", "kept by the best"]
    print(markdown_table(head, rows), end="")


if __name__ == "__main__":
    main()
