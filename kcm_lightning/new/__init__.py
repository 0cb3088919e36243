"""`new`: from your data and a large model's name to a configuration and three commands."""

from kcm_lightning.new.new import Wanted, new

__all__ = ["Wanted", "new"]
