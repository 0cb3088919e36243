"""Image files of every mode and depth are read by stated rules, or refused by name, in little memory."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kcm_lightning.utils import image_io
from kcm_lightning.utils.image_io import MAX_PIXELS, known_as, names_of, open_image, plain_path
from tests.utils.image_files import write_jpeg_with_exif, write_png, write_tiff

GRAY = np.array([[0, 255, 256, 4095], [32768, 40000, 65279, 65535]], dtype=np.uint16)
UPPER = [0, 0, 1, 15, 128, 156, 254, 255]  # GRAY divided by 256, cut off


def pixels_of(path) -> list:
    return np.asarray(open_image(path)).reshape(-1, 3).tolist()


def gray_of(path) -> list[int]:
    rows = pixels_of(path)
    assert all(row[0] == row[1] == row[2] for row in rows)
    return [row[0] for row in rows]


def test_gray_of_16_bits_keeps_the_upper_8(tmp_path):
    files = {
        "png": write_png(tmp_path / "g.png", GRAY),
        "tiff": write_tiff(tmp_path / "g.tif", GRAY.astype("<u2").tobytes(), (4, 2)),
        "tiff, big-endian": write_tiff(tmp_path / "b.tif", GRAY.astype(">u2").tobytes(), (4, 2), big=1),
    }
    Image.fromarray(GRAY).save(tmp_path / "packed.tif", compression="tiff_lzw")
    Image.fromarray(GRAY).save(tmp_path / "p.pgm")
    for file in (*files.values(), tmp_path / "packed.tif", tmp_path / "p.pgm"):
        assert gray_of(file) == UPPER, file
    white = write_tiff(tmp_path / "w.tif", (65535 - GRAY).astype("<u2").tobytes(), (4, 2), photometric=0)
    assert gray_of(white) == UPPER


def test_gray_of_12_bits_keeps_the_upper_8(tmp_path):
    # two values of 12 bits in three bytes: 0x000 and 0xfff, 0x800 and 0x7ff
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x07, 0xFF])
    assert gray_of(write_tiff(tmp_path / "t.tif", packed, (4, 1), bits=12)) == [0, 255, 128, 127]


def test_colors_of_16_bits_keep_the_upper_8(tmp_path):
    color = np.array([[[65535, 256, 0], [40000, 20000, 10000]]], dtype=np.uint16)
    upper = [[255, 1, 0], [156, 78, 39]]
    assert pixels_of(write_png(tmp_path / "c.png", color)) == upper
    options = {"channels": 3, "photometric": 2}
    for order in ("<", ">"):
        stored = color.astype(f"{order}u2").tobytes()
        assert pixels_of(write_tiff(tmp_path / "c.tif", stored, (2, 1), big=order == ">", **options)) == upper


def test_modes_of_8_bits_and_less(tmp_path):
    color, gray = (200, 100, 50), 124
    for mode in ("RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr"):
        Image.new("RGB", (4, 3), color).convert(mode).save(
            tmp_path / f"{mode}.tif" if mode == "YCbCr" else tmp_path / f"{mode}.tiff"
        )
    expected = {"RGB": color, "RGBA": color, "CMYK": color, "L": (gray,) * 3, "LA": (gray,) * 3}
    for mode, value in expected.items():
        assert pixels_of(tmp_path / f"{mode}.tiff") == [list(value)] * 12, mode
    assert {value for row in pixels_of(tmp_path / "1.tiff") for value in row} == {0, 255}
    near = [*pixels_of(tmp_path / "P.tiff"), *pixels_of(tmp_path / "YCbCr.tif")]
    assert np.abs(np.array(near) - color).max() <= 4  # the nearest of 216 colors, and rounding


def test_transparent_parts_are_white(tmp_path):
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    expected = [[10, 20, 30], [255, 255, 255], [204, 204, 204]]
    assert pixels_of(write_png(tmp_path / "a.png", rgba)) == expected
    deep = np.array([[1000, 65535, 2000]], dtype=np.uint16)
    assert gray_of(write_png(tmp_path / "t.png", deep, transparent=struct.pack(">H", 1000))) == [255, 255, 7]
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "p.png", transparency=0)
    assert pixels_of(tmp_path / "p.png") == [[255, 255, 255], [0, 255, 0]]


def test_laying_on_white_in_strips_is_laying_the_whole(tmp_path):
    rgba = np.random.RandomState(0).randint(0, 256, (600, 7, 4), dtype=np.uint8)
    image = Image.fromarray(rgba, "RGBA")
    image.save(tmp_path / "a.png")
    whole = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    assert np.array_equal(np.asarray(open_image(tmp_path / "a.png")), np.asarray(whole))


def test_values_without_a_range_are_refused(tmp_path):
    fractions = np.linspace(0, 1, 4, dtype="<f4")
    files = [
        write_tiff(tmp_path / "float.tif", fractions.tobytes(), (4, 1), bits=32, kind=3),
        write_tiff(tmp_path / "int.tif", np.arange(4, dtype="<i4").tobytes(), (4, 1), bits=32, kind=2),
        write_tiff(tmp_path / "signed.tif", np.arange(4, dtype="<i2").tobytes(), (4, 1), kind=2),
    ]
    for file in files:
        with pytest.raises(OSError, match="no stated range: store it with 8 or 16 bits"):
            open_image(file)


@pytest.mark.parametrize("kind", [2, 7, 11])
def test_exif_that_cannot_be_written_back_costs_nothing(tmp_path, kind):
    """Type 11, a float where a text belongs, made Pillow's own turning fail."""
    sideways = (274, 3, 1, struct.pack("<HH", 6, 0))
    title = (0x010E, kind, 1, struct.pack("<L", 0xFFFFFFFF))
    path = write_jpeg_with_exif(tmp_path / "a.jpg", [sideways, title])
    image = open_image(path)
    assert image.size == (20, 30) and not image.info
    broken = write_jpeg_with_exif(
        tmp_path / "b.jpg", [(0x8825, 8, 1, struct.pack("<L", 0xFFFFFFF0)), sideways]
    )
    assert open_image(broken).size == (20, 30)


