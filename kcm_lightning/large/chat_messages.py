"""Messages with texts and images, as the chat interface wants them."""

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from kcm_lightning.large.input_digests import input_digests
from kcm_lightning.utils.image_io import open_or_refuse

Message = dict[str, Any]  # its content is a text, or a list of parts
Messages = list[Message]
_QUALITY = 90  # of a JPEG
_PATCH = 14  # pixels of a square that a model with the smallest ones makes a token of
_AROUND = 256  # tokens around an image at most


class ImagePart(dict):
    """An image in a message.

    Args:
        image: uint8, shape `(3, H, W)`, or the path of a file.
        longest: longest side in pixels; what is larger is made smaller.

    Attributes:
        told_apart: what tells it from other images, however it was encoded.

    Raises:
        InputError: the file cannot be read.
    """

    def __init__(self, image: Tensor | str | Path, longest: int):
        self.told_apart = f"{input_digests([image])[0].hex()} {longest}"
        encoded = base64.b64encode(_jpeg(image, longest)).decode()
        super().__init__(type="image_url", image_url={"url": f"data:image/jpeg;base64,{encoded}"})


def _jpeg(image: Tensor | str | Path, longest: int) -> bytes:
    if isinstance(image, Tensor):
        opened = Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
    else:
        opened = open_or_refuse(Path(image))
    opened.thumbnail((longest, longest))
    file = io.BytesIO()
    opened.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def with_image(question: str, image: Tensor | str | Path, longest: int) -> list[dict[str, Any]]:
    """Content of a message: a question about an image."""
    return [{"type": "text", "text": question}, ImagePart(image, longest)]


def texts_of(message: Message) -> list[str]:
    """The texts in a message."""
    content = message["content"]
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content if part["type"] == "text"]


def most_tokens(messages: Messages, longest: int) -> int:
    """The most tokens that messages can have: a token has at least a byte of text, an image one a patch.

    Args:
        messages: the messages.
        longest: longest side of their images, in pixels.
    """
    texts = sum(len(text.encode()) for message in messages for text in texts_of(message))
    images = sum(isinstance(part, ImagePart) for message in messages for part in message["content"])
    return texts + 64 * len(messages) + images * (_AROUND + (-(-longest // _PATCH)) ** 2)


def told_apart(messages: Messages) -> list[Any]:
    """What tells messages from others, plain values only."""
    return [message | {"content": _content(message["content"])} for message in messages]


def _content(content: str | list[dict[str, Any]]) -> Any:
    if isinstance(content, str):
        return content
    return [part.told_apart if isinstance(part, ImagePart) else part for part in content]
