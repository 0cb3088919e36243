"""`calibrate`: temperatures and thresholds from one pass over the validation split."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast

import lightning as L
import yaml

from kcm_lightning.calibrate.answer_recorder import Found, Recorder
from kcm_lightning.calibrate.answers import ValidationAnswers
from kcm_lightning.calibrate.caption_answer_recorder import CaptionRecorder
from kcm_lightning.calibrate.class_answer_recorder import ClassRecorder
from kcm_lightning.calibrate.on_unseen import in_words, met_on_unseen
from kcm_lightning.calibrate.output import make_folder, output_path, write
from kcm_lightning.calibrate.target import Target
from kcm_lightning.calibrate.thresholds import choose_thresholds, expected_on_unseen
from kcm_lightning.core.confidence import Temperatures
from kcm_lightning.core.routing import Thresholds
from kcm_lightning.data.base import KCMDataModule
from kcm_lightning.module import KCMCaptions, KCMModule
from kcm_lightning.results import print_usage, usage_of
from kcm_lightning.results.calibrated_file import NAME, expected_in_words, plain_settings
from kcm_lightning.results.fit_record import checkpoint_facts
from kcm_lightning.results.provenance import identity_of
from kcm_lightning.results.tensorboard import figures_of_calibration, leave_for_tensorboard
from kcm_lightning.utils.console import PROGRAM, say
from kcm_lightning.utils.errors import InputError


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
        gate: Literal["learned", "confidence"] = "learned",
        fuse: bool = True,
        output: str | None = None,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Chooses temperatures, gate, fusion and thresholds on the validation split.

        Args:
            model: a trained KCMModule.
            datamodule: its data.
            target: `lm_rate=X`, call the large model for at most this share of the samples; or
                `accuracy_drop=X`, for captions `bleu_drop=X` or `cider_drop=X`, call it as seldom as a
                quality within X of the large model's (with hints, where it gets them) allows; fractions in
                [0, 1].
            gate: "learned", the default, fits a learned gate and takes it where it routes better than the
                student's confidence on samples that it was not fitted on; "confidence" is equation 1.
            fuse: whether to fit weights of large and small models in the answer to what goes to the large
                model; they are taken where they help. false is the large model alone, as in the paper.
            output: YAML to write, for later commands as a second --config, with what is expected as JSON
                beside it. Other files are not overwritten, and earlier thresholds that are others are kept
                under a name of their own. null, the default, is `calibrated-<target>.yaml` in the run folder;
                `calibrated.yaml` there is a copy of the newest one.
            ckpt_path: checkpoint; the run's best one by default.
            weights_only: as in `Trainer.validate`; null, the default, is Lightning's choice.

        Returns:
            What was chosen and what is expected of it on unseen data.
        """
        goal = Target.parse(target)
        path = output_path(Path(self.default_root_dir), output, goal)
        if not self.fast_dev_run:
            make_folder(path)
        recording = self._check(model, goal)
        assert isinstance(model, KCMModule)
        # a paid model is asked only where the target cannot be met without its answers
        required = goal.measure is not None
        ask = required or not model.teacher.paid
        recorder = recording(model, ask=ask, required=required, learn_gate=gate == "learned", fuse=fuse)
        own_threshold = model.thresholds.teacher
        options = {"datamodule": datamodule, "ckpt_path": ckpt_path, "weights_only": weights_only}
        answers, found = self._answers(recorder, model, options)
        usage = usage_of(model.teacher)
        if self.is_global_zero:
            print_usage(usage)
        report = {
            **_fitted(goal, answers, found, recorder),
            **_chosen(answers, goal, own_threshold, large_model_known=recorder.asked),
            **_origin(model, cast(KCMDataModule, datamodule), ckpt_path),
            **({"large_model": usage} if usage else {}),
        }
        if self.is_global_zero:
            _print(report, goal)
            newest = None if output else Path(self.default_root_dir) / NAME
            self._leave(report, _settings(report, with_temperatures=recorder.has_temperatures), path, newest)
        return report

    def _leave(self, report: dict[str, Any], settings: str, path: Path, newest: Path | None) -> None:
        """Writes what was chosen, unless this is a try, and says how to use it."""
        if self.fast_dev_run:
            say("nothing is written: this was a try, --trainer.fast_dev_run")
            return
        if replaced := write(report, settings, path, newest):
            say(f"note: {replaced}")
        scalars, texts = figures_of_calibration(report)
        of = f"calibrate-{report['target']}"
        leave_for_tensorboard(Path(self.default_root_dir), of, scalars=scalars, texts=texts)
        say(f"use them with a second --config {newest or path}")
        config = Path(self.default_root_dir) / "config.yaml"
        if config.is_file():
            words = ["--config", str(config), "--config", str(newest or path)]
            say(f"next: {PROGRAM} test {shlex.join(words)}")

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
    ) -> tuple[ValidationAnswers, Found]:
        """Every model's answers to the validation split, and what was fitted on them."""
        # every sample goes to the student, and none further
        model.thresholds = Thresholds(judge=None, student=0.0)
        model.compare, model.temperatures = False, Temperatures()
        model.gate, model.fusion = "confidence", None
        if model.teacher.uses_hint and recorder.asked and recorder.has_temperatures:
            # a pass of the small models alone, so that the prompts are those of `test`, with temperature
            alone = type(recorder)(model, ask=False, required=False)
            model.temperatures.student = self._record(alone, model, options)[1].temperatures.student
        answers, found = self._record(recorder, model, options)
        if len(answers) < 10:
            raise InputError(
                f"the validation split has {len(answers)} samples: too few to choose thresholds on"
            )
        return answers, found

    def _record(
        self, recorder: Recorder, model: KCMModule, options: dict[str, Any]
    ) -> tuple[ValidationAnswers, Found]:
        """What a recorder has seen in a pass over the validation split."""
        callbacks = self.callbacks
        callbacks.append(recorder)
        self.validate(model, verbose=False, **options)
        callbacks.remove(recorder)
        return recorder.recorded()


