"""How sure a difference of two accuracies on the same samples is."""

import numpy as np


def paired_difference(
    counts: list[tuple[int, int, int]], level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> dict[str, float]:
    """Difference in accuracy of two models on the same samples, with a paired bootstrap interval.

    A sample is right by the first model alone, by the second alone, or by both or neither; resampling the
    samples with replacement is resampling these three counts from a multinomial distribution, which is drawn
    here.

    Args:
        counts: for each data set, samples that the first model alone is right on, that the second alone is
            right on, and all samples. Several data sets are resampled each, and their differences averaged.
        level: level of the interval, a fraction.
        draws: number of resamplings.
        seed: seed of the draws.

    Returns:
        `difference`, `low` and `high`, fractions.

    >>> found = paired_difference([(30, 10, 1_000)])
    >>> found["difference"], found["low"] > 0
    (0.02, True)
    """
    random = np.random.default_rng(seed)
    drawn = np.zeros(draws)
    for better, worse, samples in counts:
        shares = [better / samples, worse / samples, 1 - (better + worse) / samples]
        resampled = random.multinomial(samples, shares, size=draws)
        drawn += (resampled[:, 0] - resampled[:, 1]) / samples / len(counts)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    difference = sum((better - worse) / samples for better, worse, samples in counts) / len(counts)
    return {"difference": difference, "low": float(low), "high": float(high)}
