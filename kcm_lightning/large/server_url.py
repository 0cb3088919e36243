"""Addresses of servers: checked, and one spelling for each."""

from urllib.parse import SplitResult, urlsplit

from kcm_lightning.utils.errors import InputError

_PORTS = {"http": 80, "https": 443}


def server_url(base_url: str) -> str:
    """The one spelling of a server's address: host in small letters, no standard port, no slash at the end.

    Args:
        base_url: the address.

    Raises:
        InputError: it is no address of a server, or holds a password.

    >>> server_url("HTTP://Localhost:80/v1/")
    'http://localhost/v1'
    """
    wrong = f"--model.teacher.base_url={base_url!r} is no address such as http://localhost:8000/v1: "
    if "@" in base_url:
        raise InputError("--model.teacher.base_url must hold no password: put the key into the environment")
    if not base_url.isprintable() or " " in base_url:
        raise InputError(f"{wrong}it has spaces or line ends")
    try:
        url = urlsplit(base_url)
        port = url.port
    except ValueError as error:
        raise InputError(f"{wrong}{error}") from None
    if url.scheme not in _PORTS or not url.hostname:
        raise InputError(f"{wrong}it begins with neither http:// nor https:// and a host")
    if port == 0 or url.fragment:
        raise InputError(f"{wrong}a port is a number from 1 to 65535, and nothing follows a #")
    return url._replace(netloc=_host(url), path=url.path.rstrip("/")).geturl()


def other_spellings(base_url: str) -> list[str]:
    """How the same address may have been written when earlier answers were stored.

    Args:
        base_url: the address, as it is given now.
    """
    one = server_url(base_url)
    url = urlsplit(one)
    spellings = [one, base_url]
    if url.port is None:
        spellings.append(url._replace(netloc=f"{url.netloc}:{_PORTS[url.scheme]}").geturl())
    spellings += [f"{spelling.rstrip('/')}/" for spelling in spellings]
    return [spelling for spelling in dict.fromkeys(spellings) if spelling != one]


def url_of(base_url: str, page: str) -> str:
    """Address of a page of a server, its query kept.

    >>> url_of("http://localhost/v1?version=2", "models")
    'http://localhost/v1/models?version=2'
    """
    url = urlsplit(base_url)
    return url._replace(path=f"{url.path}/{page}").geturl()


def is_same_host(url: str, other: str) -> bool:
    """Whether what is sent to one address may go to another: the same host and port, or its https."""
    one, two = urlsplit(url), urlsplit(other)
    try:
        same = (one.scheme, _host(one)) == (two.scheme, _host(two))
        safer = (one.scheme, two.scheme) == ("http", "https") and one.port is two.port is None
        return same or (safer and one.hostname == two.hostname)
    except ValueError:
        return False


def _host(url: SplitResult) -> str:
    """Host and, where it is not the scheme's own, port."""
    host = url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if url.port in (None, _PORTS.get(url.scheme)) else f"{host}:{url.port}"
