"""Small real files that the tests make: a CIFAR-100 in the official format, tiny Hugging Face models."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # files run side by side: a core each, also for the commands that they start
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
else:
    torch.set_num_threads(min(2, torch.get_num_threads()))

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data, from KCM_DATA_DIR."""
    folder = os.environ.get("KCM_DATA_DIR")
    if not folder:
        pytest.skip("KCM_DATA_DIR is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_cifar(tmp_path_factory) -> Path:
    """CIFAR-100 in the official file format and class balance, 4 training and 100 test images a class of
    noise."""
    root = tmp_path_factory.mktemp("cifar")
    folder = root / "cifar-100-python"
    folder.mkdir()
    random = np.random.RandomState(0)
    for name, per_class in (("train", 500), ("test", 100)):
        labels = np.repeat(np.arange(100), per_class).tolist()
        data = random.randint(0, 256, (per_class * 100, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": data, "fine_labels": labels}))
    names = [f"class_{i}" for i in range(100)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))
    return root


def accept_any_md5(monkeypatch) -> None:
    """Lets torchvision take the files of `tiny_cifar` for the official ones."""
    monkeypatch.setattr(
        "torchvision.datasets.utils.check_integrity", lambda path, md5=None: Path(path).is_file()
    )
    monkeypatch.setattr(
        "torchvision.datasets.cifar.check_integrity", lambda path, md5=None: Path(path).is_file()
    )
    meta = {"filename": "meta", "key": "fine_label_names", "md5": None}
    monkeypatch.setattr("torchvision.datasets.CIFAR100.meta", meta)


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory):
    """Makes folders with a random Hugging Face ResNet of a number of classes."""
    from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

    made = {}

    def make(classes: int, labels: list[str] | None = None) -> Path:
        key = (classes, tuple(labels or ()))
        if key not in made:
            torch.manual_seed(0)
            names = dict(enumerate(labels)) if labels else {i: f"LABEL_{i}" for i in range(classes)}
            config = ResNetConfig(
                embedding_size=8,
                hidden_sizes=[8, 16],
                depths=[1, 1],
                layer_type="basic",
                id2label=names,
                label2id={v: k for k, v in names.items()},
            )
            folder = tmp_path_factory.mktemp("classifier")
            ResNetForImageClassification(config).save_pretrained(folder)
            ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
            made[key] = folder
        return made[key]

    return make


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> Path:
    """A folder with a random CLIP of 32-dimensional features and a word tokenizer."""
    from tests.large.clip import save_clip

    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def word_tokenizer(tmp_path_factory) -> Path:
    """A folder with a fast tokenizer of whole words, with BERT's special tokens."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from tests.data.review_files import FILL, WORDS

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *sorted({word.lower() for word in [*FILL, *WORDS[5.0], *WORDS[1.0]]}), *"0123456789.-"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True)]
    )
    folder = tmp_path_factory.mktemp("words")
    names = dict(
        zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True)
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory, word_tokenizer) -> Path:
    """A folder with a random BERT that tells two classes apart, and its tokenizer."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(word_tokenizer)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    names = {0: "negative", 1: "positive"}
    config = BertConfig(
        vocab_size=len(tokenizer), id2label=names, label2id={v: k for k, v in names.items()}, **sizes
    )
    folder = tmp_path_factory.mktemp("bert")
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_blip2(tmp_path_factory) -> Path:
    """A folder with a random BLIP-2."""
    from tests.large.blip2 import save_tiny_blip2

    return save_tiny_blip2(tmp_path_factory.mktemp("blip2"))
