"""KCM for captions: the same two phases and the same gates, with texts for classes."""

from functools import partial

import torch
import torch.nn.functional as F
from lightning import LightningDataModule
from torch import Tensor, nn

from kcm_lightning.collaboration import RowsByPlace, Said, Says
from kcm_lightning.data.vocabulary import Vocabulary
from kcm_lightning.distillation import gated_distillation
from kcm_lightning.errors import InputError
from kcm_lightning.gating import CaptionConfidence, Temperatures, caption_confidence, partition, probabilities
from kcm_lightning.large import LargeCaptioner
from kcm_lightning.large.captioner import CaptionAnswer
from kcm_lightning.metrics.captions import CaptionScores, Tokenizer, require_java
from kcm_lightning.module.kcm import KCMModule
from kcm_lightning.module.lessons import Lessons
from kcm_lightning.small.captioner import NEVER_SAID, generate
from kcm_lightning.words import PADDING


class KCMCaptions(KCMModule):
    """KAN-based collaboration of a small captioner and a frozen large one.

    The student learns whole captions under teacher forcing: the large model's where that is trusted (equation 4), else the
    judge's (equation 5), each place's distribution, or the caption alone where only that is known.

    Args:
        beams: of the small models' search; 1 is greedy.
        caption_confidence: of a caption, out of its tokens' probabilities.
        scoring: tokenizer of the scores that `test` reports: "ptb", COCO's, which needs Java, or "words". While training,
            captions are always scored by words.
        **kwargs: as of `KCMModule`. `calibrate` finds the thresholds; the paper's 0.98 means nothing for a caption.
    """

    captions = True

    def __init__(
        self,
        beams: int = 3,
        caption_confidence: CaptionConfidence = "geometric_mean",
        scoring: Tokenizer = "ptb",
        **kwargs,
    ):
        super().__init__(loss="plain", temperatures=Temperatures(), pruning=None, **kwargs)
        if self.judge_phase.cutmix or self.student_phase.cutmix:
            raise InputError("--model: cutmix mixes classes, and captions have none: set it to 0")
        if beams < 1:
            raise InputError(f"--model.beams={beams} must be at least 1")
        self.beams, self.caption_confidence, self.scoring = beams, caption_confidence, scoring

    def setup(self, stage: str) -> None:
        if not isinstance(self.teacher, LargeCaptioner):
            raise InputError(
                f"--model.teacher: {type(self.teacher).__name__} has no captions; give ImageToText or RecordedCaptions"
            )
        if self.scoring == "ptb" and stage in ("fit", "test"):
            require_java("--model.scoring=words")
        super().setup(stage)

    def _know(self, data: LightningDataModule) -> None:
        self.know_vocabulary(data.vocabulary, data.longest)
        _check_tokenizer(data.vocabulary, self.teacher)
        self.references = data.references
        self.scores = nn.ModuleDict({who: CaptionScores("words", meteor=False) for who in ("judge", "student", "kcm")})

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["vocabulary"] = self.vocabulary.units

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Takes the vocabulary that the weights were trained with; to go on training, it must be the data's."""
        units = checkpoint["vocabulary"]
        if self.vocabulary is not None and units != self.vocabulary.units:
            if self.trainer.state.fn == "fit":
                raise InputError("the checkpoint's vocabulary is another one: the training captions are no longer the same")
            self.vocabulary = Vocabulary(units, self.vocabulary.tokenizer)

    def know_vocabulary(self, vocabulary: Vocabulary, longest: int) -> None:
        """What the small models' numbers stand for, and how many a caption may have."""
        self.vocabulary, self.longest = vocabulary, longest

    # --------------------------------------------------------------- training

    def _judge_loss(self, batch: dict) -> Tensor:
        logits, target = self.judge(batch["small"], batch["target"]), batch["target"]
        loss = F.cross_entropy(logits.float().flatten(0, 1), target.flatten(), ignore_index=PADDING)
        self.log("train/judge_loss", loss, batch_size=len(target))
        return loss

    @torch.no_grad()
    def _record_answers(self) -> None:
        """What the student is taught of each picture, once a phase."""
        places, lessons = [], []
        for batch in self._batches_to_distil():
            with self.trainer.precision_plugin.forward_context():
                captions = generate(self.judge, batch["small"], self.longest, self.beams)
                distribution = probabilities(self.judge(batch["small"], captions.tokens))
            judge = self._said(captions)
            own = Lessons.of(captions.tokens, distribution)
            if self.distill_thresholds.teacher is None:  # equation 4 is off: nothing to ask
                large, trusted = own, torch.full_like(judge.confidence, float("nan"))
            else:
                answer = self.teacher.teach_captions(batch["large"], judge if self.teacher.uses_hint else None, batch["index"])
                large, trusted = self._lessons_of(answer, self.device), answer.confidence.to(self.device)
            parts = partition(judge.confidence, trusted, self.distill_thresholds, self.partition)
            places.append(batch["index"].cpu())
            lessons.append(own.replaced(large, parts))
        self._recorded = RowsByPlace(torch.cat(places), torch.arange(sum(map(len, places)))), Lessons.joined(lessons)

    def _lessons_of(self, answer: CaptionAnswer, device: torch.device) -> Lessons:
        """A large model's captions in the small models' vocabulary."""
        if answer.steps is not None and self.vocabulary.tokenizer is not None:
            steps = answer.steps
            tokens = self.vocabulary.numbers(steps.tokens, steps.end)
            distribution = self.vocabulary.gather(steps.likely, steps.probabilities, steps.end)
            return Lessons.of(tokens[:, : self.longest], distribution[:, : self.longest])
        tokens = torch.full((len(answer.prediction), self.longest), PADDING, device=device)
        for row, caption in enumerate(answer.prediction):
            if caption is not None:
                own = self.vocabulary.encode(caption, self.longest)
                tokens[row, : len(own)] = torch.tensor(own, device=device)
        return Lessons.of(tokens, F.one_hot(tokens, len(self.vocabulary)).float())

    def _student_loss(self, batch: dict) -> Tensor:
        row_of, lessons = self._recorded
        parts, tokens, target = lessons.at(row_of[batch["index"].cpu()], len(self.vocabulary), self.device)
        logits = self.student(batch["small"], tokens)
        options = {"direction": self.direction, "temperature": self.distill_temperature}
        both = torch.stack(gated_distillation(logits, target, target, parts, tokens != PADDING, **options)).mean(1)
        return self._log_student(both, parts)

    # -------------------------------------------------------------- inference

    def _speakers(self) -> tuple[Says, Says]:
        return partial(self._say, self.judge), partial(self._say, self.taught)

    def _say(self, model: nn.Module, images: Tensor) -> Said:
        return self._said(generate(model, images, self.longest, self.beams))

    def _said(self, captions) -> Said:
        confidence = caption_confidence(captions.log_probabilities, captions.tokens != PADDING, self.caption_confidence)
        return Said([self.vocabulary.decode(row) for row in captions.tokens.tolist()], confidence)

    @torch.no_grad()
    def probability_of(self, captions: list[str], images: Tensor) -> Tensor:
        """How sure the student would be of given captions, as its confidence in its own is; shape `(B,)`."""
        tokens = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(self.vocabulary.encode(caption, self.longest)) for caption in captions], True, PADDING
        ).to(images.device)
        logits = self.taught(images, tokens).float()
        logits[..., NEVER_SAID] = float("-inf")  # as in its own captions
        said = logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        return caption_confidence(said, tokens != PADDING, self.caption_confidence)

    def _score(self, who: str, prediction: list[str], batch: dict) -> None:
        if self.trainer.state.fn != "test":  # which scores all captions at its end, with COCO's tokenizer
            self.scores[who].update(prediction, self.references(batch["index"]))

    def _scored(self, split: str) -> dict[str, Tensor | float]:
        values: dict[str, Tensor | float] = {}
        for who, metric in self.scores.items():
            if metric.update_called:
                values |= {f"{split}/{who}_{name}_words": value for name, value in metric.compute().items()}
                metric.reset()
        if self.trainer.state.fn == "fit":  # CIDEr is below 10, so that a distilled student beats a judge alone
            who = "student" if self.student_started else "judge"
            values["selection"] = 10 * self.student_started.item() + values[f"{split}/{who}_CIDEr_words"]
        return values


def _check_tokenizer(vocabulary: Vocabulary, teacher: LargeCaptioner) -> None:
    if vocabulary.tokenizer is None or teacher.tokenizer is None:
        return
    own, large = vocabulary.tokenizer.get_vocab(), teacher.tokenizer.get_vocab()
    if any(large.get(token) != number for token, number in own.items()):
        raise InputError("--data.tokenizer is not the large model's: give the name of the large model, or null for words")
