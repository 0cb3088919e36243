"""A tiny random BLIP-2 with a word tokenizer, in Hugging Face's format."""

from pathlib import Path

import torch

SIZES = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 48}


def _tokenizer_of_words():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [
        "<pad>",
        "<s>",
        "</s>",
        "<unk>",
        *["a", "photo", "of", "the", "dog", "cat", "man", "on", "grass", "small", "model", "says", "red", "with", ":"],
        *["green", "blue", "white", "wall", "is", "this", "picture", "shows", "all", "there", "over"],
        *"0123456789%.",
    ]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def save_tiny_blip2(folder: Path) -> Path:
    """Writes a random BLIP-2 of 32-dimensional features into a folder."""
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
    processor = Blip2Processor(BlipImageProcessor(size={"height": 16, "width": 16}), tokenizer, num_query_tokens=4)
    text = OPTConfig(
        vocab_size=len(tokenizer), hidden_size=32, word_embed_proj_dim=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config = Blip2Config(
        vision_config=Blip2VisionConfig(image_size=16, patch_size=8, **SIZES).to_dict(),
        qformer_config=Blip2QFormerConfig(vocab_size=20, encoder_hidden_size=32, cross_attention_frequency=1, **SIZES).to_dict(),
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
