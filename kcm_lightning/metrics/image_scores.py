"""What each image brings to a corpus's scores, so that a mix of systems is scored by adding up."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

HIGHEST_CIDER = 10.0  # of a caption: the scorer multiplies by ten
_TINY, _SMALL = 1e-15, 1e-9  # COCO's scorer adds these to numerators and denominators


@dataclass
class ImageScores:
    """Parts of the scores of N captions.

    Args:
        bleu: length of the caption, length of the reference nearest to it in length, n-grams of length 1 to
            4, and how many of these are in a reference, shape `(N, 10)`.
        cider: CIDEr of each caption, shape `(N,)`.
    """

    bleu: Tensor
    cider: Tensor

    def __len__(self) -> int:
        return len(self.cider)

    def rows(self, rows: Tensor) -> "ImageScores":
        """Those of some images."""
        return ImageScores(self.bleu[rows], self.cider[rows])

    @staticmethod
    def chosen(systems: list["ImageScores"], who: Tensor) -> "ImageScores":
        """Those of a mix of systems.

        Args:
            systems: scores of the same images.
            who: whose caption each image gets, shape `(N,)`.
        """
        every = torch.arange(len(who))
        return ImageScores(
            bleu=torch.stack([system.bleu for system in systems])[who, every],
            cider=torch.stack([system.cider for system in systems])[who, every],
        )

    def scores(self) -> dict[str, float]:
        """`BLEU-1` to `BLEU-4` and `CIDEr` of all of them."""
        bleu = bleu_of(self.bleu.sum(0))
        return {f"BLEU-{n}": value for n, value in enumerate(bleu.tolist(), 1)} | {
            "CIDEr": self.cider.mean().item()
        }


def image_scores(said: dict[int, list[str]], given: dict[int, list[str]]) -> ImageScores:
    """Parts of the scores of tokenized captions.

    Args:
        said: one caption an image.
        given: the captions that people gave it.
    """
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test
    from pycocoevalcap.cider.cider import Cider

    parts = []
    for image, (caption,) in said.items():
        cooked = cook_test(caption, cook_refs(given[image]), eff="closest")
        parts.append([cooked["testlen"], cooked["reflen"], *cooked["guess"], *cooked["correct"]])
    _, cider = Cider().compute_score(given, said)
    return ImageScores(torch.tensor(parts, dtype=torch.double), torch.as_tensor(cider, dtype=torch.double))


def bleu_of(counts: Tensor) -> Tensor:
    """BLEU-1 to BLEU-4 (Papineni et al. 2002) out of counts as `ImageScores.bleu` has them, added up.

    Args:
        counts: shape `(..., 10)`.

    Returns:
        Shape `(..., 4)`.

    >>> perfect = torch.tensor([5.0, 5.0, 5.0, 4.0, 3.0, 2.0, 5.0, 4.0, 3.0, 2.0])
    >>> bleu_of(perfect).round(decimals=3).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    said, wanted, total, matched = counts[..., :1], counts[..., 1:2], counts[..., 2:6], counts[..., 6:]
    precision = ((matched + _TINY) / (total + _SMALL)).cumprod(-1) ** (1 / torch.arange(1, 5).to(counts))
    ratio = (said + _TINY) / (wanted + _SMALL)
    return precision * torch.where(ratio < 1, (1 - 1 / ratio).exp(), 1.0)


def caption_curve(confidence: Tensor, small: ImageScores, large: ImageScores) -> dict[str, Tensor]:
    """Scores when the least confident captions are replaced by the large model's, for every LM rate.

    Args:
        confidence: confidence of the small model, shape `(N,)`.
        small: scores of the small model's captions.
        large: scores of the large model's captions.

    Returns:
        `LM rate`, `BLEU-4` and `CIDEr`, each of shape `(N + 1,)`.
    """
    order = confidence.argsort(stable=True)

    def summed(name: str) -> Tensor:
        own, other = getattr(small, name), getattr(large, name)
        gains = (other - own)[order].cumsum(0)
        return own.sum(0) + torch.cat([torch.zeros_like(gains[:1]), gains])

    rates = torch.linspace(0, 1, len(confidence) + 1, dtype=torch.double)
    return {
        "LM rate": rates,
        "BLEU-4": bleu_of(summed("bleu"))[:, 3],
        "CIDEr": summed("cider") / len(confidence),
    }


