"""KCMCaptions on images of walls, with recorded captions and a tiny random BLIP-2 as the large model."""

import json
import sqlite3
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from kcm_lightning.core.partition import Part
from kcm_lightning.core.predictions import Prediction, Purpose, Query
from kcm_lightning.core.routing import Route, Thresholds
from kcm_lightning.data import MSCOCO, DigitsLT
from kcm_lightning.data.vocabulary import Vocabulary
from kcm_lightning.large import ImageClassifier, ImageToText, RecordedCaptions
from kcm_lightning.large.captioner import CaptionAnswer, TokenSteps
from kcm_lightning.module import KCMCaptions, KCMModule
from kcm_lightning.module.optimizers import Phase
from kcm_lightning.small import Captioner
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.tokens import END, PADDING
from tests.data.caption_data import COLOURS, write
from tests.module.outcomes import outcome_of

TINY = {"width": 16, "channels": 8, "depths": (1, 1), "dropout": 0.0}


@pytest.fixture
def walls(tmp_path) -> Path:
    folder = write(tmp_path / "tiny")
    rows = [
        {"filename": f"{n:03}.jpg", "caption": f"a wall of {list(COLOURS)[n % 4]}"} for n in range(0, 56, 2)
    ]
    (folder / "large.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def data(folder: Path, **options) -> MSCOCO:
    settings = {
        "root": str(folder),
        "captions": "dataset_tiny.json",
        "images": "images",
        "image_size": 16,
        "vocab_size": 18,
    }
    settings |= {
        "prepared": str(folder / "prepared"),
        "max_length": 9,
        "batch_size": 8,
        "eval_batch_size": 16,
    }
    return MSCOCO(**{**settings, **options})


def make(folder: Path, teacher=None, vocab_size: int = 18, **options) -> KCMCaptions:
    torch.manual_seed(0)
    settings = {
        "judge_phase": Phase(2, lr=3e-3),
        "student_phase": Phase(2, lr=3e-3),
        "thresholds": Thresholds(0.5, 0.3),
        "distill_thresholds": Thresholds(0.0, None, 0.0),
        "scoring": "words",
        "beams": 2,
    }
    teacher = teacher or RecordedCaptions(str(folder / "large.jsonl"))
    return KCMCaptions(judge=Captioner(vocab_size, **TINY), teacher=teacher, **{**settings, **options})


def trainer(folder: Path, epochs: int = 4) -> L.Trainer:
    return L.Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=[ModelCheckpoint(folder, filename="last", enable_version_counter=False)],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,
    )


def fit(
    module: KCMCaptions, folder: Path, own: MSCOCO, epochs: int = 4, resume: Path | None = None
) -> L.Trainer:
    L.seed_everything(0)
    run = trainer(folder, epochs)
    run.fit(module, datamodule=own, ckpt_path=resume)
    return run


def test_resumed_after_any_epoch_is_bit_for_bit_uninterrupted(walls, tmp_path):
    whole = make(walls)
    fit(whole, tmp_path / "whole", data(walls))
    expected = whole.state_dict()
    for stop in (1, 2, 3):
        folder = tmp_path / str(stop)
        fit(make(walls), folder, data(walls), epochs=stop)
        resumed = make(walls)
        torch.rand(stop)
        fit(resumed, folder, data(walls), resume=folder / "last.ckpt")
        for name, value in resumed.state_dict().items():
            assert torch.equal(value, expected[name]), (stop, name)


