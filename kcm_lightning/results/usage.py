"""What asking the large model has cost: the bill that every command prints."""

from collections import Counter
from contextlib import suppress
from typing import Any

from lightning import Callback
from torch import Tensor

from kcm_lightning.large import LargeModel
from kcm_lightning.results.columns import of_every_process
from kcm_lightning.utils.console import say
from kcm_lightning.utils.errors import InputError

_MONEY = ("money", "price_of")  # how the names of sums of money begin; all else are counts


class NoSuccess(InputError):
    """A command came to its end and has printed its bill, but nearly nothing that it bought can be used."""


class BillOfStopped(Callback):
    """Prints what a command has cost that an error or a signal ends before its own bill."""

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Prints the bill of this process; the others may have ended."""
        teacher = getattr(module, "teacher", None)
        if not isinstance(teacher, LargeModel) or isinstance(exception, NoSuccess):
            return
        with suppress(InputError):  # where the answers cannot be read, that is the exception
            if trainer.is_global_zero and (usage := teacher.usage()):
                say(f"large model: {_in_words(usage, usage.get('currency'))}")


def usage_of(teacher: LargeModel, called: Tensor | None = None) -> dict[str, Any]:
    """What asking the large model has cost: over the life of its answers, and in this command.

    The latter by all processes together. Where the model's answers have a price, also what 1,000 questions
    cost on average, those of this command whose price is known.

    Args:
        teacher: the large model.
        called: of each sample, whether the collaboration called the large model, shape `(N,)`; then also
            what 1,000 samples cost.
    """
    usages = of_every_process(teacher.usage())
    together: Counter = Counter()
    for usage in usages:
        together.update(usage.get("this_command", {}))
    found = usages[0] | ({"this_command": dict(together)} if together else {})
    if together["priced_answers"]:
        per_question = together["price_of_these"] / together["priced_answers"]
        found["money_per_1000_questions"] = 1000 * per_question
        if called is not None:
            found["money_per_1000_samples"] = 1000 * per_question * called.double().mean().item()
    return found


def print_usage(usage: dict[str, Any]) -> None:
    """Prints what asking the large model has cost, where that is known.

    Raises:
        NoSuccess: nearly no reply of the large model could be used.
    """
    if usage:
        say(f"large model: {_in_words(usage, usage.get('currency'))}")
    if problem := usage.get("problem"):
        raise NoSuccess(problem)


def _in_words(usage: dict[str, Any], currency: str | None) -> str:
    now = usage.get("this_command", {})
    words = []
    for name, value in usage.items():
        if name not in ("currency", "this_command", "problem"):
            unit = f" {currency}" if currency and name.startswith(_MONEY) else ""
            words.append(f"{name.replace('_', ' ').replace(' 1000 ', ' 1,000 ')} {value:.6g}{unit}")
    parts = [", ".join(words), f"in this command: {_in_words(now, currency)}" if now else ""]
    return "; ".join(part for part in parts if part)
