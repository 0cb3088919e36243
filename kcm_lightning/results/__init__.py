"""What a run leaves behind: per-sample answers, figures, tables, all written whole or not at all."""

from kcm_lightning.results.caption_figures import SCORES
from kcm_lightning.results.caption_writer import CaptionResultsWriter
from kcm_lightning.results.class_figures import TITLES, lm_rates
from kcm_lightning.results.columns import Columns, gather
from kcm_lightning.results.provenance import LENGTH
from kcm_lightning.results.sequential_writer import SequentialResultsWriter
from kcm_lightning.results.usage import BillOfStopped, print_usage, usage_of
from kcm_lightning.results.variants import variants_table
from kcm_lightning.results.writer import ResultsWriter

__all__ = [
    "LENGTH",
    "SCORES",
    "TITLES",
    "BillOfStopped",
    "CaptionResultsWriter",
    "Columns",
    "ResultsWriter",
    "SequentialResultsWriter",
    "gather",
    "lm_rates",
    "print_usage",
    "usage_of",
    "variants_table",
]
