"""ImageClassifier against the Hugging Face model called by hand."""

import json
import shutil

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


def answers_of(folder, class_names, **options):
    model = ImageClassifier(str(folder), **options)
    model.load(class_names, CPU)
    return model.distribution(Query(images()))


def test_a_name_that_is_wrong_by_a_letter_is_an_error(tiny_classifier):
    folder = tiny_classifier(4, ["turtle", "cra", "dog", "lawn_mower"])
    data = ["crab", "dog", "lawn_mower", "turtle"]
    with pytest.raises(InputError, match=r"3 of the 4 class names match.*'cra' \(perhaps 'crab'\)"):
        answers_of(folder, data)
    by_hand = answers_of(folder, ["turtle", "cra", "dog", "lawn_mower"])[..., [1, 2, 3, 0]]
    torch.testing.assert_close(answers_of(folder, data, labels={"cra": "crab"}), by_hand)


def test_other_names_are_in_order_only_where_the_user_says_so(tiny_classifier):
    folder = tiny_classifier(3, ["kitten", "mower", "puppy"])
    data = ["cat", "lawn_mower", "dog"]
    with pytest.raises(InputError, match=r"none of the model's class names .*labels=by_position"):
        answers_of(folder, data)
    in_order = answers_of(folder, ["kitten", "mower", "puppy"])
    torch.testing.assert_close(answers_of(folder, data, labels="by_position"), in_order)
    turned = {"kitten": "dog", "puppy": "cat", "mower": "lawn mower"}
    torch.testing.assert_close(answers_of(folder, data, labels=turned), in_order.flip(-1))


def test_names_that_say_nothing_are_in_order(tiny_classifier):
    with pytest.warns(UserWarning, match="say nothing"):
        unnamed = answers_of(tiny_classifier(3), ["cat", "mower", "dog"])
    torch.testing.assert_close(unnamed, answers_of(tiny_classifier(3, ["a", "b", "c"]), ["a", "b", "c"]))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            None,
            r"weights of other shapes than its config\.json says \(classifier\.1\.bias is \[4\], by config",
        ),
        ({}, "the model knows 0 classes, the data has 4"),
        ({"0": "a", "1": None, "2": "c", "3": "d"}, "class 1 of the model has no name in its `id2label`"),
        ({"1": "a", "2": "b", "3": "c", "4": "d"}, r"names its classes \[1, 2, 3, 4\], not from 0 on"),
        (["a", "b", "c", "d"], "holds no model that loads"),
        ("abcd", "holds no model that loads"),
    ],
)
def test_a_configuration_whose_classes_are_odd_is_one_line(tiny_classifier, tmp_path, labels, said):
    """For null it was "For details look at the above report!"."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_classifier(4, ["a", "b", "c", "d"]), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": labels}))
    with pytest.raises(InputError, match=rf"^--model\.teacher\.name: .*{said}") as found:
        answers_of(folder, ["a", "b", "c", "d"])
    assert "\n" not in str(found.value) and "report" not in str(found.value)


def test_a_second_load_with_other_classes_counts(tiny_classifier):
    model = ImageClassifier(str(tiny_classifier(3, ["cat", "lawn_mower", "dog"])))
    model.load(["cat", "lawn mower", "dog"], CPU)
    before = model.distribution(Query(images()))
    model.load(["dog", "cat", "lawn mower"], CPU)
    torch.testing.assert_close(model.distribution(Query(images())), before[..., [2, 0, 1]])


@pytest.fixture(scope="module")
def timm_folder(tmp_path_factory):
    """A folder with a random model of timm, as the hub has them."""
    timm = pytest.importorskip("timm")
    from transformers.models.timm_wrapper import TimmWrapperConfig, TimmWrapperForImageClassification

    torch.manual_seed(0)
    how = {"input_size": [3, 32, 32], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25], "crop_pct": 1.0}
    how |= {"interpolation": "bicubic", "architecture": "resnet10t", "num_classes": 3}
    assert timm.is_model("resnet10t")
    config = {"architecture": "resnet10t", "num_classes": 3, "label_names": ["cat", "mower", "dog"]}
    folder = tmp_path_factory.mktemp("timm")
    TimmWrapperForImageClassification(
        TimmWrapperConfig.from_dict(config | {"pretrained_cfg": how})
    ).save_pretrained(folder)
    return folder


def test_models_of_timm_answer_as_timm_does(timm_folder):
    """Against torch's own arithmetic: the images are as large as the model wants them."""
    found = answers_of(timm_folder, ["dog", "cat", "mower"])
    bare = AutoModelForImageClassification.from_pretrained(timm_folder).eval()
    mean, std = torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([0.2, 0.3, 0.25])[:, None, None]
    with torch.no_grad():
        logits = bare((images() / 255 - mean) / std).logits
    torch.testing.assert_close(found[:, 0], logits.softmax(-1)[:, [2, 0, 1]], atol=1e-5, rtol=1e-4)
    one, other = ImageClassifier(str(timm_folder)), ImageClassifier(str(timm_folder))
    for model in (one, other):
        model.load(["dog", "cat", "mower"], CPU)
    assert one.identity == other.identity


