"""Packages that only some commands need: the extras of the installation."""

from importlib.util import find_spec

from kcm_lightning.utils.errors import InputError


def require(package: str, *, extra: str, what: str) -> None:
    """Refuses to go on without a package of an extra.

    Args:
        package: name of its module.
        extra: the extra that installs it.
        what: what needs it, for the error.

    Raises:
        InputError: it is not installed; the message has the line that installs it.
    """
    if find_spec(package) is None:
        raise InputError(f"{what} needs the package {package}: pip install 'kcm_lightning[{extra}]'")
