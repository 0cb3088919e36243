"""`calibrate`: temperatures and thresholds from one pass over the validation split."""

from dataclasses import asdict
from pathlib import Path

import lightning as L
import yaml
from rich.console import Console

from kcm_lightning.calibrate.captions import CaptionRecorder
from kcm_lightning.calibrate.classes import ClassRecorder
from kcm_lightning.calibrate.recorder import Recorder
from kcm_lightning.errors import InputError
from kcm_lightning.gating import Temperatures, Thresholds
from kcm_lightning.metrics.captions import require_java
from kcm_lightning.module import KCMModule
from kcm_lightning.results import write_json, write_text
from kcm_lightning.thresholds import Recorded, Target, choose_thresholds, expected_on_unseen


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
            target: `lm_rate=X`, call the large model for at most this share of the samples; or `accuracy_drop=X`, for captions
                `bleu_drop=X` or `cider_drop=X`, call it as seldom as a quality within X of the large model's (with hints, where
                it gets them) allows; fractions in [0, 1].
            output: YAML to write, for later commands as a second --config; `calibrated.yaml` in the run folder by default.
            ckpt_path: checkpoint; the run's best one by default.
            weights_only: as of `Trainer.validate`.

        Returns:
            What was chosen and what is expected of it on unseen data.
        """
        goal = Target.parse(target)
        if output is not None and Path(output).suffix == ".json":
            raise InputError(f"--output={output} is to be a YAML; what is expected goes beside it as JSON")
        if not isinstance(model, KCMModule):
            raise InputError("calibrate needs a KCMModule: this configuration trains one model alone")
        if goal.measure is not None and (goal.measure == "accuracy") == model.captions:
            raise InputError(f"{target}: accuracy_drop is for classes, bleu_drop and cider_drop are for captions")
        if model.second_gate != "student":
            raise InputError("calibrate chooses thresholds for second_gate=student: the other gate calls for every sample")
        if model.captions and model.scoring == "ptb":
            require_java("--model.scoring=words")
        recording = CaptionRecorder if model.captions else ClassRecorder
        # a paid model is asked only where the target cannot be met without its answers
        needed = goal.measure is not None
        recorder = recording(ask=needed or not model.teacher.paid, required=needed)
        # every sample goes to the student, and none further
        own_threshold, model.thresholds = model.thresholds.teacher, Thresholds(judge=None, student=0.0)
        model.compare, model.temperatures = False, Temperatures()
        options = {"datamodule": datamodule, "ckpt_path": ckpt_path, "weights_only": weights_only, "verbose": False}
        if model.teacher.uses_hint and recorder.asked and not model.captions:
            # a pass of the small models alone, so that the prompts are those of `test`, with temperature
            model.temperatures.student = self._record(ClassRecorder(ask=False, required=False), model, options)[1].student
        answers, temperatures = self._record(recorder, model, options)
        if len(answers) < 10:
            raise InputError(f"the validation split has {len(answers)} samples: too few to choose thresholds on")
        chosen = choose_thresholds(answers, goal)
        thresholds = Thresholds(chosen.judge, chosen.student, own_threshold)
        expected = expected_on_unseen(answers, goal)
        if not recorder.asked:  # nothing is known of the large model's answers
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
            settings = {"thresholds": asdict(thresholds)}
            if not model.captions:  # a caption's confidence has no temperature
                settings["temperatures"] = asdict(temperatures)
            chosen = yaml.safe_dump({"model": {"init_args": settings}})
            write_text(path, f"# {target}, chosen on {len(answers)} samples\n{chosen}")
            write_json(path.with_suffix(".json"), report)
            _say(report, path)
        return report

    def _record(self, recorder: Recorder, model: L.LightningModule, options: dict) -> tuple[Recorded, Temperatures]:
        """What a recorder has seen in a pass over the validation split."""
        self.callbacks.append(recorder)
        self.validate(model, **options)
        self.callbacks.remove(recorder)
        return recorder.recorded()


def _say(report: dict, path: Path) -> None:
    console = Console()
    for name, figures in report["expected_on_unseen_data"].items():
        low, mean, high = (100 * figures[key] for key in ("low", "mean", "high"))
        unit = " x 100:" if name.startswith(("BLEU", "CIDEr")) else ":"
        sign = "" if unit != ":" else " %"
        console.print(f"expected {name.replace('_', ' ')}{unit} {mean:.2f}{sign} (95 % interval {low:.2f} to {high:.2f})")
    if report["thresholds"]["student"] is None:
        console.print(f"no threshold meets {report['target']} on these samples: the large model answers all of them")
    gates = ", ".join(f"{k} {v:.4f}" for k, v in report["thresholds"].items() if v is not None)
    console.print(f"thresholds: {gates}\nuse them with a second --config {path}", soft_wrap=True)
