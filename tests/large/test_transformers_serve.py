"""Chat against `transformers serve`, a real server with a small local model that was taught to answer with
one word."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import torch

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import Chat
from tests.data.review_files import rows

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.slow

TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}answer : {% endif %}"
)


def make_model(folder, word_tokenizer) -> None:
    """A Llama of two layers that says `positive` where a good word comes last and `negative` otherwise."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(word_tokenizer)
    tokenizer.add_tokens(["positive", "negative", "answer", ":", "judge", "text"])
    tokenizer.add_special_tokens({"eos_token": "[SEP]"})
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.cls_token_id,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    reviews = [row for row in rows(600, seed=5) if row["overall"] != 3]
    tokenizer.padding_side = "left"
    for step in range(150):
        batch = reviews[step % 4 :: 4][:64]
        words = ["positive" if row["overall"] > 3 else "negative" for row in batch]
        texts = [
            f"judge text {row['reviewText']} answer : {word} [SEP]"
            for row, word in zip(batch, words, strict=True)
        ]
        tokens = tokenizer(texts, padding=True, return_tensors="pt")
        labels = torch.full_like(tokens["input_ids"], -100)
        labels[:, -2:] = tokens["input_ids"][:, -2:]
        loss = model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], labels=labels
        ).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture
def server(tmp_path, word_tokenizer):
    folder = tmp_path / "chatter"
    make_model(folder, word_tokenizer)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "transformers.cli.transformers",
        "serve",
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    log = (tmp_path / "server.log").open("wb")
    process = subprocess.Popen([*command, "--device", "cpu"], env=os.environ, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert process.poll() is None, (tmp_path / "server.log").read_text()[-2000:]
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1)
                break
            except OSError:
                time.sleep(0.25)
        yield f"{url}/v1", folder
    finally:
        process.terminate()
        process.wait(30)


def test_reviews_are_answered_by_a_real_server(server, tmp_path):
    url, folder = server
    reviews = [row for row in rows(60, seed=6) if row["overall"] != 3][:24]
    model = Chat(
        str(folder),
        url,
        system="judge",
        prompt="text {text}",
        answers=str(tmp_path / "a.sqlite"),
        concurrency=2,
        confidence_without_logprobs=0.75,
        extra={"temperature": 0},
    )
    model.load(["negative", "positive"], torch.device("cpu"))
    texts = [row["reviewText"] for row in reviews]
    answer = model.answer(Query(texts))
    answered = answer.prediction >= 0
    assert answered.float().mean() > 0.9, model.store.read(
        [model._key(model._messages(t, None)) for t in texts]
    )
    right = answer.prediction == torch.tensor([int(row["overall"] > 3) for row in reviews])
    assert right[answered].float().mean() > 0.8
    usage = model.usage()
    assert usage["requests"] >= 24 and usage["tokens_in"] > 24 * 5 and usage["tokens_out"] >= answered.sum()
