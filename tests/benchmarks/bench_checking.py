"""What it costs to hold every element of a product to its bound, beside comparing with another product.

The peer is what one would write without the suite: `assert_allclose` with a product of NumPy in float32, and
a tolerance that is guessed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from measuring import race

from gaugeblock.conformance import check
from gaugeblock.conformance.bench.turns import Side, Work


@pytest.mark.benchmark(group="check")
@pytest.mark.parametrize("size", [1024, 4096])
def test_every_element_of_a_product_is_checked(benchmark: Any, rounds: int, size: int) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    result = a @ b

    def compare() -> None:
        np.testing.assert_allclose(result, a @ b, rtol=1e-4, atol=1e-3)

    def hold() -> None:
        check("gemm", result, a, b)

    own = Side("conformance.check", hold, lambda: result)
    peer = Side("numpy.testing.assert_allclose with a product in float32", compare, lambda: result)
    race(benchmark, own, peer, Work(2.0 * size**3, 3.0 * size**2 * a.itemsize), None, rounds)
    assert check("gemm", result, a, b).compared == size**2
