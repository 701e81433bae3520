"""A loaded module: PTX parsed once per process, variables in device memory, kernels decoded on first use."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from gaugeblock.gpu.simulator.errors import LogicError
from gaugeblock.gpu.simulator.machine.program import Program, decode
from gaugeblock.gpu.simulator.ptx import PtxError, parse
from gaugeblock.gpu.simulator.ptx.lowering import lower
from gaugeblock.gpu.simulator.ptx.syntax import SIZES, Float, Integer, Module, Name, Operand, Variable
from gaugeblock.gpu.simulator.state.memory import BASE, Allocation, GlobalMemory

_FUNCTIONS = 0x100
"""Where functions would begin: below all memory, so that nothing can be read there."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage while many objects are made that stay: looking at them took a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@lru_cache(maxsize=256)
def parsed(text: str) -> Module:
    """Parse PTX, remembering the last texts."""
    with uncollected():
        return parse(text)


class LoadedModule:
    """A module and its variables on the device."""

    def __init__(self, text: str, memory: GlobalMemory) -> None:
        self.memory, self._text = memory, text
        try:
            self.tree = parsed(text)
        except PtxError as error:
            raise LogicError(f"cannot load the module: {error}") from error
        self.variables: dict[str, Allocation] = {}
        for variable in self.tree.variables:
            if variable.space in ("global", "const") and not variable.external:
                size = variable.size or 0
                self.variables[variable.name] = memory.allocate(
                    size, f".{variable.space} variable {variable.name}"
                )
        self.addresses = {name: BASE + place.start for name, place in self.variables.items()}
        for number, name in enumerate(self.tree.functions):
            self.addresses[name] = _FUNCTIONS + 16 * number
        for variable in self.tree.variables:
            if variable.name in self.variables:
                self._initialise(variable)
            elif variable.space in ("global", "const"):
                raise LogicError(f"cannot load the module: it does not define the variable {variable.name}")
        self._programs: dict[str, Program] = {}

    def _initialise(self, variable: Variable) -> None:
        """Fill a variable; what its initialiser does not name is zero."""
        place = self.variables[variable.name]
        data = self.memory.host_range(self.addresses[variable.name], place.size, True)
        data[:] = 0
        size = SIZES[variable.type]
        for number, value in enumerate(variable.initial):
            bits = self._bits(value) & ((1 << 8 * size) - 1)
            data[number * size : (number + 1) * size] = np.frombuffer(bits.to_bytes(size, "little"), np.uint8)

    def _bits(self, value: Operand) -> int:
        if isinstance(value, Integer):
            return value.value
        if isinstance(value, Float):
            return value.bits
        if isinstance(value, Name) and value.text in self.addresses:
            return self.addresses[value.text] + value.offset
        raise LogicError(f"cannot load the module: initialiser {value} is not supported")

    def program(self, name: str) -> Program:
        """Return a kernel, decoded."""
        if name not in self._programs:
            kernel = self.tree.functions.get(name)
            if kernel is None or not kernel.entry or kernel.body is None:
                known = ", ".join(f.name for f in self.tree.functions.values() if f.entry)
                raise LogicError(
                    f"cuModuleGetFunction failed: no kernel {name!r} in the module (kernels: {known})"
                )
            try:
                with uncollected():
                    self._programs[name] = decode(lower(self.tree, kernel, self.addresses), self._text)
            except PtxError as error:
                raise LogicError(f"kernel {name}: {error}") from error
        return self._programs[name]

    def unload(self) -> None:
        """Free the variables."""
        for place in self.variables.values():
            self.memory.free(place)
        self.variables.clear()
