"""A tiny random BLIP-2 with a word tokenizer, in Hugging Face's format."""

from pathlib import Path

import torch


def _tokenizer_of_words():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [
        "<pad>",
        "<s>",
        "</s>",
        "<unk>",
        *[
            "a",
            "photo",
            "of",
            "the",
            "dog",
            "cat",
            "man",
            "on",
            "grass",
            "small",
            "model",
            "says",
            "red",
            "with",
            ":",
        ],
        *["green", "blue", "white", "wall", "is", "this", "image", "shows", "all", "there", "over"],
        *"0123456789%.",
    ]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def save_tiny_blip2(folder: Path, width: int = 32, layers: int = 2, image: int = 16) -> Path:
    """Writes a random BLIP-2 into a folder.

    Args:
        folder: which exists.
        width: of all its features.
        layers: of each of its three parts.
        image: height and width that it sees, pixels.
    """
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        BlipImageProcessor,
        OPTConfig,
    )

    torch.manual_seed(0)
    tokenizer = _tokenizer_of_words()
    processor = Blip2Processor(
        BlipImageProcessor(size={"height": image, "width": image}), tokenizer, num_query_tokens=4
    )
    sizes = {
        "hidden_size": width,
        "num_attention_heads": 2,
        "num_hidden_layers": layers,
        "intermediate_size": width * 3 // 2,
    }
    text = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        word_embed_proj_dim=width,
        ffn_dim=width * 3 // 2,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = Blip2Config(
        vision_config=Blip2VisionConfig(image_size=image, patch_size=8, **sizes).to_dict(),
        qformer_config=Blip2QFormerConfig(
            vocab_size=20, encoder_hidden_size=width, cross_attention_frequency=1, **sizes
        ).to_dict(),
        text_config=text.to_dict(),
        num_query_tokens=4,
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config).eval()
    model.resize_token_embeddings(len(processor.tokenizer))
    with torch.no_grad():  # far from uniform, and it ends captions
        for parameter in model.parameters():
            parameter.mul_(3.0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
