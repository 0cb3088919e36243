"""Images as they come: any mode, any size up to a limit, damaged ones said so."""

import os
import threading
from collections.abc import Container, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from kcm_lightning.utils.errors import InputError

MAX_PIXELS = 60_000_000  # of one image, height times width; Pillow and this file take 8 bytes for each
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "TGA", "ICO", "PCX")
_LARGE = 16_000_000  # pixels; of such images one is decoded at a time, however many threads there are
_one_at_a_time = threading.Lock()
_STRIP = 256  # rows that are laid on white at once
_ORIENTATION, _BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 274, 258, 262, 0  # tags of EXIF and TIFF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(path: Path, least: int | None = None) -> Image.Image:
    """A whole image in RGB of 8 bits, upright, whatever it was stored in; without its metadata.

    Transparent parts are laid on white. Gray values of 16 bits keep their upper 8, those of 12 bits likewise.
    Values of 32 bits and floating-point values are refused, because no one says what is black and what white.
    Of several frames or pages it is the first.

    Args:
        path: the file, of one of `KINDS` by its content.
        least: a JPEG may be decoded smaller, but not below this height or width in pixels; None for its full
            size.

    Raises:
        OSError: it is missing, cut off, no image, has more than `MAX_PIXELS`, or values that are refused; the
            error says which.
    """
    try:
        if not path.is_file():  # a pipe or a device would never end
            raise OSError("there is no such file")
        # by a path, Pillow maps an uncompressed file into memory, and reads a turned TIFF wrongly
        with path.open("rb") as opened, Image.open(opened, formats=_kinds()) as file:
            width, height = file.size
            if width * height > MAX_PIXELS:
                raise OSError(f"{width} x {height} pixels are more than {MAX_PIXELS:,}")
            if least is not None:
                file.draft("RGB", (least, least))
            with _one_at_a_time if width * height > _LARGE else nullcontext():
                file.load()
                image = _in_rgb(_upright(file))
        image.info = {}  # a comment or profile may be such that it cannot be written again
        return image
    except UnidentifiedImageError as error:
        raise OSError("it is no image of a known kind") from error
    except Image.DecompressionBombError as error:
        raise OSError(f"it has more than {MAX_PIXELS:,} pixels") from error
    except OSError:
        raise
    except Exception as error:  # damaged files make Pillow raise almost anything
        raise OSError(str(error) or type(error).__name__) from error


def open_or_refuse(path: Path) -> Image.Image:
    """As `open_image`, of a file that has to be read.

    Raises:
        InputError: it cannot be; the message names it.
    """
    try:
        return open_image(path)
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read: {error}") from error


@cache
def _kinds() -> list[str]:
    """Those of `KINDS` that this Pillow has; not EPS, which runs a program."""
    Image.init()
    return [kind for kind in KINDS if kind in Image.OPEN]


def _upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF says that it is held; EXIF that cannot be read says nothing."""
    try:
        method = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # as above
        return image
    return image if method is None else image.transpose(method)


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Gray values of 12 or 16 bits cut to their upper 8."""
    tags = getattr(image, "tag_v2", {})
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if not deep:
        raise OSError("its values have 32 bits and no stated range: store it with 8 or 16 bits")
    bits = 12 if tags.get(_BITS) == (12,) else 16
    stored = np.asarray(image)
    values = (stored >> (bits - 8)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = 255 - values
    if isinstance(image.info.get("transparency"), int):  # the one level that is transparent
        values[stored == image.info["transparency"]] = 255
    return Image.fromarray(values)


def _on_white(image: Image.Image) -> Image.Image:
    """A partly transparent image laid on white, some rows at a time."""
    width, height = image.size
    result = Image.new("RGB", image.size)
    for top in range(0, height, _STRIP):
        part = image.crop((0, top, width, min(top + _STRIP, height))).convert("RGBA")
        white = Image.new("RGBA", part.size, "white")
        result.paste(Image.alpha_composite(white, part).convert("RGB"), (0, top))
    return result


def plain_path(name: str) -> str:
    """A file name as names are compared: `./a.jpg` and `b/../a.jpg` are `a.jpg`."""
    return os.path.normpath(name)


def names_of(path: Path, names: Container[str]) -> list[str]:
    """Every end of a path, in whole parts, that is among some names, the longest first.

    Args:
        path: path of a file.
        names: file names as `plain_path` makes them, with or without folders before them.
    """
    return [end for end in _ends(plain_path(str(path))) if end in names]


def known_as(path: Path, names: Container[str]) -> str | None:
    """The longest end of a path, in whole parts, that is among some names; None where none is.

    Args:
        path: path of a file.
        names: see `names_of`.
    """
    return next(iter(names_of(path, names)), None)


def _ends(path: str) -> Iterator[str]:
    yield path
    while path := path.partition("/")[2]:
        yield path


def shown(path: Path) -> str:
    """A path in characters that every file and terminal takes."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
