"""APD: labels, splits without leaks, balance, padding, and files that are not what they should be."""

import gzip
import json
import os

import numpy as np
import pytest
import torch

from kcm_lightning.data import APD
from kcm_lightning.utils.errors import InputError
from tests.data.review_files import rows, write


@pytest.fixture(scope="module")
def make(tmp_path_factory, word_tokenizer):
    root = tmp_path_factory.mktemp("reviews")
    write(root / "reviews_Baby_5.json.gz", rows(900, seed=1))
    write(root / "Office_Products_5.json.gz", rows(1200, seed=2, products=True))  # the name of 2018
    for seed, category in enumerate(("Video_Games", "Kindle_Store", "Movies_and_TV", "Electronics"), 3):
        write(root / f"reviews_{category}_5.json.gz", rows(300, seed))

    def make(category="Baby", setup=True, **options) -> APD:
        settings = {"root": str(root), "prepared": str(root / "prepared"), **options}
        data = APD(category=category, tokenizer=str(word_tokenizer), **settings)
        if setup:
            data.setup()
        return data

    make.root = root
    return make


def texts_of(data: APD, split: str) -> set[str]:
    return set(data.batches.texts(data.positions[split]))


def test_labels_are_the_stars_and_three_stars_are_not_labelled(make):
    data = make(balance=False)
    stars = {row["reviewText"]: row["overall"] for row in rows(900, seed=1)}
    for split in ("train", "val", "test"):
        batch = data.batches[data.positions[split]]
        assert {stars[text] for text in batch["large"]} == {1.0, 2.0, 4.0, 5.0}
        assert [stars[text] > 3 for text in batch["large"]] == batch["target"].bool().tolist()
    assert {stars[text] for text in texts_of(data, "pool")} == {3.0}
    assert data.class_counts.tolist() == data.batches.labels[data.positions["train"]].bincount().tolist()


def test_balance_moves_what_is_too_much_to_the_pool(make):
    data, whole = make(), make(balance=False)
    for split in ("train", "val", "test"):
        counts = data.batches.labels[data.positions[split]].bincount().tolist()
        assert counts[0] == counts[1] == min(whole.batches.labels[whole.positions[split]].bincount().tolist())
    assert texts_of(data, "pool") == texts_of(whole, "pool") | (
        texts_of(whole, "train") - texts_of(data, "train")
    )


def test_splits_share_no_text_and_no_product(make):
    data = make("Office_Products", balance=False)
    product = {row["reviewText"]: row["asin"] for row in rows(1200, seed=2, products=True)}
    sides = [{product[text] for text in texts_of(data, split)} for split in ("val", "test")]
    sides.append({product[text] for split in ("train", "pool") for text in texts_of(data, split)})
    assert sum(map(len, sides)) == len(set.union(*sides)) == 40


def test_copies_of_a_text_are_left_out(make, tmp_path):
    reviews = rows(300, seed=9)
    copies = [{**row, "reviewText": f" {row['reviewText'].upper()}  "} for row in reviews]
    write(tmp_path / "reviews_Baby_5.json.gz", reviews + copies)
    data = make(root=str(tmp_path), prepared=str(tmp_path / "prepared"))
    assert len(data.batches) == 300 and data.fingerprint()["read"]["Baby"]["copies"] == 300


def test_a_review_is_on_the_same_side_alone_and_with_other_categories(make):
    alone, together = make("Baby"), make("all")
    for split in ("train", "val", "test", "pool"):
        assert texts_of(alone, split) <= texts_of(together, split)
    assert len(together.batches.facts["categories"]) == 6
    place = {text: key for key, text in zip(*_keys_and_texts(alone), strict=True)}
    for key, text in zip(*_keys_and_texts(together), strict=True):
        assert place.get(text, key) == key  # the sample id does not depend on the selection either


def _keys_and_texts(data):
    every = torch.arange(len(data.batches))
    return data.batches.keys.tolist(), data.batches.texts(every)


def test_the_split_is_the_same_each_time_and_has_a_hash(make, tmp_path):
    first, second = make(), make(prepared=str(tmp_path))
    assert first.fingerprint() == second.fingerprint() and first.splits() == second.splits()
    assert first.fingerprint()["test"]["sha256"] != make(test_share=0.3).fingerprint()["test"]["sha256"]


def test_tokens_are_the_tokenizers_and_padding_is_zero(make):
    data = make(max_tokens=12)
    batch = data.batches[data.positions["test"][:50]]
    lengths = []
    for tokens, text in zip(batch["small"], batch["large"], strict=True):
        wanted = data.tokenizer(text, add_special_tokens=False)["input_ids"][:12]
        assert tokens[: len(wanted)].tolist() == wanted and not tokens[len(wanted) :].any()
        lengths.append(len(wanted))
    assert batch["small"].shape[1] == max(lengths) == 12
    whole = [
        len(data.tokenizer(text)["input_ids"]) for text in data.batches.texts(torch.arange(len(data.batches)))
    ]
    assert data.fingerprint()["truncated"] == pytest.approx(sum(length > 12 for length in whole) / len(whole))


