"""The test vectors of GEMM."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from gaugeblock.spec.formats import FORMATS
from gaugeblock.spec.vectors.case import Data, Strided, call, misuse, pattern

__all__ = ["cases"]

_INF, _NAN = np.inf, np.nan
_call, _misuse = partial(call, "gemm"), partial(misuse, "gemm")


def cases() -> Iterator[tuple[str, Data]]:
    """Yield the vectors, each with its operation."""
    for case in (*_semantics(), *_special(), *_strided(), *_misuses()):
        yield "gemm", case


def _semantics() -> Iterator[Data]:
    a, b, c = pattern(2, 3), pattern(3, 4, start=1), pattern(2, 4, start=2)
    for dtype in FORMATS:
        yield _call("GEMM-S1", "a product", {"a": a, "b": b}, dtype=dtype)
        yield _call(
            "GEMM-S1",
            "both transposed",
            {"a": a.T, "b": b.T},
            dtype=dtype,
            transpose_a=True,
            transpose_b=True,
        )
        tenths = {"a": 0.1 * pattern(3, 5), "b": 0.1 * pattern(5, 2, start=3)}
        yield _call("GEMM-S1", "numbers that have to be rounded", tenths, dtype=dtype)
        yield _call(
            "GEMM-S2",
            "factors of product and addend",
            {"a": a, "b": b, "c": c},
            dtype=dtype,
            alpha=-0.5,
            beta=0.7,
        )
    yield _call("GEMM-S1", "one number times one", {"a": [[3.0]], "b": [[-0.5]]})
    yield _call("GEMM-S1", "left transposed", {"a": a.T, "b": b}, transpose_a=True)
    yield _call("GEMM-S1", "right transposed", {"a": a, "b": b.T}, transpose_b=True)
    for name, shape in (("a row", (4,)), ("a column", (2, 1)), ("one number", ())):
        addend = {"a": a, "b": b, "c": pattern(*shape, start=4)}
        yield _call("GEMM-S2", f"the addend is {name}", addend, beta=1.0)
    yield _call("GEMM-S2", "a factor that is no float32 number", {"a": a, "b": b}, alpha=0.1)
    spoilt = np.array([[_NAN, _INF, 0, 1], [2, -_INF, 3, _NAN]])
    yield _call("GEMM-S3", "beta is 0 and c holds NaN", {"a": a, "b": b, "c": spoilt}, beta=0.0)
    yield _call(
        "GEMM-S3",
        "alpha is 0, a and b hold NaN and infinities",
        {"a": a * _NAN, "b": b * _INF, "c": c},
        alpha=0.0,
        beta=1.0,
    )
    yield _call("GEMM-S3", "alpha and beta are 0", {"a": a * _NAN, "b": b, "c": spoilt}, alpha=0.0, beta=0.0)
    yield _call("GEMM-S4", "a batch", {"a": pattern(2, 2, 3), "b": pattern(2, 3, 2, start=5)})
    broadcast = {"a": pattern(2, 1, 2, 3), "b": pattern(3, 3, 2, start=1), "c": pattern(3, 1, 2, start=2)}
    yield _call("GEMM-S4", "batch axes that broadcast, and those of c", broadcast, beta=2.0)
    yield _call("GEMM-S4", "one matrix for a batch", {"a": pattern(2, 3), "b": pattern(2, 3, 2, start=1)})


def _special() -> Iterator[Data]:
    c = pattern(2, 3)
    yield _call("GEMM-X1", "K is 0", {"a": np.ones((2, 0)), "b": np.ones((0, 3))})
    yield _call(
        "GEMM-X1", "K is 0, with an addend", {"a": np.ones((2, 0)), "b": np.ones((0, 3)), "c": c}, beta=0.5
    )
    yield _call("GEMM-X1", "M is 0", {"a": np.ones((0, 2)), "b": np.ones((2, 3))})
    yield _call("GEMM-X1", "N is 0", {"a": np.ones((2, 2)), "b": np.ones((2, 0))})
    yield _call("GEMM-X1", "an empty batch", {"a": np.ones((0, 2, 2)), "b": np.ones((2, 3))})
    b = pattern(3, 3, start=1)
    for name, values in (
        ("NaN in a row", [[1, _NAN, 2], [3, 4, 5]]),
        ("infinity times zero, and times others", [[1, _INF, 2], [3, 4, 5]]),
        ("infinities that cancel", [[_INF, -_INF, 2], [3, 4, 5]]),
    ):
        zero = np.where(np.eye(3) > 0, 0.0, b)
        for dtype in FORMATS:
            yield _call("GEMM-X2", name, {"a": np.array(values), "b": zero}, dtype=dtype)
    tiny = FORMATS["float32"].smallest_subnormal
    subnormal = {"a": [[3 * tiny, 5 * tiny]], "b": [[2.0], [4.0]]}
    yield _call("GEMM-X2", "subnormal numbers count", subnormal)
    yield _call(
        "GEN-X1", "NaN in the addend", {"a": pattern(2, 2), "b": pattern(2, 3), "c": c * _NAN}, beta=1.0
    )
    for dtype, format in FORMATS.items():
        large = {"a": [[format.largest, 0.0]], "b": [[2.0], [1.0]]}
        yield _call("GEN-X3", "a result too large for the format", large, dtype=dtype)


def _strided() -> Iterator[Data]:
    memory, b = pattern(24, start=6), pattern(3, 2, start=1)
    for name, array in (
        ("columns in a row", Strided(memory[:6], (2, 3), (1, 2))),
        ("rows with gaps", Strided(memory[:12], (2, 3), (6, 1))),
        ("every second element", Strided(memory[:12], (2, 3), (6, 2), 1)),
        ("backwards", Strided(memory[:6], (2, 3), (-3, -1), 5)),
        ("one row for all", Strided(memory[:3], (2, 3), (0, 1))),
    ):
        yield _call("GEN-S2", f"a layout: {name}", {"a": array, "b": b})


def _misuses() -> Iterator[Data]:
    a, b = pattern(2, 3), pattern(3, 4)
    yield _misuse("GEMM-C1", "a vector on the left", {"a": a[0], "b": b})
    yield _misuse("GEMM-C1", "a vector on the right", {"a": a, "b": b[:, 0]})
    yield _misuse("GEMM-C2", "inner sizes differ", {"a": a, "b": b.T})
    yield _misuse("GEMM-C2", "an inner size of 1 is not broadcast", {"a": a[:, :1], "b": b})
    yield _misuse("GEMM-C2", "inner sizes differ after transposing", {"a": a, "b": b}, transpose_a=True)
    yield _misuse("GEMM-C3", "batches differ", {"a": pattern(2, 2, 3), "b": pattern(3, 3, 4)})
    for name, shape in (("too long", (5,)), ("transposed", (4, 2)), ("of more axes", (3, 2, 4))):
        yield _misuse(
            "GEMM-C4", f"an addend that is {name}", {"a": a, "b": b, "c": pattern(*shape)}, beta=1.0
        )
    yield _misuse("GEMM-C4", "beta without an addend", {"a": a, "b": b}, beta=1.0)
    yield _misuse("GEMM-C5", "another format on the right", {"a": a, "b": b}, dtypes={"b": "float16"})
