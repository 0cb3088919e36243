"""Run folders gathered into the paper's tables, its figures beside ours."""

from kcm_lightning.report.costs import cost_page
from kcm_lightning.report.document import report

__all__ = ["cost_page", "report"]
