"""Kernels of Warp, forward, and backward as it derives them."""

from pathlib import Path

import numpy as np
import pytest

wp = pytest.importorskip("warp")

F32 = np.float32


@wp.kernel
def saxpy(a: float, x: wp.array(dtype=float), y: wp.array(dtype=float)):
    i = wp.tid()
    y[i] = a * x[i] + y[i]


@wp.kernel
def turn(x: wp.array(dtype=wp.vec3), axis: wp.vec3, angle: float, y: wp.array(dtype=wp.vec3)):
    i = wp.tid()
    y[i] = wp.quat_rotate(wp.quat_from_axis_angle(wp.normalize(axis), angle), x[i])


@wp.kernel
def solve(a: wp.array(dtype=wp.mat33), b: wp.array(dtype=wp.vec3), x: wp.array(dtype=wp.vec3)):
    i = wp.tid()
    x[i] = wp.inverse(a[i]) * b[i]


@wp.kernel
def bounds(x: wp.array(dtype=wp.vec3), low: wp.array(dtype=wp.vec3), high: wp.array(dtype=wp.vec3)):
    i = wp.tid()
    wp.atomic_min(low, 0, x[i])
    wp.atomic_max(high, 0, x[i])


@wp.kernel
def smooth(x: wp.array2d(dtype=float), y: wp.array2d(dtype=float)):
    i, j = wp.tid()
    if i > 0 and j > 0 and i < x.shape[0] - 1 and j < x.shape[1] - 1:
        y[i, j] = 0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1])


@wp.kernel
def draw(seed: int, x: wp.array(dtype=float)):
    i = wp.tid()
    x[i] = wp.randf(wp.rand_init(seed, i))


@wp.func
def spring(d: float):
    return wp.where(d > 0.0, d * d, wp.sin(d))


@wp.kernel
def energy(x: wp.array(dtype=float), total: wp.array(dtype=float)):
    i = wp.tid()
    wp.atomic_add(total, 0, spring(x[i + 1] - x[i]))


@wp.kernel
def visit(starts: wp.array(dtype=int), edges: wp.array(dtype=int), depth: wp.array(dtype=int), now: int):
    i = wp.tid()
    if depth[i] == now:
        for e in range(starts[i], starts[i + 1]):
            wp.atomic_cas(depth, edges[e], -1, now + 1)


@pytest.fixture(scope="module")
def ptx(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Compile all of them."""
    folder = tmp_path_factory.mktemp("warp")
    wp.config.quiet = True
    wp.config.kernel_cache_dir = str(folder)
    wp.init()
    wp.compile_aot_module(saxpy.module, arch=80, module_dir=str(folder), use_ptx=True)
    (found,) = folder.glob("*.ptx")
    return Path(found).read_bytes().rstrip(b"\0").decode()


@pytest.fixture
def run(launch, ptx):
    """Run ``run(kernel, size, *args)``, arrays as Warp passes them; ``inner``: of vectors or matrices."""

    def started(kernel, size, *args, direction="forward", inner=0):
        shape = np.atleast_1d(size)
        values = [*shape.astype(np.uint32), np.uint64(np.prod(shape)), np.uint64(1)]
        for arg in args:
            if not isinstance(arg, np.ndarray):
                values.append(arg)
                continue
            ndim = max(1, arg.ndim - (inner and arg.ndim - 1))
            for numbers in ([arg, np.uint64(0)], _four(arg.shape[:ndim]), _four(arg.strides[:ndim])):
                values += numbers
            values += [np.uint16(ndim), np.uint16(0), np.int32(0)]
        blocks = -(-int(np.prod(shape)) // 64)
        launch(ptx, blocks, 64, *values, entry=f"^{kernel.key}_.*{direction}$")

    return started


def _four(numbers):
    return [np.int32(n) for n in (*numbers, 0, 0, 0, 0)[:4]]


def test_saxpy(run, rng):
    x, y = rng.integers(-9, 9, (2, 100)).astype(F32)
    got = y.copy()
    run(saxpy, 100, F32(3), x, got)
    assert np.array_equal(got, 3 * x + y)


def test_vectors_turn_about_an_axis(run, rng):
    x = rng.standard_normal((50, 3)).astype(F32)
    y = np.zeros_like(x)
    axis = F32(0), F32(0), F32(2)
    run(turn, 50, x, *axis, F32(0.5), y, inner=1)
    c, s = np.cos(0.5), np.sin(0.5)
    np.testing.assert_allclose(y, x @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]), atol=1e-5)


def test_small_systems_are_solved(run, rng):
    a = (rng.standard_normal((40, 3, 3)) + 3 * np.eye(3)).astype(F32)
    b = rng.standard_normal((40, 3)).astype(F32)
    x = np.zeros_like(b)
    run(solve, 40, a, b, x, inner=1)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", a, x), b, atol=1e-4)


def test_bounding_boxes(run, rng):
    x = rng.standard_normal((70, 3)).astype(F32)
    low, high = np.full((1, 3), 9, F32), np.full((1, 3), -9, F32)
    run(bounds, 70, x, low, high, inner=1)
    assert np.array_equal(low[0], x.min(0))
    assert np.array_equal(high[0], x.max(0))


def test_a_stencil_in_two_dimensions(run, rng):
    x = rng.integers(-8, 8, (12, 10)).astype(F32)
    y = np.zeros_like(x)
    run(smooth, (12, 10), x, y)
    inner = F32(0.25) * (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:])
    assert np.array_equal(y[1:-1, 1:-1], inner)


def test_random_numbers_are_even(run):
    x = np.zeros(2000, F32)
    run(draw, 2000, np.int32(5), x)
    assert abs(x.mean() - 0.5) < 0.05
    assert len(np.unique(x)) > 1990


def test_an_energy_and_its_gradient(run, rng):
    x = rng.standard_normal(33).astype(F32)
    total = np.zeros(1, F32)
    run(energy, 32, x, total)
    d = np.diff(x.astype(float))
    np.testing.assert_allclose(total[0], np.where(d > 0, d * d, np.sin(d)).sum(), rtol=1e-5)
    grad = np.zeros(33, F32)
    run(energy, 32, x, total, grad, np.ones(1, F32), direction="backward")
    slope = np.where(d > 0, 2 * d, np.cos(d))
    np.testing.assert_allclose(grad, np.r_[0, slope] - np.r_[slope, 0], rtol=1e-4, atol=1e-5)


def test_steps_of_a_search_through_a_graph(run, rng):
    links = rng.random((30, 30)) < 0.08
    starts = np.r_[0, np.cumsum(links.sum(1))].astype(np.int32)
    edges = np.nonzero(links)[1].astype(np.int32)
    depth = np.full(30, -1, np.int32)
    depth[0] = 0
    for now in range(6):
        run(visit, 30, starts, edges, depth, np.int32(now))
    want, reached = np.full(30, -1), {0}
    for now in range(7):
        want[[i for i in reached if want[i] < 0]] = now
        reached = {int(j) for i in reached for j in np.flatnonzero(links[i])} | reached
    assert np.array_equal(depth, want)
