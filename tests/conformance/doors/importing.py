"""Open a door when the library that it is for is imported, and not before: a backend may never need it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

DOORS: Final[Mapping[str, str]] = {"triton": "gaugeblock.conformance.doors.triton"}
"""Libraries, and the module whose ``open_door`` is called once they are imported."""


class _Opening(Loader):
    """Loads a library as its own loader does, and opens the door behind it."""

    def __init__(self, loader: Loader, door: str) -> None:
        self._loader, self._door = loader, door

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        importlib.import_module(self._door).open_door()


class _Keeper(MetaPathFinder):
    """Finds the libraries that have a door, once each."""

    def __init__(self) -> None:
        self._left = dict(DOORS)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        door = self._left.pop(name, None)
        spec = importlib.util.find_spec(name) if door else None
        if spec is None or spec.loader is None or door is None:
            return None
        spec.loader = _Opening(spec.loader, door)
        return spec


def keep_doors() -> None:
    """See to it that imports from now on open their doors."""
    for library, door in DOORS.items():
        if library in sys.modules:
            importlib.import_module(door).open_door()
    sys.meta_path.insert(0, _Keeper())
