"""A head on a frozen encoder: what is trained, saved and shared, and what the encoder is shown."""

import copy

import pytest
import torch
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification

from kcm_lightning.small import EncoderWithHead
from kcm_lightning.utils.errors import InputError


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A folder with a small random ResNet and its processor."""
    from transformers import ConvNextImageProcessorFast, ResNetConfig

    folder = tmp_path_factory.mktemp("resnet")
    torch.manual_seed(1)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    size = {"height": 40, "width": 40}
    processor = ConvNextImageProcessorFast(size={"shortest_edge": 40}, crop_size=size, crop_pct=1.0)
    processor.image_mean, processor.image_std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    processor.save_pretrained(folder)
    return folder


def test_only_the_head_is_trained_and_saved(resnet):
    model = EncoderWithHead(5, str(resnet))
    names = [name for name, own in model.named_parameters() if own.requires_grad]
    assert names and all(name.startswith(("norm.", "head.")) for name in names)
    assert {name.split(".")[0] for name in model.state_dict()} == {"norm", "head", "encoder_mark"}
    before = copy.deepcopy(model.state_dict())
    student = copy.deepcopy(model)
    assert student._encoder is model._encoder  # shared, not copied
    model.train()
    model(torch.randn(8, 3, 32, 32)).square().mean().backward()
    assert not model._encoder.model.training
    torch.testing.assert_close(student.state_dict(), before)


@pytest.mark.parametrize("head", ["kan", "linear"])
@pytest.mark.parametrize("size", ["s", "m", "l"])
def test_sizes_and_heads(resnet, head, size):
    model = EncoderWithHead(5, str(resnet), head=head, size=size).eval()
    for side in (28, 64, 224):
        assert model(torch.randn(2, 3, side, side)).shape == (2, 5)


def test_images_reach_the_encoder_as_its_processor_makes_them(resnet):
    model = EncoderWithHead(5, str(resnet))
    pixels = torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8)
    mean, std = (
        torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    processor, encoder = AutoImageProcessor.from_pretrained(resnet), AutoModel.from_pretrained(resnet).eval()
    wanted = processor(images=list(pixels), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = encoder(pixel_values=wanted).pooler_output.flatten(1)
    torch.testing.assert_close(model._pooled((pixels / 255 - mean) / std), expected, rtol=1e-4, atol=1e-5)


def test_texts_are_pooled_over_their_tokens(tiny_bert):
    model = EncoderWithHead(4, str(tiny_bert)).eval()
    assert model.vocab_size == model._encoder.model.config.vocab_size
    short, long = torch.tensor([[5, 6, 7]]), torch.tensor([[5, 6, 7, 0, 0]])
    torch.testing.assert_close(model(short), model(long))
    encoder = AutoModel.from_pretrained(tiny_bert).eval()
    with torch.no_grad():
        expected = encoder(input_ids=short).last_hidden_state.mean(1)
    torch.testing.assert_close(model._pooled(short), expected)
    assert model(torch.zeros(2, 3, dtype=torch.long)).isfinite().all()  # a text without tokens


def test_a_checkpoint_of_another_encoder_is_refused(resnet, tmp_path):
    model = EncoderWithHead(5, str(resnet))
    changed = AutoModelForImageClassification.from_pretrained(resnet)
    with torch.no_grad():
        next(changed.parameters()).add_(1)
    changed.save_pretrained(tmp_path)
    AutoImageProcessor.from_pretrained(resnet).save_pretrained(tmp_path)
    EncoderWithHead(5, str(resnet)).load_state_dict(model.state_dict())
    with pytest.raises(InputError, match="trained on another encoder"):
        EncoderWithHead(5, str(tmp_path)).load_state_dict(model.state_dict())


def test_what_is_no_encoder_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"--model\.judge\.encoder") as error:
        EncoderWithHead(5, str(tmp_path))
    assert "\n" not in str(error.value)