def test_batches_hold_reviews_of_like_length(make):
    data = make(batch_size=20, eval_batch_size=50)
    order = data._order(data.positions["train"], 20, shuffle=True, seed=0)
    padding = sum((b["small"] == 0).sum().item() for b in map(data.batches.__getitem__, order))
    plain = torch.randperm(len(data.positions["train"])).split(20)
    wasted = sum((data.batches[data.positions["train"][rows]]["small"] == 0).sum().item() for rows in plain)
    assert padding < wasted / 3
    first = list(order)
    order.set_epoch(1)
    again = list(order)
    assert len(torch.cat(first).unique()) == len(torch.cat(first)) == 20 * len(order)
    assert {frozenset(batch.tolist()) for batch in first} != {frozenset(batch.tolist()) for batch in again}
    seen = torch.cat([batch["index"] for batch in data.distill_dataloader()])
    assert sorted(seen.tolist()) == sorted(data.splits()["train"])


def test_token_dropout_masks_words_in_training_alone(make):
    data = make(token_dropout=0.5)
    batch = data.batches[data.positions["test"][:50]]
    clean, dropped = (data.view(batch, augment=a)["small"] for a in (False, True))
    words = clean != 0
    assert torch.equal(clean, batch["small"]) and torch.equal(dropped != 0, words)
    changed = (dropped != clean)[words]
    assert (
        0.4 < changed.float().mean() < 0.6
        and (dropped[dropped != clean] == data.tokenizer.mask_token_id).all()
    )


def test_a_users_own_texts(make):
    data = make()
    batch = data.batch_of(["great box", "awful", ""])
    assert batch["small"].shape == (3, 2) and batch["large"][1] == "awful"
    assert data.batch_of(("great box",))["large"] == ["great box"]
    for wrong, said in (
        ("one text", "not str"),
        (b"one text", "not bytes"),
        ([], "this one is empty"),
        ([1], "number 0 is int"),
        (["a", None], "number 1 is NoneType"),
        (torch.zeros(2, 3), "not Tensor"),
        (torch.zeros(0), "not Tensor"),
        (np.array(["a", "b"]), "not ndarray"),
        ({"a": 1}, "not dict"),
        ({"a"}, "not set"),
        (iter(["a"]), "not list_iterator"),
        (None, "not NoneType"),
        (5, "not int"),
    ):
        with pytest.raises(InputError, match=f"inputs must be a list of texts.* {said}$"):
            data.batch_of(wrong)


def test_lines_that_are_no_json_are_skipped_counted_and_named(make, tmp_path):
    lines = [json.dumps(row) for row in rows(600, seed=3)]
    lines[10] = "{broken"
    lines[400] = '["a", "list"]'
    lines[500] = json.dumps({"overall": 5.0})
    path = tmp_path / "reviews_Baby_5.json"
    path.write_text("\n".join(lines))
    read = make(root=str(tmp_path), prepared=str(tmp_path / "p")).fingerprint()["read"]["Baby"]
    assert (read["broken_lines"], read["first_broken_lines"], read["without_text_or_stars"]) == (
        2,
        [11, 401],
        1,
    )
    path.write_text("\n".join(lines[:100] + ["{"] * 5))
    with pytest.raises(InputError, match=r"6 of 105 lines are no JSON \(lines 11, 101, "):
        make(root=str(tmp_path), prepared=str(tmp_path / "q"))
    assert not (tmp_path / "q").exists() or not list((tmp_path / "q").iterdir())


