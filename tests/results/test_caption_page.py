"""The page of captions: images that are gone or odd cost no page, names are shown as they are."""

import struct

from PIL import Image

from kcm_lightning.results.caption_page import caption_page
from tests.utils.image_files import write_jpeg_with_exif

ROW = {"caption": "a <b>wall</b>", "route": "judge", "confidence": 0.5}


def test_an_image_that_is_gone_and_a_confidence_that_is_unknown_cost_no_page(tmp_path):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.png")
    images = [
        (tmp_path / "a.png", ROW | {"filename": "a.png"}),
        (tmp_path / "gone.png", ROW | {"filename": "gone.png", "caption": None, "confidence": None}),
    ]
    page = caption_page(images, bad=[("x/[/].png", "image file is truncated"), ("x/[/].png", "<other>")])
    assert page.count("<figure>") == 2 and page.count("<img") == 1 and "the file is gone" in page
    assert "</span> 0.50 &middot; a.png" in page and "</span> - &middot; gone.png" in page
    assert "2 without a caption" in page and "x/[/].png: cannot be read: image file is truncated" in page
    assert "&lt;other&gt;" in page and "a &lt;b&gt;wall&lt;/b&gt;" in page


def test_metadata_that_cannot_be_written_again_costs_no_page(tmp_path):
    sideways, title = (274, 3, 1, struct.pack("<HH", 6, 0)), (0x010E, 11, 1, b"\xff" * 4)
    odd = write_jpeg_with_exif(tmp_path / "odd.jpg", [sideways, title])
    talkative = Image.new("RGB", (30, 20))
    talkative.save(tmp_path / "talk.gif", comment=b"x" * 70_000)  # a JPEG's has 65,533 bytes at most
    deep = Image.new("I;16", (30, 20), 40_000)
    deep.save(tmp_path / "deep.tif")
    images = [
        (path, ROW | {"filename": path.name}) for path in (odd, tmp_path / "talk.gif", tmp_path / "deep.tif")
    ]
    assert caption_page(images, bad=[]).count("<img src='data:image/jpeg;base64,") == 3
