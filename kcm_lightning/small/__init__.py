"""Small models: judges and students."""

from kcm_lightning.small.ckan import CKAN, CNN

__all__ = ["CKAN", "CNN"]
