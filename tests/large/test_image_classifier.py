"""ImageClassifier against the Hugging Face model called by hand."""

import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import ImageClassifier
from kcm_lightning.utils.errors import InputError

CPU = torch.device("cpu")


def images(count: int = 6) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_equals_hugging_face_one_image_at_a_time(tiny_classifier):
    folder = tiny_classifier(7)
    model = ImageClassifier(str(folder))
    model.load([f"c{i}" for i in range(7)], CPU)
    theirs = AutoModelForImageClassification.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        logits = torch.cat([theirs(**processor(images=i, return_tensors="pt")).logits for i in images()])
    ours = model.distribution(Query(images()))
    assert ours.shape == (6, 1, 7) and ours.dtype == torch.float32
    torch.testing.assert_close(ours[:, 0], logits.softmax(-1), atol=1e-5, rtol=1e-4)
    answer = model.answer(Query(images()))
    assert torch.equal(answer.prediction, logits.argmax(-1))
    torch.testing.assert_close(answer.confidence, logits.softmax(-1).amax(-1), atol=1e-5, rtol=1e-4)
    cooled = model.answer(Query(images()), temperature=0.5)
    torch.testing.assert_close(cooled.confidence, (logits / 0.5).softmax(-1).amax(-1), atol=1e-5, rtol=1e-4)


def test_classes_are_matched_by_name(tiny_classifier):
    folder = tiny_classifier(3, ["cat", "lawn_mower", "dog"])
    one, other = ImageClassifier(str(folder)), ImageClassifier(str(folder))
    one.load(["cat", "lawn mower", "dog"], CPU)
    other.load(["dog", "cat", "lawn_mower"], CPU)
    torch.testing.assert_close(
        other.distribution(Query(images())), one.distribution(Query(images()))[..., [2, 0, 1]]
    )


def test_is_frozen_and_no_module(tiny_classifier):
    model = ImageClassifier(str(tiny_classifier(7)))
    model.load([f"c{i}" for i in range(7)], CPU)
    assert not isinstance(model, torch.nn.Module)
    assert not any(p.requires_grad for p in model.model.parameters()) and not model.model.training


def test_wrong_class_count_and_unknown_name_are_one_clear_line(tiny_classifier, tmp_path):
    with pytest.raises(InputError, match="knows 7 classes, the data has 10"):
        ImageClassifier(str(tiny_classifier(7))).load([str(i) for i in range(10)], CPU)
    with pytest.raises(InputError, match=r"--model\.teacher\.name.*give its folder") as error:
        ImageClassifier("nobody/nothing").load(["a"], CPU)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="holds no model"):
        ImageClassifier(str(tmp_path)).load(["a"], CPU)


def test_stand_in_has_its_published_accuracy(real_data):
    """64.85 % on the whole test set, by its own description; read off 1,000 images with room for sampling."""
    from torchvision.datasets import CIFAR100

    test = CIFAR100(str(real_data), train=False)
    model = ImageClassifier(str(real_data / "weights" / "resnet10-cifar100"))
    model.load(test.classes, CPU)
    pixels = torch.from_numpy(test.data[:1000]).permute(0, 3, 1, 2)
    right = model.answer(Query(pixels)).prediction == torch.tensor(test.targets[:1000])
    assert 0.61 < right.float().mean().item() < 0.69