def random_scores(lm_rate: float, small: ImageScores, large: ImageScores) -> dict[str, float]:
    """Scores of a router that calls the large model for a random share of the images.

    BLEU is that of the expected counts.
    """
    return random_mix(lm_rate, small, large).scores()


def random_mix(lm_rate: float, small: ImageScores, large: ImageScores) -> ImageScores:
    """Expected parts of the scores where a random share of the images goes to the large model.

    >>> small = ImageScores(torch.zeros(1, 10), torch.zeros(1))
    >>> large = ImageScores(torch.ones(1, 10), torch.ones(1))
    >>> random_mix(0.25, small, large).cider.tolist()
    [0.25]
    """
    return ImageScores(
        bleu=(1 - lm_rate) * small.bleu + lm_rate * large.bleu,
        cider=(1 - lm_rate) * small.cider + lm_rate * large.cider,
    )


def curve_half_widths(
    confidence: Tensor, small: ImageScores, large: ImageScores, rates: int = 21, draws: int = 500
) -> dict[str, Tensor]:
    """Half of the 95 % interval of `caption_curve`, by the bootstrap over images.

    Args:
        confidence: confidence of the small model, shape `(N,)`.
        small: scores of the small model's captions.
        large: scores of the large model's captions.
        rates: number of LM rates that are resampled, evenly spread; between them it is interpolated.
        draws: number of resamplings.

    Returns:
        `BLEU-4` and `CIDEr`, each of shape `(N + 1,)`.

    >>> same = ImageScores(torch.ones(2, 10).double(), torch.ones(2).double())  # equal images
    >>> curve_half_widths(torch.rand(2), same, same)["CIDEr"].round(decimals=6).abs().tolist()
    [0.0, 0.0, 0.0]
    """
    count = len(confidence)
    rank = torch.empty(count, dtype=torch.long)
    rank[confidence.argsort(stable=True)] = torch.arange(count)
    times = torch.zeros(draws, count, dtype=torch.double)
    rows = torch.randint(count, (draws, count), generator=torch.Generator().manual_seed(0))
    times.scatter_add_(1, rows, torch.ones_like(rows, dtype=torch.double))
    places = torch.linspace(0, count, rates, dtype=torch.double)
    spread: dict[str, list[float]] = {"BLEU-4": [], "CIDEr": []}
    for place in places:
        mix = ImageScores.chosen([small, large], (rank < place).long())
        spread["BLEU-4"].append(bleu_of(times @ mix.bleu)[:, 3].std().item())
        spread["CIDEr"].append((times @ mix.cider / count).std().item())
    every = np.arange(count + 1)
    return {name: torch.from_numpy(1.96 * np.interp(every, places, own)) for name, own in spread.items()}


def score_difference(
    one: ImageScores, other: ImageScores, level: float = 0.95, draws: int = 2_000, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Differences in BLEU-4 and CIDEr of two systems on the same images, with paired bootstrap intervals.

    Args:
        one: scores of the first system.
        other: scores of the second system on the same images.
        level: level of the intervals, a fraction.
        draws: number of resamplings of the images.
        seed: seed of the draws.

    Returns:
        For `BLEU-4` and `CIDEr`: `difference` (one minus other), `low` and `high`.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(one)
    gained: dict[str, list[Tensor]] = {"BLEU-4": [], "CIDEr": []}
    for part in torch.arange(draws).split(max(1, 2_000_000 // count)):  # a matrix of 16 MB at a time
        rows = torch.randint(count, (len(part), count), generator=generator)
        times = torch.zeros(len(part), count, dtype=torch.double)
        times.scatter_add_(1, rows, torch.ones_like(rows, dtype=torch.double))
        gained["BLEU-4"].append((bleu_of(times @ one.bleu) - bleu_of(times @ other.bleu))[:, 3])
        gained["CIDEr"].append(times @ (one.cider - other.cider) / count)
    found = {}
    for name, parts in gained.items():
        ends = torch.tensor([(1 - level) / 2, (1 + level) / 2]).double()
        low, high = torch.cat(parts).quantile(ends).tolist()
        found[name] = {"difference": one.scores()[name] - other.scores()[name], "low": low, "high": high}
    return found
