"""Amazon reviews in McAuley's JSON lines: read as a stream, labeled, and parted into splits."""

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from kcm_lightning.data.split_names import side_at
from kcm_lightning.data.text_store import MAX_LETTERS, normalized, sample_id_of
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.lines import lines_up_to
from kcm_lightning.utils.strict_json import parse_json

BAD_SHARE = 0.01
MAX_LINE = MAX_LETTERS  # bytes; Amazon's longest reviews have a tenth of it
CATEGORIES = {  # the paper's six, and what it calls them
    "Video_Games": "Games",
    "Kindle_Store": "Kindle",
    "Baby": "Baby",
    "Movies_and_TV": "Movies",
    "Electronics": "Electronics",
    "Office_Products": "Office",
}


@dataclass
class Review:
    """One review.

    Args:
        text: what was written.
        stars: 1 to 5.
        product: its number, or None where the file does not say.
    """

    text: str
    stars: float
    product: str | None


@dataclass
class Skipped:
    """Lines of a file that hold no review.

    Args:
        broken: numbers of lines that are no JSON object, or have a key twice, from 1.
        too_long: numbers of lines that are longer than `MAX_LINE`, from 1.
        empty: number of lines that have no text, or not 1 to 5 whole stars; the 2018 files have some.
        blank: number of lines without anything.
        read: number of lines that were read.
    """

    broken: list[int] = field(default_factory=list)
    too_long: list[int] = field(default_factory=list)
    empty: int = 0
    blank: int = 0
    read: int = 0


def review_file(root: Path, category: str) -> Path | None:
    """The file of a category, by its 2014 or its 2018 name; None where there is none."""
    names = [
        f"{name}{suffix}"
        for name in (f"reviews_{category}_5", f"{category}_5")
        for suffix in (".json.gz", ".json")
    ]
    return next((root / name for name in names if (root / name).is_file()), None)


def read_reviews(path: Path, skipped: Skipped) -> Iterator[Review]:
    """The reviews of a file, one at a time.

    Args:
        path: JSON lines, gzipped where the name says so.
        skipped: is told what was left out.

    Raises:
        InputError: the file is no gzip, is cut off, or more than one line in a hundred is no JSON object.
    """
    with (
        path.open("rb") as raw,
        io.BufferedReader(gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw as file,
        tqdm(desc=path.name, total=path.stat().st_size, unit="B", unit_scale=True, leave=False) as bar,
    ):
        try:
            for line in lines_up_to(file, MAX_LINE):
                skipped.read += 1
                if skipped.read % 5_000 == 0:
                    bar.update(raw.tell() - bar.n)
                    _refuse_rubbish(path, skipped)
                review = _parse(line, skipped)
                if review is not None:
                    yield review
            bar.update(raw.tell() - bar.n)
        except (gzip.BadGzipFile, zlib.error) as error:
            raise InputError(
                f"{path} is no gzip file, or a damaged one: {error}; delete it and fetch it again"
            ) from error
        except EOFError as error:
            raise InputError(
                f"{path} is cut off after {skipped.read} lines: delete it and fetch it again"
            ) from error
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    _refuse_rubbish(path, skipped)


def _parse(line: bytes | None, skipped: Skipped) -> Review | None:
    if line is None:
        skipped.too_long.append(skipped.read)
        return None
    try:
        row = parse_json(line, finite=False)
        text, stars, product = row.get("reviewText"), row.get("overall"), row.get("asin")
        if isinstance(text, str):
            text.encode()  # half of a surrogate pair is no text
    except (ValueError, AttributeError):
        if line.strip():
            skipped.broken.append(skipped.read)
        else:
            skipped.blank += 1
        return None
    if (
        not isinstance(text, str)
        or not text.strip()
        or isinstance(stars, bool)
        or stars not in (1, 2, 3, 4, 5)
    ):
        skipped.empty += 1
        return None
    return Review(text, stars, str(product) if product else None)


def _refuse_rubbish(path: Path, skipped: Skipped) -> None:
    if len(skipped.broken) > BAD_SHARE * skipped.read:
        shown = ", ".join(str(number) for number in skipped.broken[:5])
        raise InputError(
            f"{path}: {len(skipped.broken)} of {skipped.read} lines are no JSON (lines {shown}, ...): "
            "is it a review file?"
        )


def side_of(review: Review, test_share: float, val_share: float) -> str:
    """Split that a review belongs to, by its product where that is known, else by its text.

    All reviews of a product, or all copies of a text, land on one side, whichever other reviews there are.
    """
    place = sample_id_of(review.product or normalized(review.text)) / 2**63
    return side_at(place, test_share=test_share, val_share=val_share)
