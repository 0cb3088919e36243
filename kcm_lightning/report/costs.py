"""What a tested collaboration costs: by sample, in total, and when it pays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kcm_lightning.callbacks.fit_progress import seconds_of_fit
from kcm_lightning.results.costs import collaboration_costs, costs_in_words
from kcm_lightning.results.results_file import read_results
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.tables import markdown_table

_ROWS = {"flops": "GFLOPs", "milliseconds": "milliseconds", "joules": "joules", "money": "money"}


def cost_page(run: Path) -> str:
    """Tables and sentences about the costs of a run.

    Args:
        run: folder of the results of a `test`: a run folder, or one of its further tests.

    Raises:
        InputError: there are none, or they tell no costs.
    """
    file = run / "results.json"
    if not file.is_file():
        raise InputError(f"{run} holds no results.json: run `test` first, or name a run folder")
    found = read_results(file)
    costs = collaboration_costs(found)
    if not costs:
        raise InputError(
            f"{file} tells no costs of the large model (its answers are recorded and have no price, or the "
            "test is of an earlier version): run `test` again, or give a chat model its prices"
        )
    lines = [
        _measured_on(found),
        "",
        _table(found, costs),
        *(f"- {words}." for words in costs_in_words(found)),
    ]
    lines += [f"- {words}." for words in _totals(found)]
    lines += [f"- {words}." for words in _paid_back(found, costs, seconds_of_fit(_run_of(run)))]
    return "\n".join(lines) + "\n"


def _run_of(folder: Path) -> Path:
    """The run folder that results are of."""
    return folder.parent.parent if folder.parent.name == "tests" else folder


def _measured_on(found: Mapping[str, Any]) -> str:
    costs = found.get("costs", {})
    threads = f", {costs['threads']} threads" if costs.get("device") == "cpu" else ""
    return (
        f"A sample costs, measured on {costs.get('samples', 0)} samples ({costs.get('device', 'no device')}"
        f"{threads}), at an LM rate of {100 * found['lm_rate']['called']:.1f} %:"
    )


def _table(found: Mapping[str, Any], costs: Mapping[str, Mapping[str, float]]) -> str:
    currency = found.get("large_model", {}).get("currency") or "money"
    rows = []
    for resource, own in costs.items():
        scale = 1e-9 if resource == "flops" else 1.0
        name = currency if resource == "money" else _ROWS[resource]
        values = [f"{scale * own[who]:.4g}" for who in ("judge", "student", "large", "together")]
        rows.append([name, *values, f"{own['ratio']:.2f}", f"{100 * own['break_even_lm_rate']:.1f}"])
    head = ["", "judge", "student, where asked", "large model", "KCM", "KCM / large", "pays below, %"]
    return markdown_table(head, rows)


def _totals(found: Mapping[str, Any]) -> list[str]:
    """Calls of this test, and what asking has cost since the answers are kept."""
    samples = found["samples"]
    calls = round(found["lm_rate"]["called"] * samples)
    said = [f"the test: {calls:,} calls of the large model for {samples:,} samples"]
    usage = found.get("large_model", {})
    known = [
        f"{name.replace('_', ' ')} {value:.6g}"
        for name, value in usage.items()
        if isinstance(value, int | float) and not name.startswith("money_per")
    ]
    return said + ([f"asked so far, for all commands together: {', '.join(known)}"] if known else [])


def _paid_back(
    found: Mapping[str, Any], costs: Mapping[str, Mapping[str, float]], seconds: float | None
) -> list[str]:
    """After how many samples the calls that were bought, and the training, are paid back."""
    said = []
    if "money" in costs and (spent := found.get("large_model", {}).get("money")):
        saved = costs["money"]["large"] - costs["money"]["together"]
        said.append(
            f"what was paid so far ({spent:.4g} {found['large_model'].get('currency') or ''}".rstrip()
            + ") is paid back by "
            + (f"{spent / saved:,.0f} samples" if saved > 0 else "no number of samples")
        )
    if "milliseconds" in costs and seconds:
        saved = costs["milliseconds"]["large"] - costs["milliseconds"]["together"]
        said.append(
            f"the {seconds / 60:,.1f} minutes of `fit` are paid back in time by "
            + (f"{1000 * seconds / saved:,.0f} samples" if saved > 0 else "no number of samples")
        )
    return said
