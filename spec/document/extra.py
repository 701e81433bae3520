"""The packages that only the document needs come with the extra ``document``."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

__all__ = ["MissingExtra", "folder_of", "imported"]


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
        raise _missing(module) from error


def folder_of(package: str) -> Path:
    """Return the folder of a package of the extra ``document`` whose files are used; it is not imported.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise _missing(package)
    return Path(found.submodule_search_locations[0])


def _missing(module: str) -> MissingExtra:
    return MissingExtra(
        f"{module} is not installed; building the document needs: pip install '.[document]' in a checkout,"
        " or pypandoc_binary, typst, ziamath and fonttools"
    )
