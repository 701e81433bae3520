"""How numbers lie in registers: a dtype for each type of PTX."""

from __future__ import annotations

from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

U8, U16, U32, U64 = (np.dtype(t) for t in ("u1", "u2", "u4", "u8"))
S8, S16, S32, S64 = (np.dtype(t) for t in ("i1", "i2", "i4", "i8"))
F16, F32, F64 = (np.dtype(t) for t in ("f2", "f4", "f8"))
BF16 = np.dtype(ml_dtypes.bfloat16)
PREDICATE = np.dtype(np.bool_)

DTYPES: dict[str, np.dtype[Any]] = {
    "b8": U8, "u8": U8, "s8": S8,
    "b16": U16, "u16": U16, "s16": S16,
    "b32": U32, "u32": U32, "s32": S32,
    "b64": U64, "u64": U64, "s64": S64,
    "f16": F16, "bf16": BF16, "f32": F32, "f64": F64,
    "f16x2": U32, "bf16x2": U32, "u16x2": U32, "s16x2": U32, "pred": PREDICATE,
    "e4m3x2": U16, "e5m2x2": U16,
}  # fmt: skip
"""How each PTX type sees a register's bits."""
