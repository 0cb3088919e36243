"""Every shipped configuration parses and runs one batch of everything, on small data."""

import json
from pathlib import Path

import pytest

from kcm_lightning.cli import main
from kcm_lightning.cli.configs import find_config, shipped_configs
from kcm_lightning.cli.run_folder import RunFolder
from kcm_lightning.metrics.caption_scores import has_java
from kcm_lightning.utils.errors import InputError
from tests.conftest import accept_any_md5
from tests.data.caption_data import write as write_captions
from tests.data.review_files import rows, write
from tests.data.test_image_folder import fill
from tests.data.test_text_table import texts
from tests.data.test_text_table import write as write_table

SHIPPED = sorted(path.name for path in shipped_configs().glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.slow
def test_shipped_configuration_runs(
    name, tmp_path, monkeypatch, tiny_cifar, tiny_classifier, tiny_clip, tiny_bert, tiny_blip2, word_tokenizer
):
    monkeypatch.chdir(tmp_path)
    text = (shipped_configs() / name).read_text()
    options = ["--trainer.fast_dev_run=true", "--trainer.accelerator=cpu", "--trainer.devices=1"]
    if "CIFAR100LT" in text:
        options += [f"--data.root={tiny_cifar}", "--data.download=false", "--data.batch_size=8"]
        accept_any_md5(monkeypatch)
    if "data.APD" in text:
        write(tmp_path / "reviews_Baby_5.json.gz", rows(300, seed=1))
        options += [f"--data.root={tmp_path}", "--data.category=Baby", f"--data.tokenizer={word_tokenizer}"]
    if name == "own_images.yaml":
        fill(tmp_path / "images", counts=(40, 30, 20))
        options += [f"--data.root={tmp_path / 'images'}", "--model.judge.num_classes=3"]
    if name == "own_texts.yaml":
        options += _text_options(tmp_path, word_tokenizer, tiny_bert)
    classes = 100 if "CIFAR100LT" in text else 3 if "ImageFolder" in text else 10
    if "FineTune" in text:
        options.append(f"--model.output={tmp_path / 'out'}")
        if "architecture" not in text:
            options.append(f"--model.name={tiny_bert if 'data.APD' in text else tiny_classifier(classes)}")
    elif "data.APD" in text:
        words = len(json.loads((word_tokenizer / "tokenizer.json").read_text())["model"]["vocab"])
        options += [f"--model.judge.vocab_size={words}", "--model.judge.embedding=8", "--model.judge.width=8"]
        if "TextClassifier" in text:
            options += [f"--model.teacher.name={tiny_bert}", "--model.judge.embeddings_from=null"]
    elif "SequentialTraining" in text:
        options += ["--model.model.width=8", "--model.phase.epochs=1", "--model.compile=false"]
    elif "data.TextTable" in text:
        pass
    elif "data.MSCOCO" in text:
        options += _caption_options(tmp_path / "tiny", tiny_blip2 if "large.ImageToText" in text else None)
    else:
        options += ["--model.compile=false", f"--model.cache={tmp_path / 'cache'}"]
        options.append(
            f"--model.teacher.name={tiny_clip if 'large.CLIP' in text else tiny_classifier(classes)}"
        )
        if "width: " in text:
            options.append("--model.judge.width=8")
        if "KCMTwoStage" in text:  # with steps of both stages
            options += [
                "--model.buffer=4",
                "--model.distill_thresholds.teacher=0",
                "--model.distill_thresholds.judge=0.011",
            ]
            options.append("--data.eval_batch_size=100")
    main(["fit", "--config", name, *options])
    if "small.ResNet101" in text:  # the second phase with a quicker network
        options += ["--model.judge=kcm_lightning.small.ExpertResNet32", "--model.judge.blocks=1"]
    if "KCM" in text:  # the second phase too
        main(["fit", "--config", name, *options, "--model.judge_phase.epochs=0"])


def _text_options(folder: Path, word_tokenizer: Path, tiny_bert: Path) -> list[str]:
    """A small table of texts, and a large model for it."""
    write_table(folder / "data.csv", texts(200, classes=("negative", "positive")))
    words = len(json.loads((word_tokenizer / "tokenizer.json").read_text())["model"]["vocab"])
    options = [f"--data.path={folder / 'data.csv'}", f"--data.tokenizer={word_tokenizer}"]
    return [*options, f"--model.judge.vocab_size={words}", f"--model.teacher.name={tiny_bert}"]


def _caption_options(folder: Path, blip2: Path | None) -> list[str]:
    """A small captioned data set, and a large model for it: recorded captions where there is no other."""
    write_captions(folder)
    answers = folder / "large.jsonl"
    answers.write_text(
        "".join(json.dumps({"filename": f"{n:03}.jpg", "caption": "a wall"}) + "\n" for n in range(56))
    )
    options = [
        f"--data.root={folder}",
        "--data.captions=dataset_tiny.json",
        "--data.images=images",
        "--data.image_size=16",
    ]
    options += [
        "--model.compile=false",
        "--model.judge.width=8",
        "--model.judge.channels=8",
        f"--model.scoring={'ptb' if has_java() else 'words'}",
    ]
    if blip2 is None:
        size, own = 18, [f"--model.teacher.path={answers}", f"--data.answered={answers}"]
    else:
        size, own = (
            12,
            [
                f"--model.teacher.name={blip2}",
                f"--data.tokenizer={blip2}",
                f"--model.cache={folder / 'cache'}",
            ],
        )
    return [*options, *own, f"--data.vocab_size={size}", f"--model.judge.vocab_size={size}"]


def test_names_are_looked_up_here_first_then_among_the_shipped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("quickstart.yaml") == shipped_configs() / "quickstart.yaml"
    (tmp_path / "quickstart.yaml").write_text("")
    assert find_config("quickstart.yaml") == Path("quickstart.yaml")
    with pytest.raises(InputError, match=r"did you mean .*cifar_lt\.yaml"):
        find_config("cifar_tl.yaml")


def test_run_folders_are_never_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Path("some/where/digits.yaml")
    assert RunFolder(config).fresh(make=False) == Path("runs/digits/0")
    for number, checkpoint in ((0, "best.ckpt"), (2, "last.ckpt")):
        folder = Path(f"runs/digits/{number}/checkpoints")
        folder.mkdir(parents=True)
        (folder / checkpoint).touch()
    assert RunFolder(config).fresh(make=False) == Path("runs/digits/3")
    assert RunFolder(config).existing("best.ckpt") == Path("runs/digits/0")
    assert RunFolder(config).existing("last.ckpt") == Path("runs/digits/2")
    assert RunFolder(Path("runs/digits/0/config.yaml")).existing("best.ckpt") == Path("runs/digits/0")
    assert RunFolder(Path("runs/digits/0/config.yaml")).fresh() == Path("runs/digits/3")
    assert RunFolder(config).fresh() == Path("runs/digits/4")  # the other one has taken 3
    with pytest.raises(InputError, match="already holds a run"):
        RunFolder(config, "runs/digits/0").fresh()
    with pytest.raises(InputError, match=r"no checkpoint best\.ckpt.*run `fit` first"):
        RunFolder(Path("other.yaml")).existing("best.ckpt")
