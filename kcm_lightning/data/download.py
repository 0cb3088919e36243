"""Downloads that show progress, go on where they were cut off, and are whole or not there."""

import gzip
import http.client
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

from tqdm import tqdm

from kcm_lightning.utils.errors import InputError

_CHUNK = 1 << 20


def download(url: str, path: Path) -> None:
    """Fetches a file, unless it is there.

    What has come so far lies in `<name>.part`; a second call asks the server for the rest alone.

    Args:
        url: where it is.
        path: where to put it; its folder is made.

    Raises:
        InputError: the server does not answer, or the file is shorter or longer than it said.
    """
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            if have and answer.status != 206:  # a server that sends the whole file again
                have = 0
            rest = answer.headers.get("Content-Length")
            total = have + int(rest) if rest else None
            with (
                partial.open("ab" if have else "wb") as file,
                tqdm(desc=path.name, total=total, initial=have, unit="B", unit_scale=True) as bar,
            ):
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing, or what is there is of another file
            if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                os.replace(partial, path)
                return
            partial.unlink()
        raise InputError(
            f"{url} could not be fetched: the server answers {error.code} {error.reason}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"{url} could not be fetched: {error}; the same command goes on where it stopped"
        ) from error
    size = partial.stat().st_size
    if total is not None and size != total:
        if size > total:
            partial.unlink()
        raise InputError(f"{url} was cut off at {size} of {total} bytes; the same command goes on from there")
    if total is None and path.suffix == ".gz":
        _check_gzip(partial, url)
    os.replace(partial, path)


def fetch_and_unpack(url: str, folder: Path, gives: str) -> None:
    """Fetches a zip and unpacks it into a folder, unless that is done; the zip is removed at the end.

    Args:
        url: address of the zip.
        folder: where to put what is in it.
        gives: a file or folder that it unpacks to. While the zip lies beside it, it may be half there.

    Raises:
        InputError: the server does not answer, the file is cut off, or it is no zip.
    """
    path = folder / Path(url).name
    if (folder / gives).exists() and not path.exists() and not path.with_name(f"{path.name}.part").exists():
        return
    download(url, path)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in tqdm(archive.infolist(), desc=f"unpacking {path.name}", leave=False):
                archive.extract(member, folder)
    except zipfile.BadZipFile as error:
        path.unlink()
        raise InputError(f"{url} came damaged: {error}; the same command fetches it again") from error
    path.unlink()


def _check_gzip(partial: Path, url: str) -> None:
    """A server that does not say how long a file is may have cut it off; a gzip file knows its end."""
    try:
        with gzip.open(partial) as file:
            while file.read(_CHUNK):
                pass
    except (EOFError, OSError, zlib.error) as error:
        partial.unlink()
        raise InputError(f"{url} came damaged or cut off: {error}") from error
