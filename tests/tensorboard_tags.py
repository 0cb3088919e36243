"""What TensorBoard has of a run, and what the documents explain of it."""

import re
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

DOCUMENT = Path(__file__).parent.parent / "docs" / "tensorboard.md"
_PLACES = {
    "<region>": r"(overall|head|med|tail)",
    "<score>": r"(CIDEr|BLEU-[1-4]|ROUGE-L|METEOR)",
    "<n>": r"[1-9]\d*",
    "<target>": r"[a-z_]+=[\d.]+",
}


def events_in(folder: Path) -> EventAccumulator:
    """All events of a folder, none left out."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return events.Reload()


def explained() -> list[str]:
    """Patterns of the tags that the document has in a table."""
    patterns = []
    for line in DOCUMENT.read_text().splitlines():
        if not line.startswith("| `"):
            continue
        for tag in re.findall(r"`([^`]+)`", line.split("|")[1]):
            for place, pattern in _PLACES.items():
                tag = tag.replace(place, pattern)
            patterns.append(tag)
    return patterns


def unexplained(tags) -> list[str]:
    """Tags that are in no table of the document."""
    known = [re.compile(pattern) for pattern in explained()]
    return sorted(tag for tag in tags if not any(pattern.fullmatch(tag) for pattern in known))
