"""Own texts out of tables: classes, splits, copies, and files that are not what they should be."""

import csv
import json
import random

import pytest
import torch

from kcm_lightning.data import TextTable
from kcm_lightning.utils.errors import InputError

WORDS = [
    "cable",
    "battery",
    "screen",
    "broken",
    "great",
    "slow",
    "cheap",
    "box",
    "invoice",
    "refund",
    "late",
    "lost",
]


def texts(count, seed=0, classes=("billing", "defect", "delivery")):
    rng = random.Random(seed)
    return [
        {"id": n, "text": f"{' '.join(rng.choices(WORDS, k=6))} {seed} {n}", "label": rng.choice(classes)}
        for n in range(count)
    ]


def write(path, rows, delimiter=","):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def table(tmp_path, word_tokenizer):
    def table(path, **options):
        data = TextTable(
            str(path), tokenizer=str(word_tokenizer), prepared=str(tmp_path / "prepared"), **options
        )
        data.prepare_data()
        data.setup()
        return data

    return table


def test_any_number_of_classes_by_their_names(tmp_path, table):
    rows = texts(600)
    data = table(write(tmp_path / "tickets.csv", rows))
    assert data.class_names == ["billing", "defect", "delivery"] and data.name == "tickets"
    by_text = {row["text"]: row["label"] for row in rows}
    for split, positions in data.positions.items():
        batch = data.batches[positions] if len(positions) else {"large": [], "target": torch.empty(0)}
        assert [by_text[text] for text in batch["large"]] == [
            data.class_names[label] for label in batch["target"].tolist()
        ], split
    sizes = {split: len(positions) for split, positions in data.positions.items()}
    assert sum(sizes.values()) == 600 and sizes["pool"] == 0
    assert sizes["test"] == pytest.approx(120, abs=35) and sizes["val"] == pytest.approx(60, abs=25)
    counts = [sum(row["label"] == name for row in rows) for name in data.class_names]
    assert data.class_counts.sum() == sizes["train"] and all(data.class_counts <= torch.tensor(counts))
    assert data.region_names["thirds"] == ("head", "med", "tail")


def test_numbers_are_names_in_their_order(tmp_path, table):
    rows = [{**row, "label": n % 12} for n, row in enumerate(texts(400))]
    for name in ("numbers.jsonl", "numbers.csv"):
        assert table(write(tmp_path / name, rows)).class_names == [str(n) for n in range(12)]


def test_the_seed_parts_otherwise_and_the_same_seed_alike(tmp_path, table):
    path = write(tmp_path / "tickets.jsonl", texts(300))
    first, again, other = table(path), table(path), table(path, split_seed=1)
    assert first.splits() == again.splits() and first.fingerprint() == again.fingerprint()
    assert set(first.splits()["test"]) != set(other.splits()["test"])


def test_a_group_stays_on_one_side(tmp_path, table):
    rows = [{**row, "customer": row["id"] % 40} for row in texts(800)]
    data = table(write(tmp_path / "tickets.csv", rows), group="customer")
    customer = {row["text"]: row["customer"] for row in rows}
    sides = [
        {customer[text] for text in data.batches[positions]["large"]}
        for split, positions in data.positions.items()
        if split != "pool"
    ]
    assert sum(map(len, sides)) == 40 and all(sides)


def test_tables_of_their_own_for_the_splits(tmp_path, table):
    files = {part: texts(60, seed) for seed, part in enumerate(("train", "val", "test", "unlabelled"))}
    paths = {part: write(tmp_path / f"{part}.csv", rows) for part, rows in files.items()}
    files["unlabelled"] = [{"text": row["text"]} for row in files["unlabelled"]]
    write(paths["unlabelled"], files["unlabelled"])
    others = {f"{part}_path": str(path) for part, path in paths.items() if part != "train"}
    data = table(paths["train"], **others, distill_split="both")
    for part, split in {"train": "train", "val": "val", "test": "test", "unlabelled": "pool"}.items():
        found = data.batches[data.positions[split]]
        assert sorted(found["large"]) == sorted(row["text"] for row in files[part])
    assert (data.batches[data.positions["pool"]]["target"] == -1).all()


