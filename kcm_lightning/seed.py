"""The run's seed."""

import os


def global_seed() -> int:
    """The seed that `seed_everything` was given, 0 where it was not."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))