def test_damaged_files(make, tmp_path):
    whole = (make.root / "reviews_Baby_5.json.gz").read_bytes()
    path = tmp_path / "reviews_Baby_5.json.gz"
    damaged = {
        "no gzip file": b"this is text",
        "is cut off after": whole[: len(whole) // 2],
        "damaged": _flipped(whole),
    }
    for said, content in damaged.items():
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            make(root=str(tmp_path), prepared=str(tmp_path / "p"))
    assert not list((tmp_path / "p").glob("*"))


def _flipped(content: bytes) -> bytes:
    """A gzip file with one wrong byte in what the checksum is over."""
    raw = bytearray(gzip.decompress(content))
    packed = bytearray(gzip.compress(bytes(raw), compresslevel=0))
    packed[len(packed) // 2] ^= 1
    return bytes(packed)


def test_bad_options(make, tmp_path):
    with pytest.raises(InputError, match=r"no reviews of 'Toys'.*only of Baby, .*known are Video_Games"):
        make("Toys")
    with pytest.raises(InputError, match="no reviews of 'Baby'"):
        make(root=str(tmp_path))
    for options in (
        {"test_share": 1.5},
        {"test_share": 0.6, "val_share": 0.5},
        {"token_dropout": 1.0},
        {"batch_size": 0},
    ):
        with pytest.raises(InputError):
            make(setup=False, **options)
    write(
        tmp_path / "reviews_Baby_5.json.gz",
        [row for row in rows(300, seed=4) if row["overall"] != 1 and row["overall"] != 2],
    )
    with pytest.raises(InputError, match=r"Baby has no negative review in its train split"):
        make(root=str(tmp_path), prepared=str(tmp_path / "p"))


def test_odd_lines_stop_nothing(make, tmp_path):
    reviews = rows(600, seed=3)
    odd = [
        {"overall": 3.5},
        {"overall": "5.0"},
        {"overall": True},
        {"overall": 7},
        {"overall": float("nan")},
        {"reviewText": 5},
    ]
    for row, change in zip(reviews, odd, strict=False):
        row |= change
    reviews[50]["asin"], reviews[51]["asin"] = 12345, ["a"]
    reviews[60]["reviewText"] = "half a pair \ud83d"
    write(tmp_path / "reviews_Baby_5.json.gz", reviews)
    read = make(root=str(tmp_path), prepared=str(tmp_path / "p")).fingerprint()["read"]["Baby"]
    assert read["without_text_or_stars"] == 6 and read["first_broken_lines"] == [61]


def test_a_text_of_two_products_is_tested_on_or_trained_on_but_not_both(make, tmp_path):
    from kcm_lightning.data.reviews import Review, side_of

    products = [f"P{n}" for n in range(200)]
    side = {p: side_of(Review("x", 5.0, p), 0.2, 0.1) for p in products}
    train, test = (next(p for p in products if side[p] == split) for split in ("train", "test"))
    for category, product, seed in (("Baby", train, 7), ("Office_Products", test, 8)):
        own = {"reviewText": "great box, in two shops", "overall": 5.0, "asin": product}
        write(tmp_path / f"reviews_{category}_5.json.gz", [*rows(300, seed), own])
    for seed, name in enumerate(("Video_Games", "Kindle_Store", "Movies_and_TV", "Electronics"), 20):
        write(tmp_path / f"reviews_{name}_5.json.gz", rows(300, seed))
    options = {"root": str(tmp_path), "prepared": str(tmp_path / "p"), "balance": False}
    assert "great box, in two shops" in texts_of(make("Office_Products", **options), "test")
    together = make("all", **options)
    assert "great box, in two shops" in texts_of(together, "test")
    assert not any(
        "great box, in two shops" in texts_of(together, split) for split in ("train", "pool", "val")
    )


def test_what_a_killed_process_left_is_no_obstacle(make, tmp_path):
    folder = make(setup=False, prepared=str(tmp_path / "p"))._folder()
    left = folder.with_name(f".{folder.name}.abc")
    left.mkdir(parents=True)
    os.utime(left, (0, 0))  # long ago: nobody is writing there any more
    make(prepared=str(tmp_path / "p"))
    assert not left.exists() and folder.is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written to"):
        make(prepared=str(tmp_path / "file" / "p"))


def test_tokenizers_that_do_not_fit(make, tmp_path, word_tokenizer):
    from transformers import AutoTokenizer, CanineTokenizer, PreTrainedTokenizerFast

    tokenizer = AutoTokenizer.from_pretrained(word_tokenizer)
    other = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, pad_token="[UNK]", unk_token="[UNK]"
    )
    other.save_pretrained(tmp_path / "padded")
    with pytest.raises(InputError, match="does not pad with token 0"):
        APD(str(make.root), "Baby", tokenizer=str(tmp_path / "padded"), prepared=str(tmp_path / "p")).setup()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, pad_token="[PAD]").save_pretrained(
        tmp_path / "bare"
    )
    bare = {"tokenizer": str(tmp_path / "bare"), "prepared": str(tmp_path / "p")}
    with pytest.raises(InputError, match="has no mask token"):
        APD(str(make.root), "Baby", token_dropout=0.1, **bare).setup()
    data = APD(str(make.root), "Baby", **bare)
    assert data.batch_of([""])["small"].tolist() == [[1]]
    CanineTokenizer().save_pretrained(tmp_path / "slow")
    with pytest.raises(InputError, match=r"--data\.tokenizer: .*slow' is no fast tokenizer"):
        APD(str(make.root), "Baby", tokenizer=str(tmp_path / "slow"), prepared=str(tmp_path / "p")).setup()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match=r"--data\.tokenizer"):
        APD(str(make.root), "Baby", tokenizer=str(tmp_path / "empty"), prepared=str(tmp_path / "p")).setup()


def test_real_reviews(real_data, tmp_path):
    tokenizer = str(real_data / "weights" / "bert-uncased-tokenizer")
    data = APD(str(real_data / "apd"), "Baby", tokenizer=tokenizer, prepared=str(tmp_path))
    data.setup()
    sizes = {split: len(positions) for split, positions in data.positions.items()}
    assert 2_300 < sizes["train"] < 2_800 and 600 < sizes["test"] < 850 and 250 < sizes["val"] < 450
    assert 0.05 < data.fingerprint()["truncated"] < 0.25
