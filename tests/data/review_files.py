"""Small review files in McAuley's format, of texts in which some words are good and some bad."""

import gzip
import json
import random
from pathlib import Path

GOOD = "great love perfect fine happy"
BAD = "awful broken refund bad waste"
WORDS = {5.0: GOOD.split(), 1.0: BAD.split()}
NEUTRAL = "the box came with a cable and it sat on my desk for one day before I put it to use at work"
FILL = NEUTRAL.split()


def rows(count: int, seed: int, products: bool = False) -> list[dict]:
    """Reviews of 1, 2, 3, 4 and 5 stars, more good than bad ones."""
    draw = random.Random(seed)
    result = []
    for number in range(count):
        stars = draw.choice([5.0, 5.0, 4.0, 4.0, 3.0, 2.0, 1.0])
        mood = WORDS[5.0 if stars > 3 or (stars == 3 and draw.random() < 0.5) else 1.0]
        words = draw.choices(FILL, k=draw.randint(2, 30)) + draw.choices(mood, k=2)
        draw.shuffle(words)
        text = f"{' '.join(words)} {seed}-{number}."
        result.append(
            {
                "reviewText": text,
                "overall": stars,
                "summary": None,
                "asin": f"B{number % 40:03}" if products else None,
            }
        )
    return result


def write(path: Path, reviews: list[dict]) -> Path:
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in reviews)
    return path
