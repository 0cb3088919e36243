"""TKAN and its twin: padding, shared skeleton, learning, embeddings from a large model."""

import pytest
import torch

from kcm_lightning.kan import KANLinear, KANRecurrent
from kcm_lightning.small import GRU, TKAN
from kcm_lightning.utils.errors import InputError

SMALL = {"vocab_size": 50, "embedding": 12, "width": 8}


@pytest.mark.parametrize("make", [TKAN, GRU])
def test_padding_never_changes_an_answer(make):
    torch.manual_seed(0)
    model = make(3, **SMALL).eval()
    tokens = torch.randint(1, 50, (4, 9))
    tokens[1, 4:] = 0
    alone = torch.cat([model(row[row != 0].unsqueeze(0)) for row in tokens])
    padded = model(torch.cat([tokens, torch.zeros(4, 20, dtype=torch.long)], dim=1))
    torch.testing.assert_close(model(tokens), alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("make", [TKAN, GRU])
def test_a_text_without_tokens_has_an_answer(make):
    logits = make(3, **SMALL).eval()(torch.tensor([[0, 0], [4, 5]]))
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("make", [TKAN, GRU])
def test_every_parameter_learns_and_order_of_words_matters(make):
    torch.manual_seed(0)
    model = make(2, dropout=0.0, **SMALL)
    tokens = torch.randint(1, 50, (64, 6))
    target = (tokens[:, 0] > tokens[:, 1]).long()  # a bag of words cannot tell
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(model(tokens), target)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
    assert (model(tokens).argmax(-1) == target).float().mean() > 0.95


def test_twins_share_the_skeleton():
    def skeleton(model):
        return [
            (name, tuple(p.shape))
            for name, p in model.named_parameters()
            if not name.startswith(("reader", "head"))
        ]

    kan, gru = TKAN(2, **SMALL), GRU(2, **SMALL)
    assert skeleton(kan) == skeleton(gru)
    assert isinstance(kan.reader, KANRecurrent) and isinstance(kan.head, KANLinear)


def test_embeddings_start_as_principal_components_of_a_large_model(tmp_path):
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=50, max_position_embeddings=16, **sizes)
    large = BertModel(config)
    large.save_pretrained(tmp_path)
    model = TKAN(2, embeddings_from=str(tmp_path), vocab_size=50, embedding=16, width=8)
    model.initialize()
    table = large.get_input_embeddings().weight.detach()
    # all components together keep every distance between words, up to one scale
    ours, theirs = (
        torch.cdist(model.embed.weight[1:], model.embed.weight[1:]),
        torch.cdist(table[1:], table[1:]),
    )
    ratio = ours[~torch.eye(49, dtype=bool)] / theirs[~torch.eye(49, dtype=bool)]
    assert (ratio.max() - ratio.min()) / ratio.mean() < 1e-3
    TKAN(2, embeddings_from=str(tmp_path), vocab_size=40, embedding=8, width=8).initialize()  # rows to spare
    for sizes in ({"vocab_size": 60, "embedding": 8}, {"vocab_size": 50, "embedding": 32}):
        with pytest.raises(InputError, match="it embeds 50 tokens in 16 features"):
            TKAN(2, embeddings_from=str(tmp_path), width=8, **sizes).initialize()
