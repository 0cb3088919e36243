"""Review files of any content: each line is a review or counted, in little memory, and the bar moves."""

import gzip
import io
import json
import multiprocessing
import resource
from pathlib import Path

import pytest
from tqdm import tqdm
from transformers import AutoTokenizer

from kcm_lightning.data import APD
from kcm_lightning.data import reviews as module
from kcm_lightning.data.review_store import Recipe, store_reviews
from kcm_lightning.data.reviews import MAX_LINE, Skipped, read_reviews
from kcm_lightning.data.text_store import TextStore, tokens_of
from kcm_lightning.utils.errors import InputError
from tests.data.review_files import rows


def read(path) -> tuple[list, Skipped]:
    skipped = Skipped()
    return list(read_reviews(path, skipped)), skipped


@pytest.mark.parametrize("zipped", [False, True])
def test_every_line_is_a_review_or_counted(tmp_path, zipped):
    sound = [json.dumps(row) for row in rows(1_000, seed=1)]
    odd = {
        3: '{"reviewText": "a", "overall": 5, "overall": 1}',
        50: '{"reviewText": "a", "overall": ' + "[" * 100_000,
        60: '{"reviewText": "' + "x" * MAX_LINE + '", "overall": 5}',
        61: '{"reviewText": "' + "x" * (MAX_LINE - 40) + '", "overall": 5}',
        70: "",
        80: '{"reviewText": "", "overall": 5}',
        90: '{"reviewText": "a", "overall": 1e999}',
        95: '{"reviewText": "a", "overall": -1}',
    }
    for place, line in odd.items():
        sound[place] = line
    path = tmp_path / ("a.json.gz" if zipped else "a.json")
    content = ("\ufeff" + "\n".join(sound)).encode()
    path.write_bytes(gzip.compress(content) if zipped else content)
    found, skipped = read(path)
    assert skipped.read == 1_000 and len(found) == 1_000 - 7
    assert (skipped.broken, skipped.too_long) == ([4, 51], [61])
    assert (skipped.blank, skipped.empty) == (1, 3)
    assert max(len(review.text) for review in found) == MAX_LINE - 40
    assert found[0].text == json.loads(json.dumps(rows(1_000, seed=1)[0]))["reviewText"]


@pytest.mark.parametrize("zipped", [False, True])
def test_the_bar_moves_to_the_end(tmp_path, monkeypatch, zipped):
    """It stood still for files that are not gzipped."""
    bars = []

    class Kept(tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options, file=io.StringIO())
            self.seen = []
            bars.append(self)

        def update(self, n=1):
            super().update(n)
            self.seen.append(self.n)

    monkeypatch.setattr(module, "tqdm", Kept)
    content = "".join(json.dumps(row) + "\n" for row in rows(12_000, seed=1)).encode()
    path = tmp_path / ("a.json.gz" if zipped else "a.json")
    path.write_bytes(gzip.compress(content) if zipped else content)
    read(path)
    (bar,) = bars
    assert len(bar.seen) == 3 and 0 < bar.seen[0] < bar.seen[1] < bar.seen[2] == path.stat().st_size


def test_what_was_left_out_is_said_and_adds_up(tmp_path, word_tokenizer):
    lines = [json.dumps(row) for row in rows(600, seed=3)]
    lines[5] = '{"reviewText": "a", "reviewText": "b", "overall": 5}'
    lines[6] = '{"reviewText": "' + "x" * MAX_LINE + '", "overall": 5}'
    lines[7] = lines[8]
    lines[9] = ""
    (tmp_path / "reviews_Baby_5.json").write_text("\n".join(lines))
    data = APD(str(tmp_path), "Baby", tokenizer=str(word_tokenizer), prepared=str(tmp_path / "p"))
    said = r"Baby: left out: 1 lines that are no JSON object \(6\); 1 lines over 500,000 bytes \(7\)$"
    with pytest.warns(UserWarning, match=said):
        data.setup()
    found = data.fingerprint()
    facts = found["read"]["Baby"]
    assert facts == {
        "lines": 600,
        "broken_lines": 1,
        "first_broken_lines": [6],
        "too_long_lines": 1,
        "first_too_long_lines": [7],
        "blank_lines": 1,
        "without_text_or_stars": 0,
        "copies": 1,
        "contradicting_copies": 0,
    }
    used = sum(found[split]["samples"] for split in ("train", "val", "test", "pool"))
    assert used + found["unused"] + 1 + 1 + 1 + 1 == facts["lines"]


