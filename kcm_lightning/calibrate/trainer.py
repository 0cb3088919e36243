"""`calibrate`: temperatures and thresholds from one pass over the validation split."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import lightning as L

from kcm_lightning.calibrate.answer_recorder import Recorded, Recorder
from kcm_lightning.calibrate.bounds import Bound
from kcm_lightning.calibrate.caption_answer_recorder import CaptionRecorder
from kcm_lightning.calibrate.class_answer_recorder import ClassRecorder
from kcm_lightning.calibrate.output import make_folder, output_path, write
from kcm_lightning.calibrate.promise import Promise, promise_of
from kcm_lightning.calibrate.report import origin, print_report, report_of, settings
from kcm_lightning.calibrate.spending import check_spent, prices_of, tradeoff
from kcm_lightning.calibrate.target import Target
from kcm_lightning.callbacks import Budget
from kcm_lightning.core.confidence import Temperatures
from kcm_lightning.core.routing import Thresholds
from kcm_lightning.data.base import KCMDataModule
from kcm_lightning.module import KCMCaptions, KCMModule
from kcm_lightning.results import print_usage, usage_of
from kcm_lightning.results.calibrated_file import NAME
from kcm_lightning.results.costs import measured_costs
from kcm_lightning.results.tensorboard import figures_of_calibration, leave_for_tensorboard
from kcm_lightning.utils.console import PROGRAM, say
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.ranges import check_number


@dataclass
class _Wanted:
    """What is asked of `calibrate`."""

    goal: Target
    promise: Promise | None
    learn_gate: bool
    fuse: bool
    table: bool


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
        confidence: float | None = None,
        bound: Bound | None = None,
        by: Literal["region"] | None = None,
        table: bool = False,
        output: str | None = None,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Chooses temperatures, gate, fusion and thresholds on the validation split.

        Args:
            model: a trained KCMModule.
            datamodule: its data.
            target: `lm_rate=X`, call the large model for at most this share of the samples; `cost=X` (money
                for 1,000 samples), `seconds=X` (for 1,000 samples) or `flops=X` (for a sample), as often as
                this allows; `accuracy=X`, as seldom as this accuracy allows; `accuracy_drop=X`, for captions
                `bleu_drop=X` or `cider_drop=X`, as seldom as a quality within X of the large model's (with
                hints, where it gets them) allows. Qualities and shares are fractions in [0, 1].
            gate: "learned", the default, fits a learned gate and takes it unless the student's confidence
                does better on samples that it was not fitted on; "confidence" is equation 1.
            fuse: whether to fit weights of large and small models in the answer to what goes to the large
                model; they are taken where they help. false is the large model alone, as in the paper.
            confidence: how sure a quality is to be kept on new data of the same kind, for instance 0.95: one
                half of the samples fits gate and fusion, the other one tests the thresholds. null, the
                default, promises nothing.
            bound: with `confidence`, the test: "exact", the default of classes; "harms", which sees no gains;
                "betting", the default of captions, for any scores; or "score", which is approximate.
            by: with `confidence`, "region" keeps the target in each; null, the default, on all samples.
            table: whether to print what each LM rate from 0 to 100 % would bring and cost.
            output: YAML to write, for later commands as a second --config, with a JSON beside it; other files
                are not overwritten. null, the default, is `calibrated-<target>.yaml` in the run folder, of
                which `calibrated.yaml` is a copy.
            ckpt_path: checkpoint; the run's best one by default.
            weights_only: as in `Trainer.validate`; null, the default, is Lightning's choice.

        Returns:
            What was chosen and what is expected of it on unseen data.
        """
        goal = Target.parse(target)
        wanted = _Wanted(goal, promise_of(goal, confidence, bound, by), gate == "learned", fuse, table)
        path = output_path(Path(self.default_root_dir), output, goal)
        options = {"datamodule": datamodule, "ckpt_path": ckpt_path, "weights_only": weights_only}
        newest = None if output else Path(self.default_root_dir) / NAME
        return self._chosen(model, wanted, options, path, newest)

    def _chosen(
        self,
        model: L.LightningModule,
        wanted: "_Wanted",
        options: dict[str, Any],
        path: Path,
        newest: Path | None,
    ) -> dict[str, Any]:
        """Chooses, writes and says it."""
        goal = wanted.goal
        if not self.fast_dev_run:
            make_folder(path)
        recording = self._check(model, goal)
        assert isinstance(model, KCMModule)
        # a paid model is asked only where the target cannot be met without its answers
        required = goal.is_quality or goal.kind == "cost" or wanted.table
        recorder = recording(
            model,
            ask=required or not model.teacher.paid,
            required=required,
            learn_gate=wanted.learn_gate,
            fuse=wanted.fuse,
            halved=wanted.promise is not None,
        )
        own_threshold = model.thresholds.teacher
        recorded = self._recorded(recorder, model, options)
        usage = usage_of(model.teacher)
        if self.is_global_zero:
            print_usage(usage)
        if goal.is_spending:
            goal.prices = prices_of(goal, measured_costs(self, model, recorder.first_batch), usage)
        report = {
            **report_of(goal, recorded, recorder, own_threshold, wanted.promise),
            **origin(model, cast(KCMDataModule, options["datamodule"]), options["ckpt_path"]),
            **({"large_model": usage} if usage else {}),
        }
        if goal.prices is not None:
            check_spent(goal, recorded.answers, report["thresholds"])
        if wanted.table:
            report["table"] = tradeoff(recorded.answers, recorder.measure, goal.prices)
        if self.is_global_zero:
            print_report(report, goal)
            self._leave(report, settings(report, with_temperatures=recorder.has_temperatures), path, newest)
        return report

    def predict(
        self,
        model: L.LightningModule | None = None,
        dataloaders: Any = None,
        datamodule: L.LightningDataModule | None = None,
        return_predictions: bool | None = None,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,
        shadow: float = 0.0,
        calls: int | None = None,
        money: float | None = None,
    ) -> Any:
        """Lightning's `predict`, with a budget that lasts, and samples for `monitor`.

        Args:
            model: a trained module.
            dataloaders: as in Lightning.
            datamodule: as in Lightning.
            return_predictions: as in Lightning.
            ckpt_path: as in Lightning.
            weights_only: as in Lightning.
            shadow: share of the samples, drawn at random, that the large model is asked about whoever answers
                them, so that `monitor` can compare; 0, the default, asks about none of them. They are not
                counted in `calls` and `money`.
            calls: how often the large model may be called at most: the student's threshold is lowered so that
                calls are spread over all samples; null, the default, has no limit.
            money: the same as an amount of its currency, by the mean price of the answers so far.
        """
        check_number("--shadow", shadow, low=0, high=1)
        own: list[L.Callback] = []  # of this prediction alone
        if isinstance(model, KCMModule):
            model.shadow, model.pace = shadow, None
            if calls is not None or money is not None:
                own.append(Budget(calls, money))
        before, self.callbacks = self.callbacks, [*self.callbacks, *own]
        try:
            return super().predict(
                model,
                dataloaders,
                datamodule,
                return_predictions,
                ckpt_path=ckpt_path,
                weights_only=weights_only,
            )
        finally:
            self.callbacks = before

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

    def _recorded(self, recorder: Recorder, model: KCMModule, options: dict[str, Any]) -> Recorded:
        """Every model's answers to the validation split, and what was fitted on them."""
        # every sample goes to the student, and none further
        model.thresholds = Thresholds(judge=None, student=0.0)
        model.compare, model.temperatures = False, Temperatures()
        model.gate, model.fusion = "confidence", None
        if model.teacher.uses_hint and recorder.asked and recorder.has_temperatures:
            # a pass of the small models alone, so that the prompts are those of `test`, with temperature
            alone = type(recorder)(model, ask=False, required=False, halved=recorder.halved)
            found = self._record(alone, model, options).found
            model.temperatures.student = found.temperatures.student
        recorded = self._record(recorder, model, options)
        if len(recorded.answers) < 10:
            samples = len(recorded.answers) * (2 if recorder.halved else 1)
            raise InputError(f"the validation split has {samples} samples: too few to choose thresholds on")
        return recorded

    def _record(self, recorder: Recorder, model: KCMModule, options: dict[str, Any]) -> Recorded:
        """What a recorder has seen in a pass over the validation split."""
        callbacks = self.callbacks
        callbacks.append(recorder)
        self.validate(model, verbose=False, **options)
        callbacks.remove(recorder)
        return recorder.recorded()
