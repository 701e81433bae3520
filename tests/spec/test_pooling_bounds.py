"""The bounds hold poolings in float32 in any order of summation, and no broken ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock.reference.pooling import pool_windows
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept, round_to
from gaugeblock.spec.pooling import POOLING

Array = NDArray[Any]
F = np.float32
FLOAT32, FLOAT16, BFLOAT16 = (FORMATS[name] for name in ("float32", "float16", "bfloat16"))
PLAIN = Arithmetic()
RECORDS = {record.name: record for record in POOLING}
WINDOWS: list[dict[str, Any]] = [
    {"kernel": 2},
    {"kernel": (3, 2), "stride": (2, 3), "padding": ((1, 0), (0, 2))},
    {"kernel": (5, 4), "stride": 1, "padding": 3, "ceil_mode": True},
    {"kernel": 3, "stride": 2, "padding": (4, 1), "ceil_mode": True},
]


def narrowed(array: Array, format: Any) -> Array:
    return round_to(array.astype(np.float64), format).astype(F)


def data(shape: tuple[int, ...], kind: str) -> Array:
    random = np.random.default_rng(sum(shape))
    x = random.normal(size=shape) if kind == "normal" else random.uniform(size=shape)
    return (x * 2.0 ** random.integers(-6, 6, shape)).astype(F)


def sums(x: Array, windows: Any, backward: bool, rounding: Any = FLOAT32) -> Array:
    """Add up the cells of every window in float32, or less, in row-major order or its reverse."""
    total = np.zeros((*x.shape[:2], *windows.output), F)
    found = list(windows.taps())
    for _, outputs, inputs in found[::-1] if backward else found:
        total[outputs] = narrowed(total[outputs] + x[inputs], rounding)
    return total


def divisors(windows: Any, count_include_pad: bool, divisor: float | None) -> Array:
    cells = windows.cells(padded=count_include_pad)
    return np.where(windows.cells(padded=False) == 0, 1, cells if divisor is None else divisor).astype(F)


def judged(name: str, got: Array, format: Any = FLOAT32, declared: Arithmetic = PLAIN, **given: Any) -> Any:
    """Which elements of a result keep the bound."""
    wide = {key: v.astype(np.float64) if isinstance(v, np.ndarray) else v for key, v in given.items()}
    want = RECORDS[name].reference(**wide)
    return accept(got, want, RECORDS[name].bound(wide, want, format, declared), format)


Divide = Callable[[Array, Array], Array]
DIVISIONS: list[Divide] = [lambda total, d: total / d, lambda total, d: total * (F(1) / d)]


@pytest.mark.spec("POOL-A2")
@pytest.mark.spec("POOL-S4")
@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("settings", [(True, None), (False, None), (True, 0.7), (True, -3.0)], ids=str)
@pytest.mark.parametrize("place", WINDOWS, ids=str)
def test_averages_keep_their_bound(place: dict[str, Any], settings: Any, format: Any) -> None:
    x = narrowed(data((2, 3, 9, 12), "normal"), format)
    windows = pool_windows(x.shape, **place)
    more = {**place, "count_include_pad": settings[0], "divisor": settings[1]}
    d = divisors(windows, *settings)
    for backward in (False, True):
        for divide in DIVISIONS:
            got = round_to(divide(sums(x, windows, backward), d).astype(np.float64), format)
            assert judged("avg_pool", got, format, x=x, **more).all()
    weighted = np.zeros((*x.shape[:2], *windows.output), F)
    for _, outputs, inputs in windows.taps():
        weighted[outputs] += x[inputs] * (F(1) / d)[outputs]
    assert judged("avg_pool", round_to(weighted.astype(np.float64), format), format, x=x, **more).all()


@pytest.mark.spec("POOL-A2")
@pytest.mark.spec("POOL-S5")
@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("place", WINDOWS, ids=str)
def test_gradients_of_averages_keep_their_bound(place: dict[str, Any], include: bool) -> None:
    shape = (2, 3, 9, 12)
    windows = pool_windows(shape, **place)
    dy = data((*shape[:2], *windows.output), "normal")
    share = dy / divisors(windows, include, None)
    more: dict[str, Any] = {**place, "count_include_pad": include, "input_shape": shape}
    for backward in (False, True):
        dx = np.zeros(shape, F)
        found = list(windows.taps())
        for _, outputs, inputs in found[::-1] if backward else found:
            dx[inputs] += share[outputs]
        assert judged("avg_pool_backward", dx, dy=dy, **more).all()
    found = list(windows.taps())
    if len(found) > 4:
        dx[found[0][2]] -= share[found[0][1]]
        assert not judged("avg_pool_backward", dx, dy=dy, **more).all()


@pytest.mark.spec("POOL-A2")
@pytest.mark.spec("POOL-A5")
def test_broken_averages_exceed_the_bound() -> None:
    x = narrowed(np.abs(data((1, 2, 64, 64), "positive")), FLOAT16)
    windows = pool_windows(x.shape, kernel=64)
    for rounding, good in ((FLOAT32, True), (FLOAT16, False)):
        got = round_to(sums(x, windows, False, rounding).astype(np.float64) / 4096, FLOAT16)
        assert judged("avg_pool", got, FLOAT16, x=x, kernel=64).all() == good
    half = round_to(sums(x, windows, False, FLOAT16).astype(np.float64) / 4096, FLOAT16)
    assert judged("avg_pool", half, FLOAT16, Arithmetic(accumulator="float16"), x=x, kernel=64).all()
    place = {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True}
    x = data((1, 2, 8, 8), "normal")
    always_nine = sums(x, pool_windows(x.shape, **place), False) / F(9)
    right = judged("avg_pool", always_nine, x=x, **place)
    assert right[..., :-1, :-1].all()
    assert not right[..., -1, :].any()


@pytest.mark.spec("POOL-A3")
@pytest.mark.spec("POOL-S3")
@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("place", WINDOWS, ids=str)
def test_gradients_of_maxima_keep_their_bound(place: dict[str, Any], format: Any) -> None:
    x = data((2, 3, 9, 12), "normal").round()
    indices = RECORDS["max_pool_indices"].reference(x, **place)
    dy = narrowed(data(indices.shape, "normal"), format)
    for order in (slice(None), slice(None, None, -1)):
        dx = np.zeros((6, 108), F)
        flat, routed = indices.reshape(6, -1)[:, order], dy.reshape(6, -1)[:, order]
        for plane in range(6):
            for index, value in zip(flat[plane], routed[plane], strict=True):
                if index >= 0:
                    dx[plane, index] += value
        got = round_to(dx.reshape(x.shape).astype(np.float64), format)
        assert judged("max_pool_backward", got, format, dy=dy, x=x, **place).all()
    narrow = np.zeros_like(dx)
    for plane in range(6):
        for index, value in zip(flat[plane], routed[plane], strict=True):
            if index >= 0:
                narrow[plane, index] = narrowed(narrow[plane, index] + value, BFLOAT16)
    overlapping = place["kernel"] in ((5, 4), 3)
    if overlapping and format == FLOAT16:
        assert not judged("max_pool_backward", narrow.reshape(x.shape), format, dy=dy, x=x, **place).all()


@pytest.mark.spec("POOL-A1")
@pytest.mark.spec("POOL-A3")
def test_what_is_copied_is_exact() -> None:
    x = data((1, 1, 4, 4), "normal")
    for name in ("max_pool", "max_pool_indices"):
        want = RECORDS[name].reference(x, kernel=2)
        assert (RECORDS[name].bound({"x": x, "kernel": 2}, want, BFLOAT16, PLAIN).value == 0).all()
    assert RECORDS["max_pool_indices"].result_dtype == "int64"
    dy = np.full((1, 1, 2, 2), 3.0)
    want = RECORDS["max_pool_backward"].reference(dy, x.astype(np.float64), kernel=2)
    arguments = {"dy": dy, "x": x, "kernel": 2}
    assert (RECORDS["max_pool_backward"].bound(arguments, want, BFLOAT16, PLAIN).value == 0).all()


@pytest.mark.spec("POOL-A4")
@pytest.mark.parametrize("divide", DIVISIONS)
def test_integers_are_exact_where_the_divisor_is_a_power_of_two(divide: Divide) -> None:
    x = np.random.default_rng(0).integers(-(2**20), 2**20, (1, 2, 8, 8)).astype(F)
    for place in ({"kernel": 4, "stride": 1}, {"kernel": 3, "divisor": 8.0, "padding": 1}):
        windows = pool_windows(x.shape, **{k: v for k, v in place.items() if k != "divisor"})
        total = sums(x, windows, True)
        want = RECORDS["avg_pool"].reference(x.astype(np.float64), **place)
        assert (divide(total, F(place.get("divisor", 16.0))) == round_to(want, FLOAT32)).all()


@pytest.mark.spec("POOL-A2")
def test_an_average_may_overflow_on_the_way_and_a_divisor_may_have_no_reciprocal() -> None:
    x = np.full((1, 1, 2), 3e38)
    for given, free in (({}, True), ({"divisor": 2.0**127}, True), ({"kernel": 1}, False)):
        arguments: dict[str, Any] = {"x": x, "kernel": 2, **given}
        want = RECORDS["avg_pool"].reference(**arguments)
        bound = RECORDS["avg_pool"].bound(arguments, want, FLOAT32, PLAIN)
        assert np.isinf(bound.value).all() == free


@pytest.mark.spec("POOL-X3")
def test_an_infinite_average_is_demanded() -> None:
    x = np.array([[[np.inf, 1.0, 2.0, 3.0]]])
    want = RECORDS["avg_pool"].reference(x, kernel=2)
    bound = RECORDS["avg_pool"].bound({"x": x, "kernel": 2}, want, FLOAT32, PLAIN)
    assert accept(np.array([[[np.inf, 2.5]]]), want, bound, FLOAT32).all()
    assert not accept(np.array([[[3e38, np.inf]]]), want, bound, FLOAT32).any()
