"""What a run leaves behind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L

from kcm_lightning.core.predictions import Outcome
from kcm_lightning.data.base import Batch, KCMDataModule
from kcm_lightning.results.calibrated_file import check_chosen, chosen_for, plain_settings
from kcm_lightning.results.class_figures import TITLES, prediction_lines, summarize, table_rows, write_curve
from kcm_lightning.results.class_shift import class_shift
from kcm_lightning.results.columns import Columns, gather
from kcm_lightning.results.costs import measured_costs
from kcm_lightning.results.end_of_test import end_of_test, operating_points
from kcm_lightning.results.fit_record import check_resumed, check_split, keep, trained_on_by_judge
from kcm_lightning.results.page import results_page, verdicts
from kcm_lightning.results.promise_kept import promise_kept
from kcm_lightning.results.provenance import identity_of, otherwise_in_the_fit, provenance
from kcm_lightning.results.results_folder import results_folder
from kcm_lightning.results.tensorboard import figures_of_test, leave_for_tensorboard
from kcm_lightning.results.usage import print_usage, usage_of
from kcm_lightning.utils.console import say
from kcm_lightning.utils.files import write_json, write_text
from kcm_lightning.utils.tables import print_table


@dataclass
class RunResults:
    """What a test has found.

    Args:
        summary: plain values, for `results.json`.
        table: head and rows.
        lines: JSON lines, one a sample.
        draw: writes the curve to a PNG file, under a title; None where not every model was asked.
    """

    summary: dict[str, Any]
    table: tuple[list[str], list[list[str]]]
    lines: str
    draw: Callable[[Path, str], None] | None


class ResultsWriter(L.Callback):
    """Leaves `data.json` before any training, and the results after `test`.

    These are `results.json`, `results.md`, `predictions.jsonl` and `curve.png`, in the run folder or, where
    that has results of something else, in a subfolder.

    Args:
        folder: the run folder, which exists.
        config: the resolved configuration, plain values only.
        not_done: what the run's `fit` has not done of what was planned, a sentence each.
        configs: configuration files of the command, of which one may be `calibrate`'s.
    """

    columns: tuple[str, ...] = ("target", "index")  # of a batch, kept beside its outcome

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        not_done: Sequence[str] = (),
        configs: Sequence[Path] = (),
    ):
        self.folder, self.config, self.not_done = Path(folder), dict(config), list(not_done)
        self.configs = list(configs)
        self.outcomes: list[Outcome] = []
        self.batches: list[Batch] = []
        self.large_model: str | None = None  # its identity
        self.fitted: dict[str, Any] = {}  # of the fit's options, data and large model, what is another now

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        if trainer.fast_dev_run:
            return
        data = trainer.datamodule
        if trainer.ckpt_path is None:
            of_judge = trained_on_by_judge(getattr(module, "judge_ckpt", None), data)
        else:
            of_judge = check_resumed(trainer.ckpt_path, data)
        if trainer.is_global_zero:
            keep(self.folder, data, identity_of(module), of_judge, resumed=trainer.ckpt_path)

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        if trainer.state.fn == "validate" and trainer.ckpt_path is not None:  # also `calibrate`
            check_split(trainer.ckpt_path, trainer.datamodule, "val")

    def on_test_start(self, trainer: Any, module: Any) -> None:
        self._look_at_models(trainer, module)
        data, config = trainer.datamodule, self.config
        self.fitted = otherwise_in_the_fit(trainer.ckpt_path, config, data, self.large_model)
        said = _of_the_judges_phase(trainer, module)
        if said and not any("not distilled" in sentence for sentence in self.not_done):
            self.not_done.append(said)

    def on_predict_start(self, trainer: Any, module: Any) -> None:
        self._look_at_models(trainer, module)

    def _look_at_models(self, trainer: Any, module: Any) -> None:
        self.large_model = identity_of(module)
        if self.configs:
            check_chosen(self.configs, module.thresholds, trainer.ckpt_path)

    def on_test_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Batch, *args: Any) -> None:
        if not self.outcomes:
            self.first_batch = batch
        self._keep(outputs, batch)

    def on_predict_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Batch, *args: Any) -> None:
        self._keep(outputs, batch)

    def _keep(self, outcome: Outcome, batch: Batch) -> None:
        self.outcomes.append(outcome)
        self.batches.append({name: batch[name] for name in self.columns})

    def _gathered(self) -> Columns:
        columns = gather(self.outcomes, self.batches)
        self.outcomes, self.batches = [], []
        return columns

    def _results_of(self, columns: Columns, data: KCMDataModule, module: Any) -> RunResults:
        summary: dict[str, Any] = {}
        for scheme, regions in data.regions.items():
            figures = summarize(columns, regions, data.region_names[scheme])
            if not summary:
                summary = figures
            else:  # the same answers, cut into other regions
                summary[f"accuracy_by_{scheme}"] = figures["accuracy"]
        compared = "oracle" in summary["accuracy"]
        return RunResults(
            summary=summary,
            table=table_rows(summary),
            lines=prediction_lines(columns, data.class_names),
            draw=(lambda path, title: write_curve(path, columns, summary, title, data.name))
            if compared
            else None,
        )

    def on_test_end(self, trainer: Any, module: Any) -> None:
        columns = self._gathered()
        usage = usage_of(module.teacher, columns["called"])
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        found = self._results_of(columns, data, module)
        title = f"{data.title}, {found.summary['samples']:,} test samples"
        print_table(*found.table, title)
        _say_unanswered(found.summary["unanswered"])
        for sentence in filter(None, [*self.not_done, class_shift(data)]):
            say(f"note: {sentence}")
        for sentence in verdicts(found.summary, only_doubtful=True):
            say(f"note: {sentence}")
        print_usage(usage)
        if trainer.fast_dev_run:
            return
        results = found.summary | self._facts(trainer, module, usage)
        results["costs"] = measured_costs(trainer, module, self.first_batch)
        if promise := promise_kept(results):
            results["promise"] = promise
        folder = self._folder_of("test", results)
        for name in ("curve.png", "curve.svg"):  # of results that were made before
            (folder / name).unlink(missing_ok=True)
        write_json(folder / "results.json", results)
        write_text(folder / "results.md", results_page(title, found.table, results))
        write_text(folder / "predictions.jsonl", found.lines)
        if found.draw is not None:
            found.draw(folder / "curve.png", title)
        self._leave_for_tensorboard(folder, results)
        if points := operating_points(self.folder, folder, results):
            print_table(*points, "with other thresholds")
        for line in end_of_test(self.folder, folder, results):
            say(line)

    def _leave_for_tensorboard(self, folder: Path, results: Mapping[str, Any]) -> None:
        """Has TensorBoard show what the folder holds."""
        leave_for_tensorboard(
            folder,
            "test",
            scalars=figures_of_test(results),
            texts={"test/results": (folder / "results.md").read_text(encoding="utf-8")},
            images={"test/curve": folder / "curve.png"},
        )

    def _folder_of(self, command: str, found: Mapping[str, Any]) -> Path:
        """Where results go, made where missing: they overwrite those of the same alone."""
        folder = results_folder(self.folder, command=command, found=found)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _facts(self, trainer: Any, module: Any, usage: dict) -> dict[str, Any]:
        gates: dict[str, Any] = {}
        if hasattr(module, "thresholds"):
            gates = {"thresholds": asdict(module.thresholds), "temperatures": asdict(module.temperatures)}
            gates |= plain_settings(module.gate, module.fusion)
            gates["calibrated"] = chosen_for(self.configs, module.thresholds)
        facts = provenance(trainer, self.config, self.large_model, self.fitted)
        if "checkpoint" in facts and Path(trainer.ckpt_path).resolve().parent.parent != self.folder.resolve():
            facts["checkpoint"] = str(trainer.ckpt_path)  # another run's
        more = {"large_model": usage, "not_done": self.not_done}
        found = gates | facts | more
        return {name: value for name, value in found.items() if value or name not in ("calibrated", *more)}

    def on_predict_end(self, trainer: Any, module: Any) -> None:
        columns = self._gathered()
        usage = usage_of(module.teacher, columns["called"])
        if trainer.is_global_zero and not trainer.fast_dev_run:
            facts = {"samples": len(columns["index"])} | self._facts(trainer, module, usage)
            folder = self._folder_of("predict", facts)
            write_json(folder / "predict.json", facts)
            self._leave_predictions(folder, columns, trainer.datamodule)
            print_usage(usage)

    def _leave_predictions(self, folder: Path, columns: Columns, data: KCMDataModule) -> None:
        path = folder / "predict.jsonl"
        write_text(path, prediction_lines(columns, data.class_names))
        say(f"predictions: {path}")


def _of_the_judges_phase(trainer: Any, module: Any) -> str | None:
    """What is to be said where the weights are of a time when there was no student yet."""
    planned = getattr(module, "student_phase", None)
    if trainer.ckpt_path is None or planned is None or not planned.epochs or module.student_started:
        return None
    name = Path(trainer.ckpt_path).name
    return f"{name} is of the judge's phase: the student's figures are the judge's"


def _say_unanswered(unanswered: Mapping[str, int]) -> None:
    """Says what counts where the large model was asked and gave no answer."""
    counted = {"teacher": "are wrong", "kcm": "have the student's answer"}
    said = [f"{n} in column {TITLES[who]} {counted[who]}" for who, n in sorted(unanswered.items()) if n]
    if said:
        say(f"samples that the large model gave no answer to: {', '.join(reversed(said))}")
