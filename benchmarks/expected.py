"""How often what `calibrate` expects on unseen data is what other samples then show.

The samples of a test are split many times: thresholds are chosen on some, and intervals of 95 % are read off
for the rest.

python -m benchmarks.expected RUN/predictions.jsonl ... [--target lm_rate=0.6] [--samples 1000] [--splits 200]
"""

import argparse
import json
from pathlib import Path

import torch

from benchmarks.promises import recorded
from kcm_lightning.calibrate.answers import CaptionAnswers, ValidationAnswers, share_routed
from kcm_lightning.calibrate.target import Target
from kcm_lightning.calibrate.thresholds import choose_thresholds, expected_on_unseen
from kcm_lightning.metrics.caption_scores import tokenize
from kcm_lightning.metrics.image_scores import image_scores
from kcm_lightning.utils.tables import markdown_table


def answers_of(path: Path) -> ValidationAnswers:
    """The answers of a test of classes or captions, out of its `predictions.jsonl`."""
    with path.open(encoding="utf-8") as file:
        return recorded_captions(path) if "caption" in json.loads(next(file)) else recorded(path)


def recorded_captions(path: Path) -> CaptionAnswers:
    """Captions of a test, gated by the student's confidence."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    captions = {who: [row[f"{who}_caption"] for row in rows] for who in ("judge", "student", "teacher")}
    tokenized = tokenize(captions, [row["references"] for row in rows], "ptb")
    scores = {who: image_scores(own, tokenized.references) for who, own in tokenized.systems.items()}
    return CaptionAnswers(
        judge_confidence=torch.tensor([row["judge_confidence"] for row in rows]),
        gate_score=torch.tensor([row["student_confidence"] for row in rows]),
        student_doubt=torch.zeros(len(rows)),
        judge=scores["judge"],
        student=scores["student"],
        teacher=scores["teacher"],
        fused=scores["teacher"],
    )


def covered(answers: ValidationAnswers, target: Target, samples: int, splits: int) -> dict[str, float]:
    """Share of the splits whose interval holds what the other samples show, of each figure."""
    generator, hits = torch.Generator().manual_seed(0), dict[str, int]()
    for _ in range(splits):
        order = torch.randperm(len(answers), generator=generator)
        chosen_on, rest = answers.rows(order[:samples]), answers.rows(order[samples:])
        routes = rest.routes(choose_thresholds(chosen_on, target))
        shown = {"lm_rate": share_routed(routes)} | rest.means(routes)
        for name, interval in expected_on_unseen(chosen_on, target).items():
            hits[name] = hits.get(name, 0) + (interval["low"] <= shown[name] <= interval["high"])
    return {name: count / splits for name, count in hits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("predictions", nargs="+", type=Path, help="predictions.jsonl of tests")
    parser.add_argument("--target", nargs="+", default=["lm_rate=0.6"], help="targets of calibrate")
    parser.add_argument("--samples", type=int, default=1_000, help="that thresholds are chosen on")
    parser.add_argument("--splits", type=int, default=200)
    args = parser.parse_args()
    rows = []
    for path in args.predictions:
        answers = answers_of(path)
        if len(answers) < 2 * args.samples:
            raise SystemExit(f"{path}: {len(answers)} samples, too few for {args.samples} and as many others")
        for target in args.target:
            found = covered(answers, Target.parse(target), args.samples, args.splits)
            figures = ", ".join(f"{name} {100 * share:.1f}" for name, share in found.items())
            rows.append([str(path.parent), target, f"{args.samples:,} of {len(answers):,}", figures])
            print("  ".join(rows[-1]), flush=True)
    print(markdown_table(["run", "target", "chosen on", "covered, %"], rows), end="")


if __name__ == "__main__":
    main()
