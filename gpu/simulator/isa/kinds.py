"""Kinds of types that instructions take, and functions of halves that are packed in pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gaugeblock.gpu.simulator.numbers.types import BF16, F16, U32, Array

INTEGERS = tuple(f"{kind}{bits}" for kind in "us" for bits in (16, 32, 64))
PAIRS = ("u16x2", "s16x2")
BITS = ("b16", "b32", "b64")
FLOATS = ("f32", "f64")
HALVES = ("f16", "bf16", "f16x2", "bf16x2")
HALF: Mapping[str, np.dtype[Any]] = {"f16": F16, "bf16": BF16, "f16x2": F16, "bf16x2": BF16}


def packed(function: Callable[..., Array], element: np.dtype[Any]) -> Callable[..., Array]:
    """Apply a function of 16-bit floats to both halves of 32-bit registers."""

    def both(*words: Array) -> Array:
        halves = [np.ascontiguousarray(word)[..., None].view(element) for word in words]
        result: Array = np.ascontiguousarray(function(*halves))
        return result.view(U32)[..., 0]

    return both


def same(x: Array) -> Array:
    """Return a register as it is."""
    return x


def unsigned(type_: str) -> str:
    """Return the type in which registers mostly lie, for what does not ask for the sign of an integer."""
    return type_.replace("s", "u")