def _fitted(goal: Target, answers: ValidationAnswers, found: Found, recorder: Recorder) -> dict[str, Any]:
    """What the thresholds go with."""
    return {
        "target": str(goal),
        "samples": len(answers),
        "unanswered": recorder.unanswered,
        "temperatures": asdict(found.temperatures),
        **plain_settings(found.gate, found.fusion),
        "fusion_gain": found.fusion_gain,
    }


def _chosen(
    answers: ValidationAnswers, goal: Target, own_threshold: float | None, *, large_model_known: bool
) -> dict[str, Any]:
    """Thresholds, and what to expect of them on samples that they were not chosen on."""
    chosen = choose_thresholds(answers, goal)
    expected = expected_on_unseen(answers, goal)
    if not large_model_known:
        expected = {"lm_rate": expected["lm_rate"]}
    return {
        "thresholds": asdict(Thresholds(chosen.judge, chosen.student, own_threshold)),
        "expected_on_unseen_data": expected,
        "target_on_unseen_data": met_on_unseen(goal, len(answers), expected),
    }


def _origin(model: KCMModule, data: KCMDataModule, checkpoint: str | None) -> dict[str, Any]:
    """Checkpoint, data and large model that thresholds are of."""
    return {
        **checkpoint_facts(checkpoint),
        "data": {"title": data.title, "val": data.fingerprint()["val"]},
        "large_model_identity": identity_of(model),
    }


def _settings(report: dict[str, Any], *, with_temperatures: bool) -> str:
    """The settings as YAML, for later commands."""
    names = ("thresholds", *(["temperatures"] if with_temperatures else []), "gate", "fusion")
    settings = yaml.safe_dump({"model": {"init_args": {name: report[name] for name in names}}})
    return f"# {report['target']}, chosen on {report['samples']} samples\n{settings}"


def _print(report: dict[str, Any], goal: Target) -> None:
    for name, figures in report["expected_on_unseen_data"].items():
        low, mean, high = (100 * figures[key] for key in ("low", "mean", "high"))
        is_score = name.startswith(("BLEU", "CIDEr"))
        title = f"expected {expected_in_words(name)}{' x 100' if is_score else ''}"
        value = f"{mean:.2f}{'' if is_score else ' %'}"
        say(f"{title}: {value} (95 % interval {low:.2f} to {high:.2f})")
    if unanswered := report["unanswered"]:
        say(
            f"note: the large model gave no answer to {unanswered:,} of {report['samples']:,} validation "
            "samples: there the student's stands, and what is expected holds for as many"
        )
    if met := report["target_on_unseen_data"]:
        say(in_words(goal, report["samples"], met))
    if report["thresholds"]["student"] is None:
        target = report["target"]
        say(f"no threshold meets {target} on these samples: the large model answers all of them")
    if report["gate"] != "confidence":
        say("gate: learned, which routes better than the student's confidence")
    if report["fusion"] is not None:
        weights = ", ".join(f"{who.replace('_', ' ')} {w:.2f}" for who, w in report["fusion"].items() if w)
        unit = "points" if "class_count" in report["fusion"] else "CIDEr x 100"
        gain = f"{100 * report['fusion_gain']:+.2f} {unit} on samples that they were not fitted on"
        say(f"fusion: weights {weights}; {gain}, against the large model alone on every sample")
    elif report["fusion_gain"] is not None:
        say("fusion: none, the large model alone is as good")
    say("thresholds: " + ", ".join(f"{k} {v:.4f}" for k, v in report["thresholds"].items() if v is not None))