def test_every_orientation_is_upright(tmp_path):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    stored = {  # what a camera that is held so writes
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: np.rot90(upright.T, 2),
        8: np.rot90(upright, 3),
        9: upright,  # no such orientation
    }
    for orientation, pixels in stored.items():
        image = Image.fromarray(np.ascontiguousarray(pixels))
        exif = image.getexif()
        exif[274] = orientation
        image.save(tmp_path / "o.png", exif=exif)
        height, width = pixels.shape
        deep = pixels.astype("<u2") * 256
        tiff = write_tiff(tmp_path / "o.tif", deep.tobytes(), (width, height), orientation=orientation)
        for file in (tmp_path / "o.png", tiff):
            assert np.array_equal(np.asarray(open_image(file))[:, :, 0], upright), (orientation, file)


def test_what_is_no_image_says_why(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "run.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    reasons = {
        "text.jpg": "no image of a known kind",
        "run.eps": "no image of a known kind",
        "folder.jpg": "there is no such file",
        "pipe.jpg": "there is no such file",
        "missing.jpg": "there is no such file",
    }
    for name, reason in reasons.items():
        with pytest.raises(OSError, match=reason):
            open_image(tmp_path / name)


def test_pixels_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(image_io, "MAX_PIXELS", 100)
    Image.new("RGB", (10, 10)).save(tmp_path / "most.png")
    Image.new("RGB", (101, 1)).save(tmp_path / "more.png")
    assert open_image(tmp_path / "most.png").size == (10, 10)
    with pytest.raises(OSError, match="101 x 1 pixels are more than 100"):
        open_image(tmp_path / "more.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "more.jpg")
    with pytest.raises(OSError, match="more than 100"):  # although a JPEG could be decoded smaller
        open_image(tmp_path / "more.jpg", least=2)


MEASURE = """
import resource, sys
from pathlib import Path
from kcm_lightning.utils.image_io import open_image
open_image(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(open_image(Path(sys.argv[2])).size)
except OSError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_large_images_take_eight_bytes_a_pixel_and_larger_ones_nothing(tmp_path):
    """An RGBA image of 8,000 x 8,000 pixels, 249 kB, took 1.2 GB."""
    small, large, larger = (tmp_path / f"{name}.png" for name in ("small", "large", "larger"))
    Image.new("RGBA", (2, 2)).save(small)
    Image.new("RGBA", (3_000, 3_000), (9, 9, 9, 99)).save(large, compress_level=1)
    content = bytearray(large.read_bytes())
    content[16:24] = struct.pack(">LL", 8_000, 8_000)
    content[29:33] = struct.pack(">L", zlib.crc32(content[12:29]))
    larger.write_bytes(content)
    for path, said, most in (
        (large, "(3000, 3000)", 9 * 8.5),
        (larger, "8000 x 8000 pixels are more than", 5),
    ):
        run = [sys.executable, "-c", MEASURE, small, path]
        printed, taken = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
        assert said in printed and float(taken) < most
    assert 8_000**2 > MAX_PIXELS > 7_700**2


def test_ends_of_a_path_are_its_names():
    path = Path("/data/coco/./val/x/../1.jpg")
    names = {"1.jpg", "val/1.jpg", "/data/coco/val/1.jpg", "l/1.jpg", "2.jpg"}
    assert names_of(path, names) == ["/data/coco/val/1.jpg", "val/1.jpg", "1.jpg"]
    assert known_as(path, names) == "/data/coco/val/1.jpg" and known_as(path, {"jpg"}) is None
    assert known_as(Path("1.jpg"), {plain_path("./1.jpg")}) == "1.jpg"
