"""Run folders gathered into the paper's tables, its figures beside ours."""

from kcm_lightning.report.document import report

__all__ = ["report"]
