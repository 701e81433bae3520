"""What the pages on convolution and pooling define, written out by element, is what the reference does.

The loops here follow the pages' formulas and share nothing with the reference.
"""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import reference
from gaugeblock.spec.convolution import CONVOLUTION
from gaugeblock.spec.pooling import POOLING

Array = NDArray[Any]
RECORDS = {record.name: record for record in (*CONVOLUTION, *POOLING)}
AXES = list(itertools.product((1, 2, 5, 7), (1, 2, 3), (1, 2, 3), (1, 2), ((0, 0), (1, 2), (3, 0))))


def convolved(x: Array, w: Array, s: int, d: int, b: int, P: int, groups: int) -> Array:
    """Convolve one spatial axis by CONV-S1."""
    (N, _, H), (K, block, R) = x.shape, w.shape
    y = np.zeros((N, K, P))
    for n, k, p, c, r in itertools.product(range(N), range(K), range(P), range(block), range(R)):
        i = p * s + r * d - b
        if 0 <= i < H:
            y[n, k, p] += x[n, k // (K // groups) * block + c, i] * w[k, c, r]
    return y


@pytest.mark.spec("CONV-D1")
@pytest.mark.spec("CONV-D2")
@pytest.mark.spec("CONV-D3")
def test_positions_and_taps_are_those_of_the_page() -> None:
    for H, R, s, d, (b, a) in AXES:
        x, w = np.arange(1.0, H + 1).reshape(1, 1, H), 10.0 ** np.arange(R).reshape(1, 1, R)
        P = max((H + b + a - d * (R - 1) - 1) // s + 1, 0)
        steps: dict[str, Any] = {"stride": s, "dilation": d, "padding": ((b, a),)}
        got = reference.conv(x, w, **steps)
        assert got.tolist() == convolved(x, w, s, d, b, P, 1).tolist()
        assert RECORDS["conv"].shape({"x": x.shape, "w": w.shape}, steps) == (1, 1, P)
        P = math.ceil(H / s)
        before = max((P - 1) * s + d * (R - 1) + 1 - H, 0) // 2
        same = reference.conv(x, w, stride=s, dilation=d, padding="same")
        assert same.tolist() == convolved(x, w, s, d, before, P, 1).tolist()


@pytest.mark.spec("CONV-D4")
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_are_consecutive_blocks_of_channels(groups: int) -> None:
    random = np.random.default_rng(groups)
    x, w = random.normal(size=(2, 4, 6)), random.normal(size=(8, 4 // groups, 3))
    want = convolved(x, w, 1, 1, 1, 6, groups)
    assert np.allclose(reference.conv(x, w, padding=1, groups=groups), want, rtol=1e-13, atol=1e-13)


@pytest.mark.spec("CONV-S9")
@pytest.mark.spec("CONV-S10")
@pytest.mark.parametrize(("H", "R"), [(7, 1), (7, 2), (7, 3), (7, 4), (8, 3), (8, 4)])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolve_and_cross_correlate_have_the_modes_of_the_page(mode: str, H: int, R: int) -> None:
    random = np.random.default_rng(H + R)
    x, w = random.normal(size=H), random.normal(size=R)
    full = [sum(x[p + r] * w[r] for r in range(R) if 0 <= p + r < H) for p in range(1 - R, H)]
    first = {"full": 0, "same": (R - 1) // 2, "valid": R - 1}[mode]
    want = full[first : first + {"full": H + R - 1, "same": H, "valid": H - R + 1}[mode]]
    assert np.allclose(reference.cross_correlate(x, w, mode=mode), want, rtol=1e-13, atol=1e-13)
    assert np.allclose(reference.convolve(x, w[::-1], mode=mode), want, rtol=1e-13, atol=1e-13)
    if mode != "same":  # of an even kernel NumPy takes the other half
        assert np.allclose(
            reference.convolve(x, w, mode=mode), np.convolve(x, w, mode), rtol=1e-13, atol=1e-13
        )


def pooled_length(H: int, R: int, s: int, d: int, b: int, a: int, ceil_mode: bool) -> int:
    """Return the length of a pooling by POOL-D2."""
    room = H + b + a - d * (R - 1) - 1
    if not ceil_mode:
        return max(room // s + 1, 0)
    P = max(math.ceil(room / s) + 1, 0)
    return P - 1 if P and (P - 1) * s >= H + b else P


@pytest.mark.spec("POOL-D1")
@pytest.mark.spec("POOL-D2")
@pytest.mark.spec("POOL-D3")
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_windows_and_divisors_are_those_of_the_page(ceil_mode: bool) -> None:
    for H, R, s, d, (b, a) in AXES:
        x = np.random.default_rng(H).permutation(H).astype(float).reshape(1, 1, H)
        P = pooled_length(H, R, s, d, b, a, ceil_mode)
        place: dict[str, Any] = {"kernel": R, "stride": s, "padding": ((b, a),), "ceil_mode": ceil_mode}
        cells = [[p * s + r * d - b for r in range(R)] for p in range(P)]
        held = [[i for i in window if 0 <= i < H] for window in cells]
        want = [max((x[0, 0, i] for i in window), default=-np.inf) for window in held]
        assert reference.max_pool(x, dilation=d, **place)[0, 0].tolist() == want
        chosen = [max(window, key=lambda i: x[0, 0, i], default=-1) for window in held]
        assert reference.max_pool_indices(x, dilation=d, **place)[0, 0].tolist() == chosen
        if d > 1:
            continue
        for include in (True, False):
            counted = [sum(-b <= i < H + a for i in window) if include else len(window) for window in cells]
            if not include:
                counted = [len(window) for window in held]
            means = [
                sum(x[0, 0, i] for i in window) / count if window and count else 0.0
                for window, count in zip(held, counted, strict=True)
            ]
            got = reference.avg_pool(x, count_include_pad=include, **place)[0, 0]
            assert np.allclose(got, means, rtol=1e-15, atol=0)
        shapes, record = {"x": x.shape}, RECORDS["avg_pool"]
        assert record.shape(shapes, place) == (1, 1, P)


@pytest.mark.spec("POOL-S8")
@pytest.mark.spec("POOL-S9")
@pytest.mark.spec("POOL-S10")
def test_the_poolings_that_only_the_reference_has_are_those_of_the_page() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 10, 7))
    norm = np.sqrt(np.sum(np.abs(x[:, :, :2, :2]) ** 2, axis=(2, 3)))
    assert np.allclose(reference.lp_pool(x, kernel=2, p=2)[:, :, 0, 0], norm, rtol=1e-14, atol=0)
    assert np.array_equal(reference.global_max_pool(x), np.max(x, axis=(2, 3), keepdims=True))
    mean = np.mean(x, axis=(2, 3), keepdims=True)
    assert np.allclose(reference.global_avg_pool(x), mean, rtol=1e-13, atol=1e-15)
    highest = reference.adaptive_max_pool(x, output_size=(3, 4))
    average = reference.adaptive_avg_pool(x, output_size=(3, 4))
    for p, q in itertools.product(range(3), range(4)):
        rows = slice(p * 10 // 3, math.ceil((p + 1) * 10 / 3))
        columns = slice(q * 7 // 4, math.ceil((q + 1) * 7 / 4))
        window = x[:, :, rows, columns]
        assert np.array_equal(highest[:, :, p, q], window.max(axis=(2, 3)))
        assert np.allclose(average[:, :, p, q], window.mean(axis=(2, 3)), rtol=1e-13, atol=1e-15)
