"""`calibrate`: temperatures and thresholds from one pass over the validation split."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from rich.console import Console

from kcm_lightning.calibrate.answer_recorder import Recorder
from kcm_lightning.calibrate.answers import ValidationAnswers
from kcm_lightning.calibrate.caption_answer_recorder import CaptionRecorder
from kcm_lightning.calibrate.class_answer_recorder import ClassRecorder
from kcm_lightning.calibrate.output import output_path
from kcm_lightning.calibrate.target import Target
from kcm_lightning.calibrate.thresholds import choose_thresholds, expected_on_unseen
from kcm_lightning.core.confidence import Temperatures
from kcm_lightning.core.routing import Thresholds
from kcm_lightning.module import KCMCaptions, KCMModule
from kcm_lightning.results import print_usage, usage_of
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import write_json, write_text


class KCMTrainer(L.Trainer):
    """Lightning's Trainer, with `calibrate` beside `fit` and `test`."""

    # of Lightning's, which sets them without declaring them
    callbacks: list[L.Callback]
    fast_dev_run: int | bool

    def calibrate(
        self,
        model: L.LightningModule,
        datamodule: L.LightningDataModule,
        target: str = "lm_rate=0.6",
        output: str | None = None,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Chooses temperatures and thresholds on the validation split.

        Args:
            model: a trained KCMModule.
            datamodule: its data.
            target: `lm_rate=X`, call the large model for at most this share of the samples; or
                `accuracy_drop=X`, for captions `bleu_drop=X` or `cider_drop=X`, call it as seldom as a
                quality within X of the large model's (with hints, where it gets them) allows; fractions in
                [0, 1].
            output: YAML to write, for later commands as a second --config, with what is expected as JSON
                beside it. Other files are not overwritten. null, the default, is `calibrated.yaml` in the run
                folder; where that is of another target, `calibrated-<target>.yaml`.
            ckpt_path: checkpoint; the run's best one by default.
            weights_only: whether the checkpoint may hold tensors alone, as in `Trainer.validate`; null, the
                default, is Lightning's choice.

        Returns:
            What was chosen and what is expected of it on unseen data.
        """
        goal = Target.parse(target)
        path = output_path(Path(self.default_root_dir), output, target)
        recording = self._check(model, goal)
        assert isinstance(model, KCMModule)
        # a paid model is asked only where the target cannot be met without its answers
        required = goal.measure is not None
        recorder = recording(model, ask=required or not model.teacher.paid, required=required)
        own_threshold = model.thresholds.teacher
        options = {"datamodule": datamodule, "ckpt_path": ckpt_path, "weights_only": weights_only}
        answers, temperatures = self._answers(recorder, model, options)
        usage = usage_of(model.teacher)
        if self.is_global_zero:
            print_usage(usage)
        chosen = choose_thresholds(answers, goal)
        expected = expected_on_unseen(answers, goal)
        if not recorder.asked:  # nothing is known of the large model's answers
            expected = {"lm_rate": expected["lm_rate"]}
        report = {
            "target": target,
            "samples": len(answers),
            "temperatures": asdict(temperatures),
            "thresholds": asdict(Thresholds(chosen.judge, chosen.student, own_threshold)),
            "expected_on_unseen_data": expected,
        } | ({"large_model": usage} if usage else {})
        if self.is_global_zero:
            _write(report, path, with_temperatures=recorder.has_temperatures)
            _print(report, path)
        return report

    def _check(self, model: L.LightningModule, goal: Target) -> type[Recorder]:
        """Refuses what cannot be calibrated; returns what records the module's kind of answers."""
        if not isinstance(model, KCMModule):
            raise InputError("calibrate needs a KCMModule: this configuration trains one model alone")
        recording: type[Recorder] = CaptionRecorder if isinstance(model, KCMCaptions) else ClassRecorder
        if model.second_gate != "student":
            raise InputError(
                "calibrate chooses thresholds for second_gate=student: the other gate calls for every sample"
            )
        recording.check(model, goal)
        return recording

    def _answers(
        self, recorder: Recorder, model: KCMModule, options: dict[str, Any]
    ) -> tuple[ValidationAnswers, Temperatures]:
        """Every model's answers to the validation split, and their temperatures."""
        # every sample goes to the student, and none further
        model.thresholds = Thresholds(judge=None, student=0.0)
        model.compare, model.temperatures = False, Temperatures()
        if model.teacher.uses_hint and recorder.asked and recorder.has_temperatures:
            # a pass of the small models alone, so that the prompts are those of `test`, with temperature
            alone = type(recorder)(model, ask=False, required=False)
            model.temperatures.student = self._record(alone, model, options)[1].student
        answers, temperatures = self._record(recorder, model, options)
        if len(answers) < 10:
            raise InputError(
                f"the validation split has {len(answers)} samples: too few to choose thresholds on"
            )
        return answers, temperatures

    def _record(
        self, recorder: Recorder, model: KCMModule, options: dict[str, Any]
    ) -> tuple[ValidationAnswers, Temperatures]:
        """What a recorder has seen in a pass over the validation split."""
        callbacks = self.callbacks
        callbacks.append(recorder)
        self.validate(model, verbose=False, **options)
        callbacks.remove(recorder)
        return recorder.recorded()


def _write(report: dict[str, Any], path: Path, *, with_temperatures: bool) -> None:
    """Writes the settings as YAML and the report as JSON beside it."""
    names = ("thresholds", "temperatures") if with_temperatures else ("thresholds",)
    settings = yaml.safe_dump({"model": {"init_args": {name: report[name] for name in names}}})
    write_json(path.with_suffix(".json"), report)  # first: it says that the other one is calibrate's
    write_text(path, f"# {report['target']}, chosen on {report['samples']} samples\n{settings}")


def _print(report: dict[str, Any], path: Path) -> None:
    console = Console()
    for name, figures in report["expected_on_unseen_data"].items():
        low, mean, high = (100 * figures[key] for key in ("low", "mean", "high"))
        is_score = name.startswith(("BLEU", "CIDEr"))
        title = f"expected {name.replace('_', ' ')}{' x 100' if is_score else ''}"
        value = f"{mean:.2f}{'' if is_score else ' %'}"
        console.print(f"{title}: {value} (95 % interval {low:.2f} to {high:.2f})")
    if report["thresholds"]["student"] is None:
        target = report["target"]
        console.print(f"no threshold meets {target} on these samples: the large model answers all of them")
    gates = ", ".join(f"{k} {v:.4f}" for k, v in report["thresholds"].items() if v is not None)
    console.print(f"thresholds: {gates}\nuse them with a second --config {path}", soft_wrap=True)
