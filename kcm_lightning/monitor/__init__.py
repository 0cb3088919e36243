"""Does it still hold? What a running collaboration does, against what was calibrated and promised."""

from kcm_lightning.monitor.look import monitor

__all__ = ["monitor"]
