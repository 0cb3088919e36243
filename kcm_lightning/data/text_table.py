"""Your own texts, out of tables."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from kcm_lightning.data.base import DistillSplit
from kcm_lightning.data.contents import content_id
from kcm_lightning.data.longtail import named_regions
from kcm_lightning.data.prepared import written_whole
from kcm_lightning.data.split_labels import LEFT_OUT_SHOWN, ClassNumbers, check_and_name
from kcm_lightning.data.split_names import UNLABELLED, side_at
from kcm_lightning.data.text_store import MAX_LETTERS, TextWriter, normalized
from kcm_lightning.data.texts import TextDataModule
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.table_files import Row, joined, read_table
from kcm_lightning.utils.tokens import is_text

_RULES = 1  # a folder that was made when tables were read by other rules is not used
PARTS = ("train", "val", "test", "pool")


class TextTable(TextDataModule):
    """Texts of any number of classes, out of CSV, TSV, JSON lines or Parquet.

    The classes are the labels as they stand in the file. A row without a label is of no use but for
    distillation: on the training side it joins the pool. Of copies of a text (but for case and white space)
    the first counts, on the strictest side that one of them is on: what is tested on is trained on nowhere.
    Rows without text are left out, counted and named.

    Args:
        path: table of all texts; or of those to train on, where the others have tables of their own.
        text: column of the text; or a list of several, whose texts are put one below the other.
        label: column of the class.
        val_path: table to validate on; null, the default, takes a share of `path`.
        test_path: table to test on; null, the default, takes a share of `path`.
        unlabelled_path: table of texts without labels, to distill on; null, the default, for none.
        group: column whose equal values stay on one side, as a customer's or a product's; null, the default,
            parts by the text alone.
        split_seed: another number parts the texts otherwise.
        tokenizer: hub name or folder of the small model's tokenizer.
        max_tokens: tokens of a text that the small model sees; the rest is cut off.
        test_share: share of `path` that is tested on, a fraction; not used with `test_path`.
        val_share: share of `path` that is validated on, a fraction; not used with `val_path`.
        token_dropout: share of a text's tokens, in [0, 1), that training replaces by the mask token; 0, the
            default, replaces none.
        batch_size: training texts a step and process.
        eval_batch_size: texts a step where nothing is trained.
        distill_split: texts that the student is distilled on: "train", the default; "pool", those without
            labels; or "both".
        prepared: folder for the tokenized texts; made on the first run.
    """

    def __init__(
        self,
        path: str,
        text: str | list[str] = "text",
        label: str = "label",
        val_path: str | None = None,
        test_path: str | None = None,
        unlabelled_path: str | None = None,
        group: str | None = None,
        split_seed: int = 0,
        tokenizer: str = "bert-base-uncased",
        max_tokens: int = 256,
        test_share: float = 0.2,
        val_share: float = 0.1,
        token_dropout: float = 0.0,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        distill_split: DistillSplit = "train",
        prepared: str = "runs/prepared",
    ):
        super().__init__(
            tokenizer=tokenizer,
            max_tokens=max_tokens,
            test_share=test_share,
            val_share=val_share,
            token_dropout=token_dropout,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            distill_split=distill_split,
            prepared=prepared,
        )
        paths = dict(zip(PARTS, (path, val_path, test_path, unlabelled_path), strict=True))
        self.paths = {part: Path(own) for part, own in paths.items() if own is not None}
        self.text, self.label, self.group = [text] if isinstance(text, str) else text, label, group
        self.split_seed = split_seed
        if not self.text:
            raise InputError("--data.text: name the column of the text")
        self.name = self.paths["train"].stem

    def prepare_data(self) -> None:
        for part, path in self.paths.items():
            if not path.is_file():
                raise InputError(f"{_option(part)}: there is no file {str(path)!r}")
        super().prepare_data()

    def recipe(self) -> list[Any]:
        recipe: list[Any] = [_RULES, self.text, self.label, self.group, self.split_seed]
        recipe += [self.test_share, self.val_share]
        for part, path in self.paths.items():
            state = path.stat()
            recipe += [part, str(path.resolve()), state.st_size, state.st_mtime_ns]
        return recipe

    def make(self, folder: Path) -> None:
        numbers, facts = ClassNumbers(), {}
        with written_whole(folder) as partial, TextWriter(partial, self.tokenizer, self.max_tokens) as writer:
            for place, part in enumerate(self.paths):
                facts[part] = self._read(writer, part, place, numbers)
            table = writer.table()
            by_seed = self.group is None and not {"val", "test"} & self.paths.keys()
            names = check_and_name(table, numbers, by_seed=by_seed)
            writer.write(table, {"class_names": names, "tables": facts})

    def _read(self, writer: TextWriter, part: str, place: int, numbers: ClassNumbers) -> dict[str, Any]:
        """Hands the rows of a table on, and says what was left out."""
        facts: dict[str, Any] = {
            "rows": 0,
            "without_text": 0,
            "first_without_text": [],
            "copies": 0,
            "contradicting": 0,
        }
        for number, row in self._rows(part):
            facts["rows"] += 1
            text = text_of(row, self.text, f"{self.paths[part]}, row {number}")
            if not text.strip():
                facts["without_text"] += 1
                facts["first_without_text"] += [number] if facts["without_text"] <= LEFT_OUT_SHOWN else []
                continue
            label = UNLABELLED if part == "pool" else numbers.of(row[self.label])
            earlier = writer.add(text, label=label, split=self._side(row, text, part), part=place)
            facts["copies"] += earlier is not None
            facts["contradicting"] += earlier not in (None, label, UNLABELLED) and label != UNLABELLED
        return facts

    def _rows(self, part: str) -> Iterator[tuple[int, Row]]:
        columns = [*self.text, *([] if part == "pool" else [self.label])]
        if self.group is not None and part == "train":
            columns.append(self.group)
        return read_table(self.paths[part], _option(part), columns)

    def _side(self, row: Row, text: str, part: str) -> str:
        """The split of a row: that of its table, or by a hash of its group or text."""
        if part != "train":
            return part
        group = None if self.group is None else row[self.group]
        kept_together = normalized(text) if group in (None, "") else f"group {group}"
        place = content_id(f"{self.split_seed} {kept_together}".encode()) / 2**63
        test = 0.0 if "test" in self.paths else self.test_share
        val = 0.0 if "val" in self.paths else self.val_share
        return side_at(place, test_share=test, val_share=val)

    def describe(self, facts: dict[str, Any]) -> None:
        self.class_names = facts["class_names"]
        labels = self.batches.labels[self.positions["train"]]
        self.regions, self.region_names = named_regions(labels, self.class_names)
        for part, own in facts["tables"].items():
            if words := _left_out(own):
                rank_zero_warn(f"{self.paths[part]}: {words}")

    def fingerprint(self) -> dict:
        facts = self.batches.facts
        read = {"truncated": facts["truncated"], "read": facts["tables"], "unused": facts["unused"]}
        return read | super().fingerprint()


def text_of(row: Row, columns: Sequence[str], where: str) -> str:
    """The text of a row, one column's below the other's; nothing where all are empty.

    Args:
        row: a row of a table.
        columns: names of the columns.
        where: file and row, for errors.

    Raises:
        InputError: it is too long, or holds half of a letter.
    """
    text = joined(row, columns)
    if len(text) > MAX_LETTERS:
        raise InputError(f"{where}: {len(text):,} characters: at most {MAX_LETTERS:,} are read")
    if not is_text(text):
        raise InputError(f"{where}: half of a surrogate pair, which is no character")
    return text


def _option(part: str) -> str:
    return {"train": "--data.path", "pool": "--data.unlabelled_path"}.get(part, f"--data.{part}_path")


def _left_out(facts: dict[str, Any]) -> str:
    """What of a table is not used, in words; nothing where all is."""
    parts = []
    if count := facts["without_text"]:
        first = ", ".join(map(str, facts["first_without_text"]))
        parts.append(f"left out {count:,} rows without text ({first}{', ...' * (count > LEFT_OUT_SHOWN)})")
    if count := facts["copies"]:
        parts.append(f"{count:,} copies of other texts, of which the first counts")
    if count := facts["contradicting"]:
        parts.append(f"{count:,} of these with another label than it")
    return "; ".join(parts)
