"""`results.md`: the table of a test, what it says, and how it was made."""

from collections.abc import Mapping
from typing import Any

from kcm_lightning.results.comparable import last, options
from kcm_lightning.results.curve import verdict
from kcm_lightning.results.promise_kept import in_words as promise_in_words
from kcm_lightning.results.results_file import Figures
from kcm_lightning.utils.tables import markdown_table, percent


def results_page(title: str, table: tuple[list[str], list[list[str]]], found: Figures) -> str:
    """The page, as Markdown.

    Args:
        title: data set and number of samples.
        table: head and rows.
        found: what `results.json` holds.
    """
    notes = [f"note: {sentence}" for sentence in found.get("not_done", ())]
    parts = [
        f"# {title}",
        markdown_table(*table).rstrip(),
        *(["\n".join(notes)] if notes else []),
        _bullets(_findings(found)),
        "## How it was made",
        _bullets(_origin(found)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _findings(found: Mapping[str, Any]) -> list[str]:
    """What the table says, in words."""
    lines = [
        f"LM rate: the large model was called for {percent(found['lm_rate']['called'])} % of the samples."
    ]
    against = found.get("kcm_against_teacher")
    if against and "difference" in against:
        lines.append(f"KCM - large model alone: {_signed(against)} points; {_compared(against)}.")
        accuracy = found.get("accuracy", {})
        if "unfused" in accuracy:
            gain = 100 * (accuracy["kcm"]["overall"] - accuracy["unfused"]["overall"])
            lines.append(f"Of this, fusion brings {gain:+.2f} points; the rest is routing.")
    elif against:
        lines += [f"KCM - large model alone, {name} x 100: {_signed(own)}." for name, own in against.items()]
    lines += verdicts(found)
    usage = found.get("large_model", {})
    if "money_per_1000_samples" in usage:
        cost, currency = usage["money_per_1000_samples"], usage.get("currency") or ""
        lines.append(f"Cost of the large model: {cost:.4g} {currency} per 1,000 samples.".replace("  ", " "))
    return lines


def verdicts(found: Mapping[str, Any], only_doubtful: bool = False) -> list[str]:
    """Whether routing is better than chance, a sentence for each measure; none where nothing was routed.

    Args:
        found: what `results.json` holds.
        only_doubtful: leaves out the measures in which routing is better than chance.
    """
    chance = found.get("kcm_against_random")
    if not chance or not 0 < found["lm_rate"]["called"] < 1:
        return []
    measures = {"points": chance} if "difference" in chance else chance
    return [
        verdict(own, name if name == "points" else f"{name} x 100")
        for name, own in measures.items()
        if own["low"] <= 0 or not only_doubtful
    ]


def _signed(interval: Mapping[str, float]) -> str:
    value, low, high = (100 * interval[name] for name in ("difference", "low", "high"))
    return f"{value:+.2f} (95 % interval {low:+.2f} to {high:+.2f})"


def _compared(counts: Mapping[str, Any]) -> str:
    return f"KCM alone is right on {counts['better']:,}, the large model alone on {counts['worse']:,}"


def _weights(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in weights.items() if value)


def _origin(found: Figures) -> list[str]:
    """How the figures were made, so that another person can make them again."""
    gates = [
        f"{who} {value:.4f}"
        for who in ("judge", "student")
        if (value := found["thresholds"][who]) is not None
    ]
    chosen = found.get("calibrated")
    why = f"chosen by `calibrate` for {chosen['target']} on {chosen['samples']:,} samples" if chosen else ""
    data, teacher = found["data"], options(found, "model")["teacher"]
    name = (teacher.get("init_args") or {}).get("name")
    versions = ", ".join(f"{package} {number}" for package, number in found["versions"].items())
    lines = [
        f"Data: {data['title']}, test split {data['splits']['test']['sha256']}.",
        f"Large model: {last(teacher['class_path'])}" + (f", `{name}`." if name else "."),
        f"Gate: confidence of at least {', '.join(gates) or 'nothing: the large model answers all'}"
        + (f"; {why}." if why else "; as given, not calibrated."),
    ]
    if temperatures := found.get("temperatures"):
        said = ", ".join(f"{who} {value:.4g}" for who, value in temperatures.items())
        lines.append(f"Temperatures: {said}.")
    if isinstance(weights := found.get("gate"), dict):
        lines.append(f"Score of the student's gate, learned: {_weights(weights)}.")
    if weights := found.get("fusion"):
        lines.append(f"Answers of the large model are fused with the small ones: {_weights(weights)}.")
    if promise := found.get("promise"):
        lines.append(f"{promise_in_words(promise)}.".capitalize())
    lines += [
        f"Command: `{found['command']}`",
        f"Seed {found['seed']}, commit {found.get('commit') or 'unknown'}, {versions}.",
    ]
    if "checkpoint" in found:
        lines.append(f"Checkpoint: `{found['checkpoint']}`, {found['checkpoint_sha256']}.")
    return lines
