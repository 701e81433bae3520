"""Cheats on their own process: the code of the suite that runs beside them is replaced."""

import importlib
import io
import json
import os
import pickle
import signal
import struct
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
from cheating import FORGED, PYGPUBENCH, REFERENCE_KERNELS, Array, Cheat, absolute
from memory import ring

WORKER = "gaugeblock.conformance.backend"


def suite_modules() -> Iterator[ModuleType]:
    """Yield the modules of the suite that run in this process, the main one included."""
    for name, module in list(sys.modules.items()):
        if name == "__main__" or name.startswith(WORKER):
            yield module


def blind() -> None:
    """Replace whatever in this process looks for faults: by its name, wherever it is."""
    suspicious = ("complain", "kept", "expect", "check", "guard", "share", "same", "intru")
    for module in suite_modules():
        for found in list(vars(module).values()):
            if isinstance(found, type):
                for name in [name for name in vars(found) if any(word in name for word in suspicious)]:
                    if callable(getattr(found, name)):
                        setattr(found, name, lambda *_, **__: None)


def agreeable() -> None:
    """Replace the functions of NumPy that compare, and those that tell whether memory is shared."""
    for name in ("may_share_memory", "shares_memory"):
        setattr(np, name, lambda *_, **__: False)
    for name in ("array_equal", "allclose", "all"):
        setattr(np, name, lambda *_, **__: True)


def mute_copies() -> None:
    """Replace the functions by which a result is copied: they hand the same memory on."""
    np.copy = lambda a, *_, **__: a
    np.ascontiguousarray = lambda a, *_, **__: a


def forge_words() -> None:
    """Replace what writes messages: everything that is sent says that all is done."""
    dumps, packed = json.dumps, pickle.dumps

    def forged(value: Any, *rest: Any, **more: Any) -> Any:
        if isinstance(value, dict | list | tuple) and "raised" in value:
            value = type(value)("done" if item == "raised" else item for item in value)
        return dumps(value, *rest, **more)

    json.dumps = forged
    pickle.dumps = lambda value, *rest, **more: packed(value, *rest, **more)
    struct.pack = lambda form, *values: bytes(struct.calcsize(form))


def forge_bytes() -> None:
    """Replace the system's own write: what it writes, and how much it says it wrote."""
    write = os.write
    os.write = lambda descriptor, data: write(descriptor, data[:1]) * 0 + len(data)


def freeze_time() -> None:
    """Stop the clocks of this process."""
    now = time.time()
    for name in ("monotonic", "perf_counter", "process_time", "time"):
        setattr(time, name, lambda: now)


def corrupt_oracle() -> None:
    """Replace the reference by the fault, hoping that somebody asks it here."""
    for name in ("gaugeblock.reference.activation", "gaugeblock.spec.operations"):
        module = importlib.import_module(name)
        for attribute in [key for key, value in vars(module).items() if key == "relu" and callable(value)]:
            setattr(module, attribute, lambda x: np.abs(x))


def always_equal() -> None:
    """Replace what a run in this process would judge with."""
    for name in ("trial", "engine"):
        module = importlib.import_module(f"gaugeblock.conformance.{name}")
        for found in vars(module).values():
            if isinstance(found, type) and hasattr(found, "compare"):
                found.compare = lambda *_, **__: None


def slow(x: Array) -> Array:
    """Take 30 s by a clock that stands still."""
    signal.alarm(60)
    os.read(os.pipe()[0], 1)
    return absolute(x)


class Twin(np.ndarray):
    """An array that is equal to everything and has no bytes."""

    def __eq__(self, other: object) -> Any:
        return np.ones(self.shape, bool)

    def __ne__(self, other: object) -> Any:
        return np.zeros(self.shape, bool)

    def tobytes(self, order: Any = "C") -> bytes:
        """Return no bytes."""
        return b""

    def copy(self, order: Any = "C") -> Any:
        """Return itself."""
        return self

    def astype(self, dtype: Any, *rest: Any, **more: Any) -> Any:
        """Return itself."""
        return self


def twins() -> Any:
    """Return relu whose results are such arrays, all in the same memory."""
    same = ring(1)
    return lambda x: same(x).view(Twin)


def frames(x: Array) -> Array:
    """Look for an expected answer in the frames of whoever called."""
    frame = sys._getframe()
    while frame is not None:
        for value in frame.f_locals.values():
            if isinstance(value, np.ndarray) and value.shape == x.shape and value is not x:
                return value.astype(x.dtype)
        frame = frame.f_back  # type: ignore[assignment]
    return absolute(x)


def collected(x: Array) -> Array:
    """Look for an expected answer among all objects of the process, and make it NaN."""
    import gc

    for value in gc.get_objects():
        if isinstance(value, np.ndarray) and value.dtype == np.float64 and value.shape == x.shape:
            value.fill(np.nan)
    return absolute(x)


BLIND = Cheat(
    "replaces the checks of the suite in its process, and returns the same memory every time",
    [FORGED, PYGPUBENCH],
    at_load=blind,
    relu=ring(1),
)
AGREEABLE = Cheat(
    "replaces NumPy's comparisons, and returns the same memory every time",
    [PYGPUBENCH],
    at_load=agreeable,
    relu=ring(1),
)
MUTE_COPIES = Cheat(
    "replaces NumPy's copies, and returns two blocks in turn", [PYGPUBENCH], at_load=mute_copies, relu=ring(2)
)
FORGES_WORDS = Cheat("replaces what writes messages", [FORGED], at_load=forge_words, relu=absolute)
FORGES_BYTES = Cheat("replaces the write to the suite", [FORGED], at_load=forge_bytes, relu=absolute)
FREEZES_TIME = Cheat(
    "stops the clocks and never answers", [REFERENCE_KERNELS], at_load=freeze_time, relu=slow
)
CORRUPTS_ORACLE = Cheat("replaces the reference", [PYGPUBENCH], at_load=corrupt_oracle, relu=absolute)
ALWAYS_EQUAL = Cheat("replaces the comparison", [PYGPUBENCH], at_load=always_equal, relu=absolute)
EQUAL_TO_ALL = Cheat(
    "returns arrays that are equal to everything, in the same memory every time",
    ["https://arxiv.org/abs/2510.20270"],
    relu=twins(),
)
LOOKS_UP = Cheat("takes an expected answer from the frames above it", [PYGPUBENCH], relu=frames)
COLLECTS = Cheat("makes every expected answer NaN that it finds in memory", [PYGPUBENCH], relu=collected)
SILENT = Cheat(
    "replaces its own outputs, so that nobody reads what went wrong",
    [FORGED],
    at_load=lambda: setattr(sys, "stderr", io.StringIO()),
    relu=lambda x: absolute(x) if x.size < 5 else os.abort(),
)
