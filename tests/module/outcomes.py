"""Algorithm 2 with a module's models and gates."""

from kcm_lightning.core.collaboration import Ask, collaborate
from kcm_lightning.core.predictions import Outcome
from kcm_lightning.module import KCMModule


def outcome_of(module: KCMModule, batch: dict, *, compare: bool) -> Outcome:
    """What becomes of a batch; `compare` also asks every model about every sample."""
    ask = Ask.EVERYONE if compare else Ask.NOBODY
    return collaborate(batch, roles=module.roles, gates=module.gates, ask=ask)
