"""A random CLIP with a word tokenizer, in Hugging Face's format."""

from pathlib import Path

import torch

WORDS = [
    "<pad>",
    "<bos>",
    "<eos>",
    "<unk>",
    *["this", "is", "a", "photo", "of", "the", "with", "probability", "good", "bad"],
]
WORDS += [".", *(str(i) for i in range(10)), *(f"class{i}" for i in range(10))]


def save_clip(folder: Path, full: bool = False) -> Path:
    """Writes a random CLIP into a folder.

    Args:
        folder: which exists.
        full: of the size of ViT-B/32, else of 32-dimensional features.
    """
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    _tokenizer().save_pretrained(folder)
    tokens = {
        "vocab_size": len(WORDS),
        "max_position_embeddings": 40,
        "eos_token_id": 2,
        "bos_token_id": 1,
        "pad_token_id": 0,
    }
    tiny = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = CLIPTextConfig(**tokens, **({} if full else tiny))
    vision = CLIPVisionConfig() if full else CLIPVisionConfig(image_size=32, patch_size=8, **tiny)
    size = vision.image_size
    torch.manual_seed(0)
    CLIPModel(
        CLIPConfig(text_config=text, vision_config=vision, projection_dim=512 if full else 32)
    ).save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    ).save_pretrained(folder)
    return folder


def _tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Whitespace(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Digits(individual_digits=False),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)]
    )
    names = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
