"""A page of images and their captions, in one file that needs no other."""

import base64
import io
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

from kcm_lightning.utils.image_io import open_image

_WIDTH, _HEIGHT = 280, 210  # of a thumbnail, at most
_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fafafa }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); gap: 1rem }
figure { margin: 0; padding: .75rem; background: #fff; border: 1px solid #ddd; border-radius: 6px }
figure div { height: 210px; display: flex; align-items: center; justify-content: center; background: #f0f0f0 }
img { max-width: 100%; max-height: 100% }
figcaption p { margin: .5rem 0 .25rem; overflow-wrap: anywhere }
small { color: #555; overflow-wrap: anywhere }
.route { padding: .1rem .4rem; border-radius: 4px; color: #fff }
.judge { background: #2a7a3b } .student { background: #1f5fa8 } .teacher { background: #a84a1f }
"""
_WHO = {"judge": "judge", "student": "student", "teacher": "large model"}


def caption_page(images: list[tuple[Path, dict[str, Any]]], bad: list[tuple[str, str]]) -> str:
    """HTML with a thumbnail, caption, route and confidence of each image.

    Args:
        images: files, and of each `filename`, `caption`, `route` and `confidence`.
        bad: names of the images that cannot be read, and why.
    """
    routes = Counter(row["route"] for _, row in images)
    counts = ", ".join(f"{routes[route]} by the {who}" for route, who in _WHO.items())
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>",
        f"<title>Captions</title><style>{_STYLE}</style><h1>Captions</h1>"
        f"<p>{len(images)} images: {counts}.</p>",
    ]
    if bad:
        names = "".join(f"<li>{escape(name)}: cannot be read: {escape(why)}</li>" for name, why in bad)
        parts.append(f"<p>{len(bad)} without a caption:</p><ul>{names}</ul>")
    parts.append("<main>")
    for path, row in images:
        caption, name = escape(row["caption"] or ""), escape(row["filename"])
        route = row["route"]
        sure = "-" if row["confidence"] is None else f"{row['confidence']:.2f}"
        image = _thumbnail(path)
        shown = f"<img src='{image}' alt='{caption}' loading='lazy'>" if image else "the file is gone"
        parts.append(
            f"<figure><div>{shown}</div>"
            f"<figcaption><p>{caption}</p>"
            f"<small><span class='route {route}'>{_WHO[route]}</span> {sure} &middot; {name}</small>"
            "</figcaption></figure>"
        )
    return "\n".join([*parts, "</main></html>"]) + "\n"


def _thumbnail(path: Path) -> str | None:
    """A small JPEG as a data URL; None where the image cannot be read any more."""
    try:
        image = open_image(path, least=_WIDTH)
    except OSError:
        return None
    image.thumbnail((_WIDTH, _HEIGHT))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