def test_the_same_review_with_both_labels_is_counted_and_said(tmp_path, word_tokenizer):
    reviews = rows(600, seed=3)
    other = {1.0: 5.0, 2.0: 3.0, 4.0: 2.0, 5.0: 5.0, 3.0: 3.0}  # 5 and 3 stars as they are
    copies = [
        {**row, "reviewText": row["reviewText"].upper(), "overall": other[row["overall"]]} for row in reviews
    ]
    content = "\n".join(map(json.dumps, [*reviews, *copies]))
    (tmp_path / "reviews_Baby_5.json").write_text(content)
    data = APD(
        str(tmp_path), "Baby", tokenizer=str(word_tokenizer), prepared=str(tmp_path / "p"), balance=False
    )
    contradicting = sum(row["overall"] in (1.0, 2.0, 4.0) for row in reviews)
    with pytest.warns(UserWarning, match=f"left out: {contradicting} copies of a review with another rating"):
        data.setup()
    facts = data.fingerprint()["read"]["Baby"]
    assert facts["copies"] == 600 and facts["contradicting_copies"] == contradicting > 200
    stars = {row["reviewText"]: row["overall"] for row in reviews}  # the first rating counts
    for split in ("train", "val", "test"):
        batch = data.batches[data.positions[split]]
        assert [stars[text] > 3 for text in batch["large"]] == batch["target"].bool().tolist()


def test_a_file_of_one_endless_line_has_no_review(tmp_path, word_tokenizer):
    (tmp_path / "reviews_Baby_5.json").write_text("[" + "x" * 2 * MAX_LINE)
    data = APD(str(tmp_path), "Baby", tokenizer=str(word_tokenizer), prepared=str(tmp_path / "p"))
    with pytest.raises(InputError, match=r"left out: 1 lines over 500,000 bytes \(1\)"):
        data.setup()


def test_a_damaged_folder_of_prepared_reviews_is_one_line(tmp_path, word_tokenizer):
    lines = [json.dumps(row) for row in rows(300, seed=3)]
    (tmp_path / "reviews_Baby_5.json").write_text("\n".join(lines))

    def data() -> APD:
        return APD(str(tmp_path), "Baby", tokenizer=str(word_tokenizer), prepared=str(tmp_path / "p"))

    data().setup()
    (folder,) = (tmp_path / "p").iterdir()
    for name in ("tokens.bin", "texts.bin", "table.npz"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=r"--data\.prepared: .*Baby-\w+ is damaged .*delete it"):
            data().setup()
        (folder / name).write_bytes(whole)
    (folder / "facts.json").write_text("[" * 10)
    with pytest.raises(InputError, match="is damaged"):
        data().setup()


def test_a_text_of_a_user_has_a_limit_too(tmp_path, word_tokenizer):
    data = APD(str(tmp_path), "Baby", tokenizer=str(word_tokenizer))
    with pytest.raises(InputError, match="text 1 has 500,001 characters: at most 500,000 are read"):
        data.batch_of(["great box", "x" * (MAX_LINE + 1)])
    with pytest.raises(InputError, match="text 0 holds half of a surrogate pair"):
        data.batch_of(["\ud83d"])


def test_of_a_long_text_enough_is_tokenized(word_tokenizer):
    tokenizer = AutoTokenizer.from_pretrained(word_tokenizer)
    blank = " " * 60_000
    texts = [
        "great box " * 20_000,
        blank + "great box",
        "great " + blank + "box",
        "box" * 30_000 + " box",
        "",
    ]
    for most in (1, 5, 2_000):
        for own, text in zip(tokens_of(texts, tokenizer, most), texts, strict=True):
            whole = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert own[:most] == whole[:most] and (len(own) > most) == (len(whole) > most)


def growth(files: list[Path], tokenizer: Path, folder: Path) -> float:
    """MiB that this process grows by when it reads the second file after the first."""
    peaks = []
    for file in files:
        recipe = Recipe({"Baby": file}, max_tokens=256, test_share=0.2, val_share=0.1, balance=True)
        store_reviews(folder / file.stem, recipe, AutoTokenizer.from_pretrained(tokenizer))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return peaks[1] - peaks[0]


def test_long_lines_take_little_memory(tmp_path, word_tokenizer):
    """A line of 8 MB took 2 GB."""
    lines = [json.dumps(row) for row in rows(2_000, seed=1)]
    (tmp_path / "plain.json").write_text("\n".join(lines))
    long = [json.dumps({"reviewText": f"{n} " + "a b " * 100_000, "overall": 5}) for n in range(8)]
    endless = json.dumps({"reviewText": "a b " * 2_000_000, "overall": 5})
    (tmp_path / "long.json").write_text("\n".join([lines[0], endless, *long, *lines[1:]]))
    files = [tmp_path / "plain.json", tmp_path / "long.json"]
    with multiprocessing.get_context("fork").Pool(1) as process:
        assert process.apply(growth, (files, word_tokenizer, tmp_path / "made")) < 100
    facts = TextStore(tmp_path / "made" / "long").facts["categories"]["Baby"]
    assert facts["first_too_long_lines"] == [2] and facts["lines"] == 2_009
