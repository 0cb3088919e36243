"""Scores of captions: COCO's own scorer, with its own tokenizer where there is Java."""

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from kcm_lightning.metrics.java_programs import Meteor, has_java, ptb_tokenize, require_java
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.tokens import words_of

__all__ = [
    "CaptionScores",
    "Tokenizer",
    "has_java",
    "require_java",
    "score_captions",
    "score_tokenized",
    "tokenize",
]

Tokenizer = Literal["ptb", "words"]


def score_captions(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenizer: Tokenizer = "ptb",
    meteor: bool = True,
) -> dict[str, float]:
    """Corpus scores of captions by pycocoevalcap.

    Args:
        candidates: one caption an image.
        references: the captions that people gave it.
        tokenizer: "ptb", COCO's (needs Java), or "words", lower-case words without punctuation. Scores of one
            are not comparable with scores of the other.
        meteor: whether to score METEOR too, which needs Java and half a minute.

    Returns:
        `BLEU-1` to `BLEU-4`, `ROUGE-L`, `CIDEr` and perhaps `METEOR`, on the scale of COCO's scorer.

    Raises:
        InputError: there are no captions, or Java is needed and missing.

    >>> score_captions(["a cat on a mat"], [["a cat on a mat"]], tokenizer="words", meteor=False)["ROUGE-L"]
    1.0
    """
    if candidates and (tokenizer == "ptb" or meteor):
        require_java("tokenizer=words and meteor=false")
    return score_tokenized(tokenize({"": candidates}, references, tokenizer), meteor)[""]


@dataclass
class TokenizedCaptions:
    """Captions as the scorers want them: words between spaces, by the number of the image.

    Args:
        systems: one caption an image, of each system.
        references: the captions that people gave it.
    """

    systems: dict[str, dict[int, list[str]]]
    references: dict[int, list[str]]


def tokenize(
    systems: Mapping[str, Sequence[str]], references: Sequence[Sequence[str]], tokenizer: Tokenizer = "ptb"
) -> TokenizedCaptions:
    """Tokenizes the captions of several systems of the same images at once; Java takes a second to start.

    Args:
        systems: one caption an image, of each system.
        references: the captions that people gave it.
        tokenizer: see `score_captions`.

    Raises:
        InputError: there are no captions, or not one of each system for each image.
    """
    for candidates in systems.values():
        if not candidates or len(candidates) != len(references):
            raise InputError(
                f"{len(candidates)} captions cannot be scored against {len(references)} lists of references"
            )
    rows: dict[Any, Sequence[str]] = {(None, image): own for image, own in enumerate(references)}
    rows |= {(name, image): [caption] for name, said in systems.items() for image, caption in enumerate(said)}
    found = _by_java(rows) if tokenizer == "ptb" else _by_words(rows)

    def of(name: str | None) -> dict[int, list[str]]:
        return {image: found[name, image] for image in range(len(references))}

    return TokenizedCaptions({name: of(name) for name in systems}, of(None))


def score_tokenized(tokenized: TokenizedCaptions, meteor: bool) -> dict[str, dict[str, float]]:
    """Corpus scores of each system; see `score_captions`."""
    if not meteor:
        return {system: _scores_in_python(tokenized, system) for system in tokenized.systems}
    with Meteor() as program:  # one for all systems: its Java takes seconds to start
        return {
            system: _scores_in_python(tokenized, system)
            | {"METEOR": program.score(tokenized.references, said)}
            for system, said in tokenized.systems.items()
        }


def _scores_in_python(tokenized: TokenizedCaptions, system: str) -> dict[str, float]:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    scores: dict[str, float] = {}
    for name, scorer in {"BLEU": Bleu(4), "ROUGE-L": Rouge(), "CIDEr": Cider()}.items():
        with contextlib.redirect_stdout(io.StringIO()):  # some of them print
            value, _ = scorer.compute_score(tokenized.references, tokenized.systems[system])
        if isinstance(value, list):
            scores |= {f"{name}-{n}": float(v) for n, v in enumerate(value, 1)}
        else:
            scores[name] = float(value)
    return scores


def _by_java(captions: dict[Any, Sequence[str]]) -> dict[Any, list[str]]:
    lines = iter(ptb_tokenize([" ".join(caption.split()) for own in captions.values() for caption in own]))
    return {image: [next(lines) for _ in own] for image, own in captions.items()}


def _by_words(captions: dict[Any, Sequence[str]]) -> dict[Any, list[str]]:
    return {image: [" ".join(words_of(caption)) for caption in own] for image, own in captions.items()}


class CaptionScores(Metric):
    """`score_captions` over batches and processes.

    Args:
        tokenizer: see `score_captions`.
        meteor: see `score_captions`.
        **kwargs: options of `torchmetrics.Metric`.
    """

    full_state_update = False
    lines: list[Tensor]

    def __init__(self, tokenizer: Tokenizer = "ptb", meteor: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        if tokenizer == "ptb" or meteor:
            require_java("tokenizer=words and meteor=false")
        self.tokenizer, self.meteor = tokenizer, meteor
        self.add_state(
            "lines", default=[], dist_reduce_fx="cat"
        )  # texts as bytes: only tensors travel between processes

    def update(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        """Adds one caption and its references for each image of a batch."""
        rows = [json.dumps([caption, list(own)]) for caption, own in zip(candidates, references, strict=True)]
        text = "".join(f"{row}\n" for row in rows).encode()
        self.lines.append(torch.frombuffer(bytearray(text), dtype=torch.uint8).to(self.device))

    def compute(self) -> dict[str, float]:
        """Corpus scores of all captions; see `score_captions`."""
        lines = self.lines if isinstance(self.lines, Tensor) else torch.cat(self.lines)
        rows = [json.loads(line) for line in bytes(lines.cpu().tolist()).decode().splitlines()]
        captions, references = zip(*rows, strict=True)
        return score_captions(captions, references, self.tokenizer, self.meteor)