FAMILIES = {
    "vit": ("ViTConfig", {"image_size": 48, "patch_size": 16, "hidden_size": 16, "intermediate_size": 32}),
    "convnext": ("ConvNextConfig", {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}),
    "resnet": ("ResNetConfig", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}),
}


def family_folder(family: str, folder, timm_folder):
    """A tiny random model of a family with its own image processor, which resizes to 48 pixels."""
    import transformers

    if family == "timm":
        return timm_folder
    name, options = FAMILIES[family]
    if family == "vit":
        options = options | {"num_hidden_layers": 2, "num_attention_heads": 2}
    names = {"id2label": {0: "cat", 1: "mower", 2: "dog"}, "label2id": {"cat": 0, "mower": 1, "dog": 2}}
    torch.manual_seed(0)
    config = getattr(transformers, name)(**options, **names)
    AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    processors = {"vit": "ViTImageProcessor", "convnext": "ConvNextImageProcessor"}
    processor = getattr(transformers, processors.get(family, "ConvNextImageProcessor"))
    size = {"height": 48, "width": 48} if family == "vit" else {"shortest_edge": 48}
    processor(size=size).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["timm", "vit", "convnext", "resnet"])
def test_equals_the_pipeline_of_transformers(family, tmp_path, timm_folder):
    """On images of another size than the model wants, one by one against a batch."""
    from PIL import Image
    from transformers import pipeline

    folder = family_folder(family, tmp_path, timm_folder)
    pixels = torch.randint(0, 256, (5, 3, 40, 40), generator=torch.Generator().manual_seed(1)).byte()
    model = ImageClassifier(str(folder))
    model.load(["cat", "mower", "dog"], CPU)
    found = model.distribution(Query(pixels))[:, 0]
    theirs = pipeline("image-classification", model=str(folder), top_k=None, device="cpu")
    for row, image in enumerate(pixels):
        said = theirs(Image.fromarray(image.permute(1, 2, 0).numpy()))
        scores = {own["label"]: own["score"] for own in said}
        wanted = torch.tensor([scores[name] for name in ("cat", "mower", "dog")])
        torch.testing.assert_close(found[row], wanted, atol=1e-4, rtol=0)


def test_weights_that_are_in_no_file_are_not_made_up(tmp_path, tiny_classifier):
    """Hugging Face fills them with random numbers: a head that was never trained."""
    from transformers import AutoModel

    shutil.copytree(tiny_classifier(3), tmp_path / "model")
    AutoModel.from_pretrained(tmp_path / "model").save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match=r"lack 2 of the weights of .* fine-tune it first"):
        ImageClassifier(str(tmp_path / "model")).load(["a", "b", "c"], CPU)


def test_an_unknown_precision_is_named_at_once():
    with pytest.raises(InputError, match="precision='half' is none of float32, float16, bfloat16, auto"):
        ImageClassifier("x", precision="half")


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
