"""Reading `results.json`: whole, of a known kind, and every number a number."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.plain_files import read_json

Figures = dict[str, Any]


def read_results(file: Path) -> Figures:
    """The results of a run, checked.

    Args:
        file: a `results.json`: of a collaboration, whose figures are "accuracy" or "scores", or of a
            sequential training, which has "groups".

    Raises:
        InputError: the file is damaged, incomplete, or of something else; what is wrong is named.
    """
    try:
        found = read_json(file)
        kind = next((kind for kind in _SHAPES if kind in found), None)
        if kind is None:
            raise InputError(f"it has none of {', '.join(_SHAPES)}")
        _check(found, _SHAPES[kind])
    except InputError as error:
        raise InputError(f"{file} is no results file of this project: {error}") from error
    return found


def _check(found: Figures, shape: Mapping[str, str]) -> None:
    """Compares results with the kinds of values, by dotted names; a name that ends in ? may be missing."""
    for name, kind in shape.items():
        value = _at(found, name.removesuffix("?"))
        if value is _MISSING and not name.endswith("?"):
            raise InputError(f"{name} is missing")
        if value is not _MISSING and not _KINDS[kind](value):
            raise InputError(f"{name.removesuffix('?')} is no {kind}")


_MISSING = object()


def _at(found: Figures, name: str) -> Any:
    value: Any = found
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _table(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(kind, value.values()))


def _filled_list(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(kind, value))


_KINDS: dict[str, Callable[[Any], bool]] = {
    "number": _is_number,
    "whole number": _is_count,
    "whole number above 0": lambda value: _is_count(value) and value > 0,
    "text": lambda value: isinstance(value, str),
    "text or null": lambda value: isinstance(value, str | None),
    "tokenizer": lambda value: value in ("ptb", "words"),
    "options": lambda value: isinstance(value, dict),
    "options or null": lambda value: isinstance(value, dict | None),
    "numbers": _table(_is_number),
    "numbers or null": lambda value: value is None or _KINDS["numbers"](value),
    "weights or word": lambda value: value == "confidence" or _KINDS["numbers"](value),
    "numbers or nulls": _table(lambda value: value is None or _is_number(value)),
    "tables": _table(_table(lambda value: value is None or _is_number(value))),
    "tables with overall": lambda value: (
        _KINDS["tables"](value) and all(_is_number(own.get("overall")) for own in value.values())
    ),
    "counts of better and worse": lambda value: (
        isinstance(value, dict) and all(_is_count(value.get(name)) for name in ("better", "worse"))
    ),
    "rows of numbers": _filled_list(_filled_list(_is_number)),
}
_WHERE_FROM = {
    "config.model.class_path?": "text",
    "config.model.init_args?": "options or null",
    "config.data.init_args?": "options or null",
    "data.class_names?": "options or null",
    "large_model_identity?": "text or null",
    "fitted_with?": "options",
}
_COLLABORATION = _WHERE_FROM | {
    "seed": "whole number",
    "samples": "whole number above 0",
    "lm_rate.called": "number",
    "thresholds": "numbers or nulls",
    "temperatures": "numbers",
    "gate?": "weights or word",
    "fusion?": "numbers or null",
    "command": "text",
    "data.name": "text",
    "data.title?": "text",
    "data.splits.test.samples": "whole number",
    "data.splits.test.sha256": "text",
    "config.trainer": "options",
    "config.model.init_args.teacher.class_path": "text",
    "config.model.init_args.teacher.init_args?": "options or null",
    "config.data.class_path": "text",
    "config.data.init_args.category?": "text",
    "unanswered?": "numbers",
    "share_of_oracle_gain?": "number",
    "expected_calibration_error?": "numbers",
    "expected_calibration_error_untempered?": "numbers or nulls",
}
_OF_CLASSES = {
    "accuracy": "tables with overall",
    "accuracy.kcm": "numbers or nulls",
    "kcm_against_teacher?": "counts of better and worse",
}
_SEQUENCE = _WHERE_FROM | {
    "seed": "whole number",
    "samples?": "whole number",
    "final_accuracy": "numbers",
    **{name: "options" for name in ("data?", "config?", "config.model?", "config.data?", "config.trainer?")},
}
_SEQUENCE |= {
    f"{kind}.{name}": shape
    for kind in ("all_classes", "own_classes")
    for name, shape in {
        "accuracy_after_each_group": "rows of numbers",
        "forgetting": "number",
        "backward_transfer": "number",
    }.items()
}
_SHAPES: dict[str, Mapping[str, str]] = {
    "groups": _SEQUENCE,
    "accuracy": _COLLABORATION | _OF_CLASSES,
    "scores": _COLLABORATION | {"scores": "tables", "scores.kcm": "numbers or nulls", "scoring": "tokenizer"},
}
