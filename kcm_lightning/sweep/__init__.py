"""Many runs from one file: seeds times variants, each a run folder, none run twice."""

from kcm_lightning.sweep.cells import Cell, read_sweep
from kcm_lightning.sweep.run import commands, sweep, sweep_table

__all__ = ["Cell", "commands", "read_sweep", "sweep", "sweep_table"]
