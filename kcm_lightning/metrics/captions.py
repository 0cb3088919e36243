"""Scores of captions: COCO's own scorer, with its own tokenizer where there is Java."""

import contextlib
import io
import json
import shutil
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from kcm_lightning.errors import InputError
from kcm_lightning.words import words_of

Tokenizer = Literal["ptb", "words"]


def has_java() -> bool:
    """Whether COCO's tokenizer and METEOR can run."""
    return shutil.which("java") is not None


def score_captions(
    candidates: Sequence[str], references: Sequence[Sequence[str]], tokenizer: Tokenizer = "ptb", meteor: bool = True
) -> dict[str, float]:
    """Corpus scores of captions by pycocoevalcap.

    Args:
        candidates: one caption an image.
        references: the captions that people gave it.
        tokenizer: "ptb", COCO's (needs Java), or "words", lower-case words without punctuation. Scores of one are not
            comparable with scores of the other.
        meteor: whether to score METEOR too, which needs Java and half a minute.

    Returns:
        `BLEU-1` to `BLEU-4`, `ROUGE-L`, `CIDEr` and perhaps `METEOR`, on the scale of COCO's scorer.

    Raises:
        InputError: there are no captions, or Java is needed and missing.
    """
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge

    if not candidates or len(candidates) != len(references):
        raise InputError(f"{len(candidates)} captions cannot be scored against {len(references)} lists of references")
    if (tokenizer == "ptb" or meteor) and not has_java():
        raise InputError("COCO's tokenizer and METEOR need Java: install a JRE, or score with tokenizer=words and meteor=false")
    given = dict(enumerate(references))
    said = {image: [caption] for image, caption in enumerate(candidates)}
    tokenize = _by_java if tokenizer == "ptb" else _by_words
    given, said = tokenize(given), tokenize(said)
    scorers = {"BLEU": Bleu(4), "ROUGE-L": Rouge(), "CIDEr": Cider()} | ({"METEOR": Meteor()} if meteor else {})
    scores: dict[str, float] = {}
    for name, scorer in scorers.items():
        with contextlib.redirect_stdout(io.StringIO()):  # some of them print
            value, _ = scorer.compute_score(given, said)
        if isinstance(value, list):
            scores |= {f"{name}-{n}": float(v) for n, v in enumerate(value, 1)}
        else:
            scores[name] = float(value)
    return scores


def _by_java(captions: dict[int, Sequence[str]]) -> dict[int, list[str]]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    rows = {image: [{"caption": " ".join(caption.split())} for caption in own] for image, own in captions.items()}
    return PTBTokenizer().tokenize(rows)


def _by_words(captions: dict[int, Sequence[str]]) -> dict[int, list[str]]:
    return {image: [" ".join(words_of(caption)) for caption in own] for image, own in captions.items()}


class CaptionScores(Metric):
    """`score_captions` over batches and processes.

    Args:
        tokenizer, meteor: as of `score_captions`.
    """

    full_state_update = False
    lines: list[Tensor]

    def __init__(self, tokenizer: Tokenizer = "ptb", meteor: bool = True, **kwargs):
        super().__init__(**kwargs)
        if (tokenizer == "ptb" or meteor) and not has_java():
            raise InputError("COCO's tokenizer and METEOR need Java: install a JRE, or set tokenizer=words and meteor=false")
        self.tokenizer, self.meteor = tokenizer, meteor
        self.add_state("lines", default=[], dist_reduce_fx="cat")  # texts as bytes: only tensors travel between processes

    def update(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        """Adds one caption and its references for each image of a batch."""
        rows = [json.dumps([caption, list(own)]) for caption, own in zip(candidates, references, strict=True)]
        text = "".join(f"{row}\n" for row in rows).encode()
        self.lines.append(torch.frombuffer(bytearray(text), dtype=torch.uint8).to(self.device))

    def compute(self) -> dict[str, float]:
        """As `score_captions`."""
        lines = self.lines if isinstance(self.lines, Tensor) else torch.cat(self.lines)
        rows = [json.loads(line) for line in bytes(lines.cpu().tolist()).decode().splitlines()]
        captions, references = zip(*rows, strict=True)
        return score_captions(captions, references, self.tokenizer, self.meteor)
