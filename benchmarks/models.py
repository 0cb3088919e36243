"""Large models of realistic size with random weights, which do not change the time."""

from pathlib import Path


def resnet10(folder: Path) -> Path:
    """Writes a ResNet of 4.9 M parameters for 32x32 pixels and 100 classes into a folder."""
    from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

    config = ResNetConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[64, 128, 256, 512], layer_type="basic", num_labels=100
    )
    ResNetForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
