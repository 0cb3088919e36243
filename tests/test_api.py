"""A trained run from Python."""

import lightning as L
import pytest

from kcm_lightning.api import Run


@pytest.mark.parametrize(
    ("precision", "mixed"), [("bf16-mixed", True), ("bf16", True), ("16", True), ("32-true", False)]
)
def test_precision_is_that_of_the_trainer_by_any_of_its_names(precision, mixed):
    assert Run(L.LightningModule(), L.LightningDataModule(), [], precision).autocast()._enabled is mixed
