"""Images as they come: any mode, any size, damaged ones said so."""

from collections.abc import Container
from pathlib import Path

from PIL import Image, ImageOps

Image.MAX_IMAGE_PIXELS = 400_000_000  # a panorama is no attack; far beyond this Pillow refuses


def open_image(path: Path, least: int | None = None) -> Image.Image:
    """A whole image in RGB, upright, whatever it was stored in; transparent parts on white.

    Args:
        path: the file.
        least: a JPEG may be decoded smaller, but not below this height or width in pixels; None for its full
            size.

    Raises:
        OSError: it is missing, cut off or no image.
    """
    try:
        with Image.open(path) as file:
            if least is not None:
                file.draft("RGB", (least, least))
            file.load()
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I;16"):  # Pillow would clip it
                image = image.point(lambda value: value / 256).convert("L")
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                return Image.alpha_composite(white, image).convert("RGB")
            return image.convert("RGB")
    except (
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:  # what Pillow raises on damaged files
        raise OSError(str(error)) from error


def known_as(path: Path, names: Container[str]) -> str | None:
    """The longest end of a path, in whole parts, that is among some names; None where none is.

    Args:
        path: path of a file.
        names: file names, with or without folders before them.
    """
    ends = ("/".join(path.parts[start:]) for start in range(len(path.parts)))
    return next((end for end in ends if end in names), None)


def shown(path: Path) -> str:
    """A path in characters that every file and terminal takes."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
