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
from kcm_lightning.module import KCMModule
from kcm_lightning.results import gather, write_json, write_text
from kcm_lightning.thresholds import RecordedAnswers, Target, choose_thresholds, expected_on_unseen, fit_temperature


class Recorder(L.Callback):
    """Keeps every model's answers to the validation split.

    Args:
        ask: whether to ask the large model, once about each sample, with the student's hint.
    """

    def __init__(self, ask: bool):
        self.ask = ask
        self.outcomes: list[Outcome] = []
        self.batches: list[dict] = []

    def on_validation_batch_end(self, trainer, module, outputs: Outcome, batch: dict, *args) -> None:
        self.outcomes.append(outputs)
        kept = {"target": batch["target"], "index": batch["index"]}
        if self.ask:
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
        recorder = Recorder(ask=not model.teacher.paid or goal.kind == "accuracy_drop")
        # every sample goes to the student, and none further
        own_threshold, model.thresholds = model.thresholds.teacher, Thresholds(judge=None, student=0.0)
        model.compare, model.temperatures = False, Temperatures()
        self.callbacks.append(recorder)
        self.validate(model, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=weights_only, verbose=False)
        columns = gather(recorder.outcomes, recorder.batches)
        temperatures = Temperatures(
            fit_temperature(columns["judge_logits"], columns["target"]),
            fit_temperature(columns["student_logits"], columns["target"]),
        )
        judge_right, student_right = (columns[f"{who}_prediction"] == columns["target"] for who in ("judge", "student"))
        teacher_right = student_right  # where the large model has no answer, the student's stands
        if recorder.ask:
            said = columns["teacher_probabilities"]
            answered = ~said.isnan().any(-1)
            temperatures.teacher = fit_temperature(said[answered].clamp_min(1e-30).log(), columns["target"][answered])
            teacher_right = torch.where(answered, said.nan_to_num().argmax(-1) == columns["target"], student_right)
        student = probabilities(columns["student_logits"], temperatures.student)
        confidence = student.amax(-1)
        answers = RecordedAnswers(
            probabilities(columns["judge_logits"], temperatures.judge).amax(-1),
            confidence,
            confidence - student.gather(-1, columns["judge_prediction"].unsqueeze(-1)).squeeze(-1),
            judge_right,
            student_right,
            teacher_right,
        )
        chosen = choose_thresholds(answers, goal)
        thresholds = Thresholds(chosen.judge, chosen.student, own_threshold)
        expected = expected_on_unseen(answers, goal)
        if not recorder.ask:  # nothing is known of the large model's accuracy
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
