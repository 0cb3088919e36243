"""Downloads against a server on the loopback that can cut off and go on."""

import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from kcm_lightning.data.download import download, fetch_and_unpack
from kcm_lightning.utils.errors import InputError

CONTENT = bytes(range(256)) * 5_000


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        cut = ranges = False
        length = True
        asked: ClassVar[list] = []

        def log_message(self, *args):
            pass

        def do_GET(self):
            start = 0
            Handler.asked.append(self.headers["Range"])
            if self.path == "/missing":
                return self.send_error(404)
            if Handler.ranges and self.headers["Range"]:
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206 if start else 200)
            if Handler.length:
                self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            rest = CONTENT[start:]
            self.wfile.write(rest[: len(rest) // 2] if Handler.cut else rest)
            return None

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    Handler.asked = []
    Handler.url = f"http://127.0.0.1:{http.server_port}"
    yield Handler
    http.shutdown()
    http.server_close()


@pytest.mark.parametrize("ranges", [True, False])
def test_goes_on_where_it_was_cut_off(server, tmp_path, ranges):
    path, server.ranges, server.cut = tmp_path / "new" / "file", ranges, True
    with pytest.raises(InputError, match=f"cut off at 640000 of {len(CONTENT)} bytes"):
        download(server.url, path)
    assert not path.exists()
    server.cut = False
    download(server.url, path)
    assert path.read_bytes() == CONTENT and server.asked == [None, "bytes=640000-"]
    download(server.url, path)
    assert len(server.asked) == 2 and [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_complete_part_is_taken_as_it_is(server, tmp_path):
    server.ranges = True
    (tmp_path / "file.part").write_bytes(CONTENT)
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_gzip_of_unknown_length_is_checked(server, tmp_path):
    server.length = False
    with pytest.raises(InputError, match="damaged or cut off"):
        download(server.url, tmp_path / "file.gz")
    assert not list(tmp_path.iterdir())


def test_errors_are_one_line(server, tmp_path):
    with pytest.raises(InputError, match="answers 404"):
        download(f"{server.url}/missing", tmp_path / "x")
    with pytest.raises(InputError, match="could not be fetched"):
        download("http://127.0.0.1:9", tmp_path / "x")


def test_a_zip_is_fetched_unpacked_and_done_with_and_gone_on_with_where_it_was_cut(tmp_path, monkeypatch):
    fetched = []

    def fetch(url, path):
        fetched.append(path.name)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images/1.txt", "one")
            archive.writestr("images/2.txt", "two")

    monkeypatch.setattr("kcm_lightning.data.download.download", fetch)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.txt").write_text("half")
    (tmp_path / "a.zip.part").touch()  # a fetch that was cut off
    fetch_and_unpack("http://x/a.zip", tmp_path, "images")
    assert (tmp_path / "images" / "1.txt").read_text() == "one" and not (tmp_path / "a.zip").exists()
    (tmp_path / "a.zip.part").unlink()
    fetch_and_unpack("http://x/a.zip", tmp_path, "images")
    assert fetched == ["a.zip"]
    monkeypatch.setattr("kcm_lightning.data.download.download", lambda url, path: path.write_bytes(b"no zip"))
    with pytest.raises(InputError, match="came damaged"):
        fetch_and_unpack("http://x/b.zip", tmp_path, "others")
    assert not (tmp_path / "b.zip").exists()