@pytest.mark.slow
def test_student_learns_the_large_models_captions(walls, tmp_path):
    rows = [
        {"filename": f"{n:03}.jpg", "caption": f"this {list(COLOURS)[n % 4]} wall is over there"}
        for n in range(56)
    ]
    (walls / "large.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    module = make(walls, judge_phase=Phase(15, lr=5e-3), student_phase=Phase(25, lr=5e-3), beams=1)
    run = fit(module, tmp_path / "run", data(walls), epochs=40)
    run.test(module, datamodule=data(walls), verbose=False)
    own = data(walls)
    own.setup()
    batch = own.view(own.batches[own.positions["test"]], augment=False)
    said = module.eval().roles.student(batch["small"])
    wanted = [json.loads(line)["caption"] for line in (walls / "large.jsonl").read_text().splitlines()]
    right = [said.prediction[i] == wanted[int(Path(path).stem)] for i, path in enumerate(batch["large"])]
    assert sum(right) >= 10, said.prediction


def test_student_loss_is_the_loop_over_images(walls, tmp_path):
    module = make(walls, distill_thresholds=Thresholds(0.0, None, 0.0))
    own = data(walls)
    fit(module, tmp_path / "run", own, epochs=3)
    module.eval()
    module.log_dict = lambda *args, **kwargs: None
    batch = own.view(own.batches[own.positions["train"][:8]], augment=False)
    found = module._student_loss(batch)
    total = 0.0
    for row in range(8):
        image = batch["small"][row : row + 1]
        number = int(Path(batch["large"][row]).stem)
        if number % 2 == 0:  # the large model has a caption: each of its words, surely
            tokens = own.vocabulary.encode(f"a wall of {list(COLOURS)[number % 4]}", 9)
            log = module.student(image, torch.tensor([tokens]))[0].log_softmax(-1)
            total -= sum(log[i, token].item() for i, token in enumerate(tokens)) / len(tokens)
        else:  # the judge's caption and its distribution at each word
            said = module.roles.judge(image)
            tokens = torch.tensor([own.vocabulary.encode(said.prediction[0], 9)])
            with torch.no_grad():
                target = module.judge(image, tokens)[0].softmax(-1)
            log = module.student(image, tokens)[0].log_softmax(-1)
            total += (target * (target.log() - log)).sum(-1).mean().item()
    assert found.item() == pytest.approx(total / 8, rel=1e-3)


def test_part_without_a_teacher_teaches_nothing(walls, tmp_path):
    module = make(walls, distill_thresholds=Thresholds(None, None, 0.95))  # recorded captions state 0.9
    before = fit(module, tmp_path / "run", data(walls), epochs=2)
    state = {name: value.clone() for name, value in module.judge.state_dict().items()}
    assert before.current_epoch == 2
    fit(module, tmp_path / "run", data(walls), epochs=3, resume=tmp_path / "run" / "last.ckpt")
    parts = module._recorded[1].parts
    assert (parts == Part.NONE).all() and module.trainer.callback_metrics["train/student_loss"] == 0
    for name, value in module.student.named_parameters():  # only weight decay has moved them
        assert torch.allclose(value, state[name], atol=0.02), name


class Asked(RecordedCaptions):
    """Recorded captions that remember what they were asked."""

    uses_hint = True

    def caption(self, query, *, with_steps=False):
        self.asked = list(query.inputs), query.hint
        return super().caption(query, with_steps=with_steps)


def test_large_model_sees_the_routed_images_alone_and_the_students_captions(walls, tmp_path):
    teacher = Asked(str(walls / "large.jsonl"))
    module = make(walls, teacher, compare=False)
    own = data(walls, answered=str(walls / "large.jsonl"))
    fit(module, tmp_path / "run", own)
    module.eval()
    batch = own.view(own.batches[own.positions["test"]], augment=False)
    judge, student = (predict(batch["small"]) for predict in (module.roles.judge, module.roles.student))
    first, second = judge.confidence.median().item(), student.confidence.median().item()
    module.thresholds = Thresholds(first, second)
    outcome = outcome_of(module, batch, compare=False)
    assert set(outcome.route.tolist()) >= {Route.JUDGE, Route.TEACHER}
    routed = []
    for row in range(len(batch["large"])):
        if judge.confidence[row] >= first:
            assert outcome.route[row] == Route.JUDGE and outcome.prediction[row] == judge.prediction[row]
            assert outcome.student_prediction[row] is None and outcome.student_confidence[row].isnan()
        elif student.confidence[row] >= second:
            assert outcome.route[row] == Route.STUDENT and outcome.prediction[row] == student.prediction[row]
        else:
            routed.append(row)
            assert outcome.route[row] == Route.TEACHER and outcome.prediction[row].startswith("a wall of")
            assert outcome.confidence[row].item() == pytest.approx(0.9)
        assert outcome.called[row] == (outcome.route[row] == Route.TEACHER)
    paths, hint = teacher.asked
    assert paths == [batch["large"][row] for row in routed]
    assert hint.prediction == [student.prediction[row] for row in routed]
    torch.testing.assert_close(hint.confidence, student.confidence[routed])


def test_large_models_distributions_are_taught_where_the_words_are_its_tokens(walls, tiny_blip2, tmp_path):
    from transformers import AutoTokenizer

    size = len(Vocabulary.of(captions(walls), AutoTokenizer.from_pretrained(tiny_blip2)))
    own = data(walls, tokenizer=str(tiny_blip2), vocab_size=size)
    teacher = ImageToText(str(tiny_blip2), prompt="a photo of", beams=2, max_new_tokens=6)
    module = make(walls, teacher, vocab_size=size, cache=str(tmp_path / "cache"))
    fit(module, tmp_path / "run", own, epochs=3)
    row_of, targets = module._recorded
    batch = own.view(own.batches[own.positions["train"][:4]], augment=False)
    parts, tokens, target = targets.at(row_of[batch["index"]], size, torch.device("cpu"))
    answer = module.teacher.caption(
        Query(batch["large"], None, batch["index"], purpose=Purpose.FIT), with_steps=True
    )
    assert (parts == Part.TEACHER).all()
    for row in range(4):
        large = answer.steps.tokens[row][answer.steps.tokens[row] >= 0].tolist()
        for place, token in enumerate(large):
            words = {own.vocabulary.units[n - 4]: n for n in range(4, size)} | {answer.steps.end: END}
            assert tokens[row, place] == words.get(token, 3)
            chances = dict(
                zip(
                    answer.steps.topk_tokens[row, place].tolist(),
                    answer.steps.topk_probs[row, place].tolist(),
                    strict=True,
                )
            )
            known = {words[t]: p for t, p in chances.items() if t in words}
            for number, chance in known.items():
                assert target[row, place, number].item() == pytest.approx(
                    chance / sum(known.values()), rel=1e-4
                )
        assert (tokens[row, len(large) :] == PADDING).all()


def captions(folder: Path) -> list[str]:
    rows = json.loads((folder / "dataset_tiny.json").read_text())["images"]
    return [sentence["raw"] for row in rows if row["split"] == "train" for sentence in row["sentences"]]


def test_long_captions_of_the_large_model_are_cut(walls, tmp_path):
    module, own = make(walls), data(walls)
    own.setup()
    module.vocabulary, module.max_length = Vocabulary(own.vocabulary.units, tokenizer=object()), 3
    steps = TokenSteps(
        torch.arange(5).repeat(2, 1), torch.arange(4).repeat(2, 5, 1), torch.full((2, 5, 4), 0.25), end=2
    )
    module.vocabulary.units = list(range(10, 24))
    targets = module._targets_of(CaptionAnswer(["x", "y"], torch.ones(2), steps=steps), torch.device("cpu"))
    assert targets.tokens.shape == (2, 3) and targets.topk_probs.shape[:2] == (2, 3)


def test_probability_of_given_captions_is_the_confidence_of_ones_own(walls, tmp_path):
    module, own = make(walls, vocab_size=12), data(walls, vocab_size=12)  # some words are not known
    fit(module, tmp_path / "run", own)
    module.eval()
    batch = own.view(own.batches[own.positions["test"]], augment=False)
    student = module.roles.student(batch["small"])
    torch.testing.assert_close(
        module.probability_of(student.prediction, batch["small"]), student.confidence, atol=1e-4, rtol=1e-3
    )


def test_another_vocabulary_is_not_gone_on_with_and_a_trained_one_is_kept(walls, tmp_path):
    module, own = make(walls), data(walls)
    run = fit(module, tmp_path / "run", own, epochs=3)
    best = tmp_path / "run" / "last.ckpt"
    file = walls / "dataset_tiny.json"
    file.write_text(file.read_text().replace("over", "round"))  # "all over" sorts elsewhere
    with pytest.raises(InputError, match="vocabulary is another one"):
        fit(make(walls), tmp_path / "other", data(walls), resume=best)
    with pytest.raises(InputError, match="trained with another vocabulary"):
        fit(make(walls, judge_ckpt=str(best)), tmp_path / "other", data(walls))
    again = make(walls)
    run.test(
        again, datamodule=data(walls, answered=str(walls / "large.jsonl")), ckpt_path=best, verbose=False
    )
    assert again.vocabulary.units == own.vocabulary.units


@pytest.mark.parametrize("use", ["test", "predict", "fit", "judge_ckpt"])
@pytest.mark.parametrize("then", ["words", "tokenizer"])
def test_captions_in_words_and_in_tokens_are_never_taken_for_each_other(
    walls, tmp_path, word_tokenizer, then, use
):
    options = {"words": {}, "tokenizer": {"tokenizer": str(word_tokenizer)}}
    answered = {"answered": str(walls / "large.jsonl"), "vocab_size": 8}
    before = data(walls, **answered, **options.pop(then))
    (now,) = options.values()
    fit(make(walls, vocab_size=8), tmp_path / "run", before, epochs=1)
    last = tmp_path / "run" / "last.ckpt"
    judge_ckpt = str(last) if use == "judge_ckpt" else None
    module, run = make(walls, vocab_size=8, judge_ckpt=judge_ckpt), trainer(tmp_path / "other")
    said = "--data.tokenizer was None, is " if then == "words" else r"--data.tokenizer was \w{16}, is None"
    with pytest.raises(InputError, match=said):
        if use == "judge_ckpt":
            run.fit(module, datamodule=data(walls, **answered, **now))
        else:
            getattr(run, use)(module, datamodule=data(walls, **answered, **now), ckpt_path=last)


def test_validate_scores_captions(walls, tmp_path):
    module = make(walls, compare=False)
    run = fit(module, tmp_path / "run", data(walls, answered=str(walls / "large.jsonl")))
    (found,) = run.validate(
        module, datamodule=data(walls, answered=str(walls / "large.jsonl")), verbose=False
    )
    assert {"val/judge_CIDEr_words", "val/kcm_BLEU-4_words", "val/lm_rate_called"} <= set(found)


def test_wrong_pairs_are_refused_in_one_line(walls, tmp_path, tiny_classifier, monkeypatch):
    classifier = ImageClassifier(str(tiny_classifier(10)))
    phases = {"judge_phase": Phase(1), "student_phase": Phase(1)}
    cases = {
        "ImageClassifier has no captions": (make(walls, classifier), data(walls)),
        "have captions, not classes": (
            KCMModule(judge=Captioner(18, **TINY), teacher=classifier, **phases),
            data(walls),
        ),
        "have classes, not captions": (make(walls), DigitsLT()),
        "set --model.judge.vocab_size=18": (make(walls, vocab_size=19), data(walls)),
    }
    for said, (module, own) in cases.items():
        with pytest.raises(InputError, match=said):
            fit(module, tmp_path / "bad", own)
    with pytest.raises(InputError, match="beams=0"):
        make(walls, beams=0)
    with pytest.raises(InputError, match="cutmix mixes classes"):
        make(walls, judge_phase=Phase(1, cutmix=0.5))
    monkeypatch.setattr("kcm_lightning.metrics.java_programs.shutil.which", lambda name: None)
    with pytest.raises(InputError, match=r"need Java: install a JRE, or set --model\.scoring=words"):
        fit(make(walls, scoring="ptb"), tmp_path / "bad", data(walls))


def test_another_models_tokenizer_is_refused(walls, tiny_blip2, word_tokenizer, tmp_path):
    teacher = ImageToText(str(tiny_blip2), beams=1, max_new_tokens=4)
    own = data(walls, tokenizer=str(word_tokenizer), vocab_size=5)
    with pytest.raises(InputError, match="is not the large model's"):
        fit(make(walls, teacher, vocab_size=5), tmp_path / "bad", own)


def test_hint_reaches_the_teacher_in_training(walls, tiny_blip2, tmp_path):
    hint = "small model says : {label} with {probability:.0%} ."
    teacher = ImageToText(str(tiny_blip2), hint=hint, beams=1, max_new_tokens=4)
    module = make(walls, teacher, cache=str(tmp_path / "cache"))
    fit(module, tmp_path / "run", data(walls), epochs=3)
    with sqlite3.connect(tmp_path / "cache" / "captions.sqlite") as file:
        keys = {key for (key,) in file.execute("SELECT prompt FROM answers")}
    assert len(keys) > 1  # the judge does not say the same of all images
    assert module.teacher.prompt_keys(Query([None] * 1, Prediction(["a wall"], torch.tensor([0.5])))) == [
        b"small model says : a wall with 50% ."
    ]
