"""What judge, student and large model cost, and whether their collaboration pays."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from kcm_lightning.core.predictions import Query, take
from kcm_lightning.large.answer_cache import CachedModel
from kcm_lightning.utils.effort import effort_of

WHO = ("judge", "student", "large model")
_SAMPLES = 64  # that are measured on


def measured_costs(trainer: Any, module: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """FLOPs, milliseconds and energy of each model for a sample, on this machine, in the trainer's precision.

    The large model is asked past its cache, with the student's hint where it takes one; not at all where it
    is paid for or where its answers are recorded.

    Args:
        trainer: that the module runs under.
        module: a KCMModule.
        batch: samples, of which the first few are taken.

    Returns:
        `samples`, `device`, `threads`, and of each model its `flops`, `milliseconds` and `joules`.
    """
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        return _measured(module, batch)


def _measured(module: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    rows = torch.arange(min(_SAMPLES, len(batch["index"])))
    small = take(batch["small"], rows.to(_device(batch["small"])))
    roles, teacher = module.roles, module.teacher
    found: dict[str, Any] = {
        "samples": len(rows),
        "device": _name_of(module.device),
        "threads": torch.get_num_threads(),
        "judge": asdict(effort_of(lambda: roles.judge(small), len(rows))),
        "student": asdict(effort_of(lambda: roles.student(small), len(rows))),
    }
    asked = teacher.model if isinstance(teacher, CachedModel) else teacher
    if not asked.paid and not asked.keeps_own_answers:
        hint = roles.student(small).hint if teacher.uses_hint else None
        query = Query(take(batch["large"], rows), hint)
        found["large model"] = asdict(effort_of(lambda: asked.answer(query), len(rows)))
    return found


def collaboration_costs(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """What the collaboration costs against the large model alone, for each resource that is known of both.

    With the share `asked` of samples that the student sees, the LM rate `r`, and costs `c` a sample,
    `c_small = c_judge + asked c_student` and `c = c_small + r c_large`. It pays where `r < 1 - c_small /
    c_large`.

    Args:
        found: the results of a test, with `costs`, and of a large model with prices, with `large_model`.

    Returns:
        By resource (`flops`, `milliseconds`, `joules`, `money`): `judge`, `student` (for each sample, asked
        or not), `small`, `large`, `together`, `ratio` (of `together` to `large`) and `break_even_lm_rate`,
        which is below 0 where the small models alone cost more than the large one.
    """
    costs, rate = found.get("costs", {}), found["lm_rate"]["called"]
    asked = 1 - found["routes"]["judge"] / found["samples"]
    of_model = {who: dict(costs.get(who, {})) for who in WHO}
    per_question = found.get("large_model", {}).get("money_per_1000_questions")
    if per_question:
        of_model["large model"]["money"] = per_question / 1000
        of_model["judge"]["money"] = of_model["student"]["money"] = 0.0
    result = {}
    for resource in ("flops", "milliseconds", "joules", "money"):
        judge, student, large = (of_model[who].get(resource) for who in WHO)
        if judge is None or student is None or not large:
            continue
        small = judge + asked * student
        result[resource] = {
            "judge": judge,
            "student": asked * student,
            "small": small,
            "large": large,
            "together": small + rate * large,
            "ratio": small / large + rate,
            "break_even_lm_rate": 1 - small / large,
        }
    return result


_UNITS = {"flops": "GFLOPs", "milliseconds": "ms", "joules": "J"}
_NAMES = {"flops": "arithmetic", "milliseconds": "time", "joules": "energy", "money": "money"}


def costs_in_words(found: Mapping[str, Any]) -> list[str]:
    """A sentence for each resource: what the collaboration costs, and when it pays."""
    rate = found["lm_rate"]["called"]
    said = []
    for resource, own in collaboration_costs(found).items():
        small, large = (_amount(resource, own[who], found) for who in ("small", "large"))
        head = f"{_NAMES[resource]}: KCM takes {own['ratio']:.2f} of the large model alone at an LM rate of "
        head += f"{100 * rate:.1f} %"
        detail = f"small models {small} a sample, large model {large}"
        if own["break_even_lm_rate"] <= 0:
            times = own["small"] / own["large"]
            said.append(
                f"{head}; it does not pay at any LM rate: the small models alone take {times:.1f} times as "
                f"much as the large model ({detail})"
            )
        else:
            verdict = "it pays" if own["ratio"] < 1 else "it does not pay here, only"
            said.append(
                f"{head}; {verdict} below an LM rate of {100 * own['break_even_lm_rate']:.1f} % ({detail})"
            )
    return said


def _amount(resource: str, value: float, found: Mapping[str, Any]) -> str:
    currency = found.get("large_model", {}).get("currency") or ""
    unit = currency if resource == "money" else _UNITS[resource]
    return f"{value / 1e9 if resource == 'flops' else value:.3g} {unit}".strip()


def _device(inputs: Any) -> torch.device:
    """Where a batch of inputs lies."""
    if isinstance(inputs, dict):
        return _device(next(iter(inputs.values())))
    return inputs.device if isinstance(inputs, torch.Tensor) else torch.device("cpu")


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
