"""Pictures as they come: any mode, any size, damaged ones said so."""

from pathlib import Path

from PIL import Image

Image.MAX_IMAGE_PIXELS = 400_000_000  # a panorama is no attack; far beyond this Pillow refuses


def open_picture(path: Path, least: int | None = None) -> Image.Image:
    """A whole picture in RGB, whatever it was stored in; transparent parts on white.

    Args:
        path: of the file.
        least: a JPEG may be decoded smaller, but not below this height or width in pixels.

    Raises:
        OSError: it is missing, cut off or no picture.
    """
    try:
        with Image.open(path) as image:
            if least is not None:
                image.draft("RGB", (least, least))
            image.load()
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                return Image.alpha_composite(white, image).convert("RGB")
            return image.convert("RGB")
    except (SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow raises on damaged files
        raise OSError(str(error)) from error
