"""`calibrate`: temperatures and thresholds from one pass over the validation split."""

from dataclasses import asdict
from pathlib import Path

import lightning as L
import torch
import yaml
from rich.console import Console

from kcm_lightning.collaboration import Outcome
from kcm_lightning.errors import InputError
from kcm_lightning.gating import Temperatures, Thresholds, probabilities
from kcm_lightning.large.base import NO_ANSWER
from kcm_lightning.module import KCMModule
from kcm_lightning.results import gather, write_json, write_text
from kcm_lightning.thresholds import RecordedAnswers, Target, choose_thresholds, expected_on_unseen, fit_temperature


class Recorder(L.Callback):
    """Keeps every model's answers to the validation split."""

    def __init__(self):
        self.outcomes: list[Outcome] = []
        self.batches: list[dict] = []

    def on_validation_batch_end(self, trainer, module, outputs: Outcome, batch: dict, *args) -> None:
        self.outcomes.append(outputs)
        kept = {"target": batch["target"], "index": batch["index"]}
        if module.compare:
            hint = probabilities(outputs.student_logits) if module.teacher.uses_hint else None
            kept["teacher_probabilities"] = module.teacher.distribution(batch["large"], hint, batch["index"])[:, 0]
        self.batches.append(kept)


class KCMTrainer(L.Trainer):
    """Lightning's Trainer, with `calibrate` beside `fit` and `test`."""

    def calibrate(
        self,
        model: L.LightningModule,
        datamodule: L.LightningDataModule,
        target: str = "lm_rate=0.6",
        output: str | None = None,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> dict:
        """Chooses temperatures and thresholds on the validation split.

        Args:
            model: a trained KCMModule.
            datamodule: its data.
            target: `lm_rate=X`, call the large model for at most this share of the samples, or `accuracy_drop=X`, call it
                as seldom as an accuracy within X of the large model's allows; fractions in [0, 1].
            output: YAML to write, for later commands as a second --config; `calibrated.yaml` in the run folder by default.
            ckpt_path: checkpoint; the run's best one by default.
            weights_only: as of `Trainer.validate`.

        Returns:
            What was chosen and what is expected of it on unseen data.
        """
        goal = Target.parse(target)
        if not isinstance(model, KCMModule):
            raise InputError("calibrate needs a KCMModule: this configuration trains a large model alone")
        if model.second_gate != "student":
            raise InputError("calibrate chooses thresholds for second_gate=student: the other gate calls for every sample")
        # a paid model is asked only where the target cannot be met without its answers
        model.compare = not model.teacher.paid or goal.kind == "accuracy_drop"
        own_threshold, model.thresholds = model.thresholds.teacher, Thresholds(judge=None, student=0.0)  # routes nothing on
        model.temperatures = Temperatures()
        recorder = Recorder()
        self.callbacks.append(recorder)
        self.validate(model, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=weights_only, verbose=False)
        columns = gather(recorder.outcomes, recorder.batches)
        temperatures = Temperatures(
            fit_temperature(columns["judge_logits"], columns["target"]),
            fit_temperature(columns["student_logits"], columns["target"]),
        )
        if model.compare:
            answered = ~columns["teacher_probabilities"].isnan().any(-1)
            logits = columns["teacher_probabilities"][answered].clamp_min(1e-30).log()
            temperatures.teacher = fit_temperature(logits, columns["target"][answered])
        student = probabilities(columns["student_logits"], temperatures.student)
        confidence = student.amax(-1)
        judge_right, student_right, teacher_right = (
            columns[f"{who}_prediction"] == columns["target"] for who in ("judge", "student", "teacher")
        )
        silent = columns["teacher_prediction"] == NO_ANSWER  # there the student answers
        answers = RecordedAnswers(
            probabilities(columns["judge_logits"], temperatures.judge).amax(-1),
            confidence,
            confidence - student.gather(-1, columns["judge_prediction"].unsqueeze(-1)).squeeze(-1),
            judge_right,
            student_right,
            torch.where(silent, student_right, teacher_right),
        )
        chosen = choose_thresholds(answers, goal)
        thresholds = Thresholds(chosen.judge, chosen.student, own_threshold)
        expected = expected_on_unseen(answers, goal)
        if not model.compare:  # nothing is known of the large model's accuracy
            expected = {"lm_rate": expected["lm_rate"]}
        report = {
            "target": target,
            "samples": len(answers),
            "temperatures": asdict(temperatures),
            "thresholds": asdict(thresholds),
            "expected_on_unseen_data": expected,
        }
        if self.is_global_zero:
            path = Path(output or Path(self.default_root_dir) / "calibrated.yaml")
            settings = {"thresholds": asdict(thresholds), "temperatures": asdict(temperatures)}
            write_text(path, f"# {target}, chosen on {len(answers)} samples\n" + yaml.safe_dump(_as_config(model, settings)))
            write_json(path.with_suffix(".json"), report)
            _say(report, path)
        return report


def _as_config(model: L.LightningModule, settings: dict) -> dict:
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    return {"model": {"class_path": name, "init_args": settings}}


def _say(report: dict, path: Path) -> None:
    console = Console()
    for name, figures in report["expected_on_unseen_data"].items():
        low, mean, high = (100 * figures[key] for key in ("low", "mean", "high"))
        console.print(f"expected {name.replace('_', ' ')}: {mean:.2f} % (95 % interval {low:.2f} to {high:.2f})")
    if report["thresholds"]["student"] is None:
        console.print(f"no threshold meets {report['target']} on these samples: the large model answers all of them")
    gates = ", ".join(f"{k} {v:.4f}" for k, v in report["thresholds"].items() if v is not None)
    console.print(f"thresholds: {gates}\nuse them with a second --config {path}", soft_wrap=True)
