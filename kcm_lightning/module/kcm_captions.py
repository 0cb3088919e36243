"""KCM for captions: the same two phases and the same gates, with texts for classes."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from kcm_lightning.core.caption_gate import CaptionChoice, CaptionGate, token_features
from kcm_lightning.core.collaboration import Roles
from kcm_lightning.core.confidence import CaptionConfidence, Temperatures, caption_confidence, probabilities
from kcm_lightning.core.distillation import Direction, gated_distillation
from kcm_lightning.core.partition import PartitionOrder, partition
from kcm_lightning.core.predictions import Purpose, Query, SmallPrediction
from kcm_lightning.core.routing import SecondGate, Thresholds
from kcm_lightning.data.base import Batch, CaptionDataModule, KCMDataModule
from kcm_lightning.data.vocabulary import Vocabulary
from kcm_lightning.large import LargeCaptioner, LargeModel
from kcm_lightning.large.captioner import CaptionAnswer
from kcm_lightning.metrics.caption_scores import CaptionScores, Tokenizer, require_java
from kcm_lightning.module.caption_targets import CaptionTargets
from kcm_lightning.module.checks import check_tokenizer, vocabulary_in
from kcm_lightning.module.kcm import KCMModule
from kcm_lightning.module.optimizers import Phase
from kcm_lightning.module.sample_lookup import SampleLookup
from kcm_lightning.small.beam_search import Captions, generate
from kcm_lightning.small.captioner import CaptionNet
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.tokens import NEVER_SAID, PADDING


class KCMCaptions(KCMModule):
    """KAN-based collaboration of a small captioner and a frozen large one.

    The student learns whole captions under teacher forcing: the large model's where that is trusted (equation
    4), else the judge's (equation 5), each position's distribution, or the caption where only that is known.

    Args:
        judge: the small captioner, a class of `kcm_lightning.small`; the student starts as its copy.
        teacher: the large captioner, a class of `kcm_lightning.large` or your own.
        judge_phase: training of the judge on captions.
        student_phase: distillation of the student; its epochs follow the judge's. 0 epochs leave it the
            judge's copy.
        beams: captions that the small models' beam search follows at once; 1 is greedy.
        caption_confidence: confidence in a caption, out of its tokens' probabilities: "geometric_mean", the
            default, "mean" or "minimum".
        scoring: tokenizer of the scores that `test` reports: "ptb", the default, which is COCO's and needs
            Java, or "words". While training, captions are always scored by words.
        judge_ckpt: checkpoint of a run whose judge is used instead of training one; null, the default, trains
            one.
        thresholds: confidences from which on judge and student answer at inference; take them from
            `calibrate`, since the paper's 0.98 means nothing for a caption. A value of null closes a gate.
        gate: what the student's gate compares with its threshold: "confidence", the default, the student's
            own (equation 1); or the weights of a learned gate, as `calibrate` finds them.
        fusion: weights that choose between the student's caption and the large model's where that is called,
            as `calibrate` finds them; null, the default, is the large model's, as in the paper.
        distill_thresholds: confidences from which on large model and judge teach in distillation; the
            student's is not used.
        partition: who is asked first in distillation: "teacher_first", the default, or "printed", the judge
            first, as in the paper's Algorithm 1.
        direction: which KL divergence teaches the student (equations 4 and 5): "forward", the default,
            KL(target || student); "reverse", KL(student || target); or "hard", cross-entropy with the
            target's most probable token.
        distill_temperature: temperature, from 0.001 to 1000, that softens both sides of the KL divergence; 1,
            the default, changes nothing.
        second_gate: whose confidence opens the second gate: "student", the default, or "teacher", as in the
            paper's Algorithm 2, which calls the large model for every image that the judge does not keep.
        cache: folder in which the large model's captions are kept; null, the default, asks it anew each time.
        compare: whether to ask every model about every test image, for the comparison columns; null, the
            default, does so where the large model costs nothing.
        compile: whether to compile the small models where there is a compiler.
    """

    data: CaptionDataModule  # `_check_kinds` holds it
    vocabulary: Vocabulary | None = None
    max_length: int

    def __init__(
        self,
        judge: nn.Module,
        teacher: LargeModel,
        judge_phase: Phase,
        student_phase: Phase,
        beams: int = 3,
        caption_confidence: CaptionConfidence = "geometric_mean",
        scoring: Tokenizer = "ptb",
        judge_ckpt: str | None = None,
        thresholds: Thresholds = Thresholds(),
        gate: CaptionGate | Literal["confidence"] = "confidence",
        fusion: CaptionChoice | None = None,
        distill_thresholds: Thresholds = Thresholds(),
        partition: PartitionOrder = "teacher_first",
        direction: Direction = "forward",
        distill_temperature: float = 1.0,
        second_gate: SecondGate = "student",
        cache: str | None = None,
        compare: bool | None = None,
        compile: bool = False,
    ):
        super().__init__(
            judge=judge,
            teacher=teacher,
            judge_phase=judge_phase,
            student_phase=student_phase,
            judge_ckpt=judge_ckpt,
            loss="plain",
            thresholds=thresholds,
            distill_thresholds=distill_thresholds,
            temperatures=Temperatures(),
            partition=partition,
            direction=direction,
            distill_temperature=distill_temperature,
            second_gate=second_gate,
            cache=cache,
            compare=compare,
            compile=compile,
        )
        self._set_gate(gate, fusion)
        if judge_phase.cutmix or student_phase.cutmix:
            raise InputError("--model: cutmix mixes classes, and captions have none: set it to 0")
        if beams < 1:
            raise InputError(f"--model.beams={beams} must be at least 1")
        self.beams, self.caption_confidence, self.scoring = beams, caption_confidence, scoring

    def setup(self, stage: str) -> None:
        if self.scoring == "ptb" and stage in ("fit", "test"):
            require_java("--model.scoring=words")
        super().setup(stage)

    def _check_kinds(self, data: KCMDataModule) -> None:
        if not isinstance(data, CaptionDataModule):
            raise InputError(
                "these data have classes, not captions: set --model kcm_lightning.module.KCMModule"
            )
        if not isinstance(self.teacher, LargeCaptioner):
            name = type(self.teacher).__name__
            raise InputError(f"--model.teacher: {name} has no captions; give ImageToText or RecordedCaptions")

    def _set_up_metrics(self, data: KCMDataModule) -> None:
        self.vocabulary, self.max_length = self.data.vocabulary, self.data.max_length
        check_tokenizer(self.vocabulary, self.teacher)
        names = ("judge", "student", "kcm")
        metrics = {who: CaptionScores("words", meteor=False) for who in names}
        self.scores = cast(Mapping[str, CaptionScores], nn.ModuleDict(metrics))  # its values are untyped

    def _vocabulary_units(self) -> list | None:
        return self._known_vocabulary.units

    @property
    def _known_vocabulary(self) -> Vocabulary:
        assert self.vocabulary is not None, "the vocabulary is known after setup or restore"
        return self.vocabulary

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["vocabulary"] = self._known_vocabulary.units

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Takes the vocabulary of the weights; to go on training, it must be the data's."""
        super().on_load_checkpoint(checkpoint)
        units = vocabulary_in(checkpoint, str(self.trainer.ckpt_path), self.judge)
        if self.vocabulary is not None and units != self.vocabulary.units:
            if self.trainer.state.fn == "fit":
                raise InputError(
                    "the checkpoint's vocabulary is another one: the training captions are no longer the same"
                )
            self.vocabulary = Vocabulary(units, self.vocabulary.tokenizer)

    def restore(
        self, checkpoint: dict[str, Any], path: str, data: KCMDataModule, class_names: list[str]
    ) -> None:
        assert isinstance(data, CaptionDataModule)
        data.vocabulary = data.vocabulary_of(vocabulary_in(checkpoint, path, self.judge))
        self.vocabulary, self.max_length = data.vocabulary, data.max_length
        super().restore(checkpoint, path, data, class_names)

    # --------------------------------------------------------------- training

    def _judge_loss(self, batch: Batch) -> Tensor:
        logits, target = self.judge(batch["small"], batch["target"]), batch["target"]
        loss = F.cross_entropy(logits.float().flatten(0, 1), target.flatten(), ignore_index=PADDING)
        self.log("train/judge_loss", loss, batch_size=len(target))
        return loss

    @torch.no_grad()
    def _record_answers(self) -> None:
        """What the student is taught of each image."""
        sample_ids, targets = [], []
        for batch in self._batches_to_distill():
            with self.trainer.precision_plugin.forward_context():
                captions = self._captions_by(self.judge, batch["small"])
                distribution = probabilities(self.judge(batch["small"], captions.tokens))
            judge = self._prediction_of(captions)
            own = CaptionTargets.of(captions.tokens, distribution)
            if self.distill_thresholds.teacher is None:  # equation 4 is off: nothing to ask
                large, confidence = own, torch.full_like(judge.confidence, float("nan"))
            else:
                hint = judge if self.teacher.uses_hint else None
                query = Query(batch["large"], hint, batch["index"], Purpose.FIT)
                answer = self.teacher.caption(query, with_steps=True)
                large, confidence = self._targets_of(answer, self.device), answer.confidence.to(self.device)
            parts = partition(
                judge=judge.confidence,
                teacher=confidence,
                thresholds=self.distill_thresholds,
                order=self.partition,
            )
            sample_ids.append(batch["index"].cpu())
            targets.append(own.replaced(large, parts))
        rows = torch.arange(sum(map(len, sample_ids)))
        self._recorded = SampleLookup(torch.cat(sample_ids), rows), CaptionTargets.joined(targets)

    def _targets_of(self, answer: CaptionAnswer, device: torch.device) -> CaptionTargets:
        """A large model's captions in the small models' vocabulary."""
        vocabulary, length = self._known_vocabulary, self.max_length
        if answer.steps is not None and vocabulary.tokenizer is not None:
            steps = answer.steps
            tokens = vocabulary.numbers(steps.tokens, steps.end)
            distribution = vocabulary.gather(steps.topk_tokens, steps.topk_probs, steps.end)
            return CaptionTargets.of(tokens[:, :length], distribution[:, :length])
        tokens = torch.full((len(answer.prediction), length), PADDING, device=device)
        for row, caption in enumerate(answer.prediction):
            if caption is not None:
                own = vocabulary.encode(caption, length)
                tokens[row, : len(own)] = torch.tensor(own, device=device)
        return CaptionTargets.of(tokens, F.one_hot(tokens, len(vocabulary)).float())

    def _student_loss(self, batch: Batch) -> Tensor:
        row_of, targets = self._recorded
        rows = row_of[batch["index"].cpu()]
        parts, tokens, target = targets.at(rows, len(self._known_vocabulary), self.device)
        equations = gated_distillation(
            self.student(batch["small"], tokens),
            judge=target,
            teacher=target,
            parts=parts,
            mask=tokens != PADDING,
            direction=self.direction,
            temperature=self.distill_temperature,
        )
        return self._log_student(torch.stack(equations).mean(1), parts)

    # -------------------------------------------------------------- inference

    @property
    def roles(self) -> Roles:
        return Roles(
            judge=partial(self._predict, self.judge),
            student=partial(self._predict, self.current_student),
            teacher=self.teacher,
        )

    def _predict(self, model: nn.Module, images: Tensor) -> SmallPrediction:
        return self._prediction_of(self._captions_by(model, images))

    def _captions_by(self, model: nn.Module, images: Tensor) -> Captions:
        """Captions by judge or student, which the command line knows as modules alone."""
        captioner = cast(CaptionNet, model)
        return generate(captioner, images, max_length=self.max_length, beams=self.beams)

    def _prediction_of(self, captions: Captions) -> SmallPrediction:
        counted = captions.tokens != PADDING
        confidence = caption_confidence(captions.log_probabilities, counted, self.caption_confidence)
        decode = self._known_vocabulary.decode
        said = [decode(row) for row in captions.tokens.tolist()]
        features = token_features(captions.log_probabilities, counted)
        return SmallPrediction(said, confidence, token_features=features)

    @torch.no_grad()
    def probability_of(self, captions: list[str], images: Tensor) -> Tensor:
        """The student's confidence in given captions, read as its confidence in its own is; shape `(B,)`."""
        encoded = [torch.tensor(self._known_vocabulary.encode(own, self.max_length)) for own in captions]
        tokens = pad_sequence(encoded, True, PADDING).to(images.device)
        logits = self.current_student(images, tokens).float()
        logits[..., NEVER_SAID] = float("-inf")  # as in its own captions
        log_probs = logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        return caption_confidence(log_probs, tokens != PADDING, self.caption_confidence)

    # ---------------------------------------------------------------- metrics

    def _update_score(self, who: str, prediction: Any, batch: Batch) -> None:
        if self.trainer.state.fn != "test":  # which scores all captions at its end, with COCO's tokenizer
            self.scores[who].update(prediction, self.data.references(batch["index"]))

    def _scores(self, split: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for who, metric in self.scores.items():
            if metric.update_called:
                values |= {f"{split}/{who}_{name}_words": value for name, value in metric.compute().items()}
                metric.reset()
        if (
            self.trainer.state.fn == "fit"
        ):  # CIDEr is below 10, so that a distilled student beats a judge alone
            who = "student" if self.student_started else "judge"
            values["selection"] = 10 * self.student_started.item() + values[f"{split}/{who}_CIDEr_words"]
        return values
