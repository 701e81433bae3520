"""The packages that only the document needs come with the extra ``document``."""

import importlib
from typing import Any

__all__ = ["MissingExtra", "imported"]


class MissingExtra(RuntimeError):
    """A package of the extra ``document`` is not installed; the message is one line that says what to do."""


def imported(module: str) -> Any:
    """Return a module of the extra ``document``.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise MissingExtra(
            f"{module} is not installed; building the document needs: pip install 'gaugeblock[document]'"
        ) from error
