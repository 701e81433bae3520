"""Open a door when the library that it is for is imported, and not before: a backend may never need it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any, Final

DOORS: Final[Mapping[str, str]] = {
    "triton": "gaugeblock.conformance.doors.triton",
    "numba.cuda": "gaugeblock.conformance.doors.numba_cuda",
    "cupy": "gaugeblock.conformance.doors.cupy_raw",
    "pycuda._driver": "gaugeblock.conformance.doors.pycuda",
    "pycuda._pvt_struct": "gaugeblock.conformance.doors.pycuda",
    "pycuda.compiler": "gaugeblock.conformance.doors.pycuda",
}
"""Libraries, and the module whose ``open_door`` is called once they are imported."""

STANDS_IN: Final = ("cupy",)
"""Libraries whose door has a ``stand_in`` for them where they are not installed."""

REPLACED: Final = ("pycuda._driver", "pycuda._pvt_struct")
"""Modules whose door has a ``stand_in`` for them, installed or not, where it ``simulates``."""

_open: dict[str, ModuleType] = {}
_by_others: set[str] = set()
"""Libraries that another one imported first, as PyTorch does Triton: that alone is no use of them."""


def open_door(library: str) -> None:
    """Open the door of a library that has been imported."""
    door = importlib.import_module(DOORS[library])
    if door.open_door():
        _open[library] = door


def said() -> dict[str, Any]:
    """Return what the doors that are open say of the device behind them, as a backend would of its own."""
    doors = [door for library, door in _open.items() if library not in _by_others or _is_used(library)]
    return {name: value for door in doors for name, value in door.described().items()}


def _is_used(library: str) -> bool:
    """Whether a module that is no part of it has the library, or something of it, among its globals."""
    package = library.partition(".")[0]
    return any(
        _package_of(value) == package
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and name.partition(".")[0] not in (package, "torch", "gaugeblock")
        for value in list(vars(module).values())
    )


def _package_of(value: Any) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else type(value).__module__
    return str(name).partition(".")[0]


def _importer() -> str:
    """Return the package of the code that asks for an import."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name != __name__ and not name.startswith(("importlib", "_frozen_importlib")):
            return name.partition(".")[0]
        frame = frame.f_back
    return ""


class _Opening(Loader):
    """Loads a library as its own loader does, and opens the door behind it."""

    def __init__(self, loader: Loader, library: str) -> None:
        self._loader, self._library = loader, library

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        if _importer() == "torch":
            _by_others.add(self._library)
        self._loader.exec_module(module)
        open_door(self._library)


class _StandIn(Loader):
    """Loads what a door has in place of a library."""

    def __init__(self, library: str) -> None:
        self._library = library

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType = importlib.import_module(DOORS[self._library]).stand_in(self._library)
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
        if name in REPLACED and importlib.import_module(DOORS[name]).simulates():
            spec = ModuleSpec(name, _StandIn(name))
        elif spec is not None and spec.loader is not None:
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
