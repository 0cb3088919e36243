"""Whether the classes of the test split are as frequent as those that thresholds were chosen on."""

from typing import Any

import torch
from scipy.stats import chi2_contingency

_FAR = 0.1  # share of the samples that would have to be of other classes
_SURE = 1e-4  # p-value below which that is no chance


def class_shift(data: Any) -> str | None:
    """What to say where the classes of validation and test differ in their frequencies; None where not.

    Thresholds, gate and fusion are fitted to the frequencies of the validation split: with others they are
    not at their best, and what was expected or promised need not hold.

    Args:
        data: a data module, set up.
    """
    val, test = (data.labels_of(split) for split in ("val", "test"))
    if val is None or test is None:
        return None
    counts = torch.stack([labels.bincount(minlength=len(data.class_names)) for labels in (val, test)])
    counts = counts[:, counts.sum(0) > 0]
    shares = counts / counts.sum(1, keepdim=True)
    apart = (shares[0] - shares[1]).abs().sum().item() / 2
    if apart < _FAR or chi2_contingency(counts.numpy()).pvalue > _SURE:
        return None
    return (
        "the classes of the validation split are not as frequent as those of the test split "
        f"({100 * apart:.0f} % of the samples would have to be of others): thresholds, gate and fusion are "
        "fitted to the first, and what was expected or promised need not hold; validate on samples as they "
        "will come"
    )