def test_what_is_tested_on_is_trained_on_nowhere(tmp_path, table, recwarn):
    train, test = texts(60, seed=1), texts(60, seed=2)
    copied = [{**row, "text": row["text"].upper() + "  ", "label": "billing"} for row in test[:20]]
    paths = [
        write(tmp_path / f"{n}.csv", rows) for n, rows in enumerate((train + copied, texts(50, 3), test))
    ]
    data = table(paths[0], val_path=str(paths[1]), test_path=str(paths[2]))
    assert len(data.positions["train"]) == 60 and len(data.positions["test"]) == 60
    said = " ".join(str(warning.message) for warning in recwarn)
    changed = sum(row["label"] != "billing" for row in test[:20])
    assert f"20 copies of other texts, of which the first counts; {changed} of these with another" in said


def test_rows_without_a_label_are_the_pool_and_without_text_are_named(tmp_path, table, recwarn):
    rows = texts(300)
    for row in rows[:100]:
        row["label"] = " "
    rows[150]["text"], rows[151]["text"] = "", "  "
    data = table(write(tmp_path / "tickets.csv", rows), distill_split="pool")
    pool = set(data.batches[data.positions["pool"]]["large"])
    assert 50 < len(pool) < 100 and pool <= {row["text"] for row in rows[:100]}
    assert data.fingerprint()["unused"] == 100 - len(pool)
    said = " ".join(str(warning.message) for warning in recwarn)
    assert "left out 2 rows without text (151, 152)" in said


def test_several_columns_are_one_text(tmp_path, table):
    rows = [{**row, "title": f"title {row['id']}"} for row in texts(100)]
    rows[0]["title"] = ""
    data = table(write(tmp_path / "tickets.csv", rows), text=["title", "text"])
    found = {text for positions in data.positions.values() for text in data.batches.texts(positions)}
    assert found == {"\n".join(filter(None, [row["title"], row["text"]])) for row in rows}


def test_a_class_that_the_seed_leaves_nothing_to_train_on_is_trained_on(tmp_path, table):
    rows = texts(200)
    for seed in range(40):
        rows[0]["label"] = "rare"
        data = table(write(tmp_path / f"{seed}.csv", rows), split_seed=seed)
        assert data.class_counts[data.class_names.index("rare")] == 1


@pytest.mark.parametrize("kind", ["excel", "quotes", "bom"])
def test_what_spreadsheets_write(tmp_path, table, kind):
    rows = texts(60)
    rows[0]["text"] = 'it said "no; never",\r\nand stopped'
    path = write(tmp_path / "sheet.csv", rows, delimiter=";" if kind == "excel" else ",")
    content = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + content if kind != "quotes" else content)
    data = table(path)
    found = {text for positions in data.positions.values() for text in data.batches.texts(positions)}
    assert found == {row["text"] for row in rows} and len(data.class_names) == 3


def only(label):
    return [{**row, "label": label} for row in texts(50)]


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (only("good"), {}, "two classes are needed, and the only label is 'good'"),
        (only(""), {}, "two classes are needed, and no row has a label"),
        (texts(50), {"text": "body"}, "has no column 'body'; it has id, text, label"),
        (texts(50), {"label": "class"}, "has no column 'class'"),
        (texts(50), {"group": "customer"}, "has no column 'customer'"),
        (texts(50), {"text": []}, "--data.text: name the column"),
        (texts(50), {"val_path": "nowhere.csv"}, "--data.val_path: there is no file 'nowhere.csv'"),
        (texts(50), {"test_share": 1.5}, "--data.test_share=1.5 must be between 0 and 1"),
        (texts(3), {}, "split is empty"),
        ([{"text": "x" * 500_001, "label": "a"}], {}, "row 1: 500,001 characters"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(tmp_path, table, rows, options, said):
    with pytest.raises(InputError, match=said):
        table(write(tmp_path / "bad.csv", rows), **options)
    assert not list((tmp_path / "prepared").glob("*")) or "val" in str(options)


def test_a_label_only_in_the_test_table_is_named(tmp_path, table):
    test = texts(50, seed=2)
    test[0]["label"] = "refunds"
    paths = [write(tmp_path / f"{n}.csv", rows) for n, rows in enumerate((texts(50), test))]
    with pytest.raises(InputError, match=r"1 classes have nothing to train on, only the test .*'refunds'"):
        table(paths[0], test_path=str(paths[1]))
