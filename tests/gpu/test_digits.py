"""Handwritten digits through two convolutions, rectifiers and maxima on the device, step by step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import gpu, reference
from gaugeblock.conformance.problems.real_data import small_network
from gaugeblock.gpu.runtime.device import DTYPES, to_device
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept
from gaugeblock.spec.operations import OPERATIONS

Array = NDArray[Any]
IMAGES = 8


def step(operation: str, dtype: str, arrays: Mapping[str, Any], **parameters: Any) -> tuple[Any, Array]:
    """Do one step on the device and hold it to its bound, with what it was given as exact; return both."""
    got = getattr(gpu, operation)(**arrays, **parameters)
    given = {name: wide(array) for name, array in arrays.items()} | parameters
    record, form = OPERATIONS[operation], FORMATS[dtype]
    want = record.reference(**given)
    declared = Arithmetic.declared(gpu.arithmetic.get(operation, {}).get(dtype, {}))
    bound = np.broadcast_to(record.bound(given, want, form, declared).value, want.shape)
    wrong = ~accept(wide(got), want, bound, form)
    assert not wrong.any(), (
        f"{operation}: {int(wrong.sum())} of {wrong.size} elements are outside their bounds"
    )
    return got, bound


def wide(array: Any) -> Array:
    return np.asarray(array.get().astype(np.float64))


@pytest.mark.spec("CONV-A5")
@pytest.mark.spec("POOL-A6")
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_digits_pass_a_small_network_within_the_bounds_of_its_steps(dtype: str, fused: bool) -> None:
    layers = small_network()
    maps: Any = to_device(layers[0].maps[:IMAGES].astype(DTYPES[dtype]))
    exact, error = wide(maps), np.zeros(maps.shape)
    for layer in layers:
        w, bias = (to_device(array.astype(DTYPES[dtype])) for array in (layer.kernels, layer.bias))
        arrays = {"x": maps, "w": w, "bias": bias}
        if fused:
            maps, bound = step("conv_fused", dtype, arrays, padding=1, activation="relu")
        else:
            sums, bound = step("conv", dtype, arrays, padding=1)
            maps, _ = step("relu", dtype, {"x": sums})
        maps, _ = step("max_pool", dtype, {"x": maps}, kernel=2)
        # Sums pass errors on by the magnitude of their weights, rectifiers and maxima no more than they get.
        error = reference.max_pool(reference.conv(error, np.abs(wide(w)), padding=1) + bound, kernel=2)
        exact = reference.relu(reference.conv(exact, wide(w), wide(bias), padding=1))
        exact = reference.max_pool(exact, kernel=2)
    assert maps.shape == (IMAGES, 16, 2, 2)
    assert np.all(np.abs(wide(maps) - exact) <= error)
