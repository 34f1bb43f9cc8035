"""Telling users which part of the installation a verb needs."""

from importlib.util import find_spec

from openexpose.errors import InputError


def need(extra: str, *modules: str) -> None:
    """Refuse to go on without the packages of an extra.

    Args:
        extra: name of the extra, e.g. ``train``.
        modules: what it brings, as imported.

    Raises:
        InputError: some are not installed.
    """
    absent = [module for module in modules if find_spec(module) is None]
    if absent:
        raise InputError(
            f"an installation without {', '.join(absent)}",
            f"the extra '{extra}' for this command",
            f"pip install 'openexpose[{extra}]'",
        )
