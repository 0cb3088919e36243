"""What a sequential training leaves behind: accuracy on each group after each, and forgetting."""

from typing import Any

from kcm_lightning.results.writer import ResultsWriter
from kcm_lightning.utils.console import say
from kcm_lightning.utils.files import write_json, write_text
from kcm_lightning.utils.tables import markdown_table, percent, print_table

_TITLES = {"all_classes": "all classes compete", "own_classes": "only the group's classes compete"}


class SequentialResultsWriter(ResultsWriter):
    """Leaves `data.json` before any training, and after `test` `results.json` and `results.md`.

    Args:
        folder: the run folder, which exists.
        config: the resolved configuration, plain values only.
    """

    def on_test_batch_end(self, *args: Any) -> None:
        """Keeps nothing: the module counts."""

    def on_test_end(self, trainer: Any, module: Any) -> None:
        data, metrics = trainer.datamodule, trainer.callback_metrics
        regions = [*data.region_names[next(iter(data.regions))], "overall"]
        summary: dict[str, Any] = {"samples": len(data.positions["test"]), "groups": module.groups}
        summary["final_accuracy"] = {region: metrics[f"test/{region}"].item() for region in regions}
        for kind, scores in module.scores.items():
            found = scores.compute()
            summary[kind] = {"accuracy_after_each_group": found["accuracy"].tolist()}
            summary[kind] |= {name: found[name].item() for name in ("forgetting", "backward_transfer")}
        tables = {kind: _table(summary[kind]) for kind in module.scores}
        for kind, table in tables.items():
            print_table(*table, f"{data.title}, {_TITLES[kind]}")
        if trainer.fast_dev_run:
            return
        found = summary | self._facts(trainer, module, {})
        folder = self._folder_of("test", found)
        write_json(folder / "results.json", found)
        parts = [
            f"{_TITLES[kind].capitalize()}:\n\n{markdown_table(*table)}" for kind, table in tables.items()
        ]
        write_text(folder / "results.md", "\n".join(parts))
        self._leave_for_tensorboard(folder, found)
        say(f"results: {folder / 'results.json'}")


def _table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """A row for each group that was learned, then what was forgotten."""
    matrix = found["accuracy_after_each_group"]
    groups = range(1, len(matrix) + 1)
    rows = [
        [f"after group {i}", *(percent(value) for value in row)]
        for i, row in zip(groups, matrix, strict=True)
    ]
    empty = [""] * (len(matrix) - 1)
    for name in ("forgetting", "backward_transfer"):
        rows.append([name.replace("_", " "), percent(found[name]), *empty])
    return ["accuracy, %", *(f"group {i}" for i in groups)], rows
