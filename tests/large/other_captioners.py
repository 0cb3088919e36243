"""Tiny random BLIP and GIT with BERT-like special tokens, in Hugging Face's format."""

from pathlib import Path

import torch

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[DEC]",
    "a",
    "photo",
    "of",
    "the",
    "dog",
    "cat",
    "man",
    "on",
    "grass",
]
WORDS += ["small", "model", "says", "red", "with", ":", "green", "blue", "white", "wall", "[never]"]
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**SIZES, "image_size": 16, "patch_size": 8}


def _tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def save_blip(folder: Path) -> Path:
    """A BLIP that often ends its captions early, at its separator and not at the end that its configuration
    names."""
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    torch.manual_seed(3)
    text = {
        **SIZES,
        "vocab_size": len(WORDS),
        "encoder_hidden_size": 32,
        "max_position_embeddings": 64,
        "projection_dim": 32,
    }
    text |= {"bos_token_id": 5, "pad_token_id": 0, "eos_token_id": len(WORDS) - 1, "sep_token_id": 3}
    config = BlipConfig(
        text_config=text,
        vision_config={**VISION, "projection_dim": 32},
        projection_dim=32,
        image_text_hidden_size=32,
    )
    model = BlipForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(14.0 if "crossattention" in name or "vision" in name else 5.0)
        bias = model.text_decoder.cls.predictions.bias
        bias.zero_()
        bias[0], bias[3], bias[-1] = -8, 2.5, -30
    model.save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size={"height": 16, "width": 16}), _tokenizer()).save_pretrained(folder)
    return folder


def save_git(folder: Path) -> Path:
    """A GIT."""
    from transformers import CLIPImageProcessor, GitConfig, GitForCausalLM, GitProcessor

    torch.manual_seed(0)
    config = GitConfig(
        **SIZES,
        vocab_size=len(WORDS),
        max_position_embeddings=64,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        vision_config=VISION,
    )
    model = GitForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    model.save_pretrained(folder)
    processor = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    GitProcessor(processor, _tokenizer()).save_pretrained(folder)
    return folder
