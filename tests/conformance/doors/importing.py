"""Open a door when the library that it is for is imported, and not before: a backend may never need it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

DOORS: Final[Mapping[str, str]] = {
    "triton": "gaugeblock.conformance.doors.triton",
    "numba.cuda": "gaugeblock.conformance.doors.numba_cuda",
    "cupy": "gaugeblock.conformance.doors.cupy_raw",
}
"""Libraries, and the module whose ``open_door`` is called once they are imported."""

STANDS_IN: Final = ("cupy",)
"""Libraries whose door has a ``stand_in`` for them where they are not installed."""

_open: dict[str, ModuleType] = {}


def open_door(library: str) -> None:
    """Open the door of a library that has been imported."""
    door = importlib.import_module(DOORS[library])
    if door.open_door():
        _open[library] = door


def said() -> dict[str, Any]:
    """Return what the doors that are open say of the device behind them, as a backend would of its own."""
    return {name: value for door in _open.values() for name, value in door.described().items()}


class _Opening(Loader):
    """Loads a library as its own loader does, and opens the door behind it."""

    def __init__(self, loader: Loader, library: str) -> None:
        self._loader, self._library = loader, library

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        open_door(self._library)


class _StandIn(Loader):
    """Loads what a door has in place of a library."""

    def __init__(self, library: str) -> None:
        self._library = library

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType = importlib.import_module(DOORS[self._library]).stand_in()
        return module

    def exec_module(self, module: ModuleType) -> None:
        open_door(self._library)


class _Keeper(MetaPathFinder):
    """Finds the libraries that have a door, once each."""

    def __init__(self) -> None:
        self._left = set(DOORS)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._left:
            return None
        self._left.remove(name)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Opening(spec.loader, name)
        elif name in STANDS_IN:
            spec = ModuleSpec(name, _StandIn(name))
        return spec


def keep_doors() -> None:
    """See to it that imports from now on open their doors."""
    for library in DOORS:
        if library in sys.modules and library not in _open:
            open_door(library)
    if not any(isinstance(finder, _Keeper) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Keeper())


def tune(how: Any) -> None:
    """Tell the doors which configurations of tuned kernels a backend wants to be run."""
    if how not in (None, "first", "all"):
        raise ValueError(f"tuning is {how!r}, expected 'first' or 'all'")
    for door in _open.values():
        door.tune(how or "first")
