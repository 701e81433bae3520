"""Exact results of large sums of products on integers, for less than it takes to compute them all.

Two looks at a result that complete each other:

- *Samples*: some elements, each an integer dot product of slices of the arguments: corners, elements beside
  the ends of tiles, and random ones.
- *Projection*, Freivalds' check: the result is multiplied by random signs along its channels, or columns. For
  a bilinear operation that is the operation on an operand that was multiplied so before, with one channel
  instead of all: y·s = A·(B·s). A wrong element that no sample met stays unseen in float32 only if the errors
  along the axis cancel for the signs drawn, with a probability of at most 1/2; in a narrow format an error
  must exceed the last roundings of the elements that are added. Whoever errs in many elements is seen.

Everything is exact in float64 as long as the sums are integers below 2⁵³.

Source: R. Freivalds, "Probabilistic machines can use less running time", IFIP 1977.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock import reference
from gaugeblock.conformance.problems.problem import Floats, Problem
from gaugeblock.reference.convolution import conv_windows
from gaugeblock.reference.windows import Windows
from gaugeblock.spec.accuracy import FORMATS, Format, ulp

Places = tuple[NDArray[np.intp], ...]

ENDS = (0, 1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256)
"""Indices beside the ends of vectors, warps and tiles."""

TERMS = 1 << 22
"""Products that all samples together are made of, about."""

STEPS = ("stride", "padding", "dilation")


def samples(shape: Sequence[int], terms: int, seed: int) -> Places:
    """Return places in a result: corners, beside the ends of tiles, and anywhere, a quarter to a half each.

    Parameters
    ----------
    shape
        Of the result.
    terms
        Products that an element is the sum of: the more, the fewer samples.
    seed
        Of the generator.
    """
    count = min(max(TERMS // max(terms, 1), 128), 2000, 4 * prod(shape))
    rng = np.random.default_rng(seed)
    places = []
    for size in shape:
        corners = rng.choice([0, size - 1], count // 4)
        ends = rng.choice([end for end in (*ENDS, size - 2, size - 1) if 0 <= end < size], count // 4)
        places.append(np.concatenate([corners, ends, rng.integers(0, size, count - 2 * (count // 4))]))
    return tuple(places)


def exact_at(problem: Problem, places: Places) -> Floats:
    """Return the exact elements of a sum of products at some places of its result."""
    arguments = problem.arguments()
    parameters = problem.record.complete(problem.parameters)
    match problem.operation:
        case "gemm":
            return _products_at(problem, arguments, parameters, places)
        case "conv" | "conv_fused":
            total = _windows_at(arguments["x"], arguments["w"], _windows(problem), parameters, places)
        case "conv_transpose" | "conv_backward_input":
            images = arguments["x" if problem.operation == "conv_transpose" else "dy"]
            total = _stamps_at(images, arguments["w"], _windows(problem), parameters, places)
        case "conv_backward_weight":
            return _taps_at(arguments["dy"], arguments["x"], _windows(problem), parameters, places)
        case name:
            raise LookupError(f"{name} is no sum of products whose elements are sampled")
    if "bias" in arguments:
        total = total + arguments["bias"][places[1]]
    if "residual" in arguments:
        total = total + arguments["residual"][places]
    return np.maximum(total, 0.0) if parameters.get("activation") == "relu" else total


def _windows(problem: Problem) -> Windows:
    """Return how the windows of the convolution slide that the operation belongs to."""
    given = problem.parameters
    x = given.get("input_shape") or (
        problem.result_shape if problem.operation == "conv_transpose" else problem.shapes["x"]
    )
    w = given.get("kernel_shape") or problem.shapes["w"]
    return conv_windows(tuple(x), tuple(w), **{name: given[name] for name in STEPS if name in given})


def _operands(arguments: dict[str, Floats], parameters: dict[str, Any]) -> tuple[Floats, Floats]:
    """Return op(a) and op(b)."""
    return tuple(  # type: ignore[return-value]
        np.swapaxes(arguments[name], -1, -2) if parameters[f"transpose_{name}"] else arguments[name]
        for name in ("a", "b")
    )


def _products_at(
    problem: Problem, arguments: dict[str, Floats], parameters: dict[str, Any], places: Places
) -> Floats:
    a, b = _operands(arguments, parameters)
    *batch, m, n = places
    lead = problem.result_shape[:-2]
    rows = np.broadcast_to(a, (*lead, *a.shape[-2:]))[(*batch, m)]
    columns = np.swapaxes(np.broadcast_to(b, (*lead, *b.shape[-2:])), -1, -2)[(*batch, n)]
    total = parameters["alpha"] * np.einsum("sk,sk->s", rows, columns)
    if parameters["beta"]:
        total = total + parameters["beta"] * np.broadcast_to(arguments["c"], problem.result_shape)[places]
    return np.asarray(total)


def _flat(
    indices: list[NDArray[np.intp]], valid: list[NDArray[np.bool_]], extent: Sequence[int]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Combine indices (samples, taps) along each axis to flat ones (samples, all taps), 0 where not valid."""
    count = indices[0].shape[0]
    flat, all_valid = np.zeros((count, 1), np.intp), np.ones((count, 1), bool)
    for index, good, size in zip(indices, valid, extent, strict=True):
        flat = (flat[:, :, None] * size + np.where(good, index, 0)[:, None, :]).reshape(count, -1)
        all_valid = (all_valid[:, :, None] & good[:, None, :]).reshape(count, -1)
    return flat, all_valid


def _gathered(
    images: Floats, n: NDArray[np.intp], channels: NDArray[np.intp], flat: NDArray[np.intp], valid: Any
) -> Floats:
    """Return (samples, channels, taps) of images, 0 where a tap lies in the padding."""
    pixels = images.reshape(*images.shape[:2], -1)
    return np.asarray(pixels[n[:, None, None], channels[:, :, None], flat[:, None, :]] * valid[:, None, :])


def _windows_at(x: Floats, w: Floats, windows: Windows, parameters: dict[str, Any], places: Places) -> Floats:
    n, k, *positions = places
    C = w.shape[1]
    group = k // (w.shape[0] // parameters["groups"])
    indices = [
        p[:, None] * s + np.arange(R) * d - before
        for p, s, R, d, before in zip(
            positions, windows.stride, windows.kernel, windows.dilation, windows.before, strict=True
        )
    ]
    valid = [(h >= 0) & (h < size) for h, size in zip(indices, windows.size, strict=True)]
    cells = _gathered(x, n, group[:, None] * C + np.arange(C), *_flat(indices, valid, windows.size))
    return np.asarray(np.einsum("sct,sct->s", cells, w[k].reshape(len(k), C, -1)))


def _stamps_at(dy: Floats, w: Floats, windows: Windows, parameters: dict[str, Any], places: Places) -> Floats:
    n, c, *cells = places
    K, C = w.shape[0] // parameters["groups"], w.shape[1]
    kernels = (c // C)[:, None] * K + np.arange(K)
    indices, valid = [], []
    for h, s, R, d, before, P in zip(
        cells, windows.stride, windows.kernel, windows.dilation, windows.before, windows.output, strict=True
    ):
        steps = h[:, None] + before - np.arange(R) * d
        indices.append(steps // s)
        valid.append((steps % s == 0) & (steps >= 0) & (steps < P * s))
    outputs = _gathered(dy, n, kernels, *_flat(indices, valid, windows.output))
    weights = w.reshape(*w.shape[:2], -1)[kernels, (c % C)[:, None]]
    return np.asarray(np.einsum("skt,skt->s", outputs, weights))


def _taps_at(dy: Floats, x: Floats, windows: Windows, parameters: dict[str, Any], places: Places) -> Floats:
    K, C = dy.shape[1] // parameters["groups"], x.shape[1] // parameters["groups"]
    found = []
    for k, c, *tap in zip(*places, strict=True):
        seen = [windows.reach(axis, int(r)) for axis, r in enumerate(tap)]
        left = dy[:, k][(slice(None), *(outputs for outputs, _ in seen))]
        right = x[:, k // K * C + c][(slice(None), *(inputs for _, inputs in seen))]
        found.append(float(np.einsum(left, range(left.ndim), right, range(left.ndim), ())))
    return np.asarray(found)


# Projection ------------------------------------------------------------------------------------------------


def projections(problem: Problem, got: Floats, seed: int) -> tuple[Floats, Floats, Floats] | None:
    """Return a result times random signs, what that is exactly, and how far the last roundings may move it.

    ``None`` where the operation is not linear, as with an activation.
    """
    arguments = problem.arguments()
    parameters = problem.record.complete(problem.parameters)
    if parameters.get("activation", "none") != "none":
        return None
    rng = np.random.default_rng(seed)
    rounding = _last_rounding(got, FORMATS[problem.dtype])
    if problem.operation == "gemm":
        a, b = _operands(arguments, parameters)
        signs = _signs(rng, got.shape[-1])
        want = parameters["alpha"] * (a @ (b @ signs)[..., None])[..., 0]
        if parameters["beta"]:
            addend = np.broadcast_to(arguments["c"], got.shape)
            want = want + parameters["beta"] * (addend @ signs)
        return got @ signs, want, rounding.sum(-1)
    axis = 1  # of the channels in the result
    signs = _signs(rng, parameters["groups"] * _per_group(problem, parameters)).reshape(
        parameters["groups"], -1
    )
    want = _projected(problem, arguments, parameters, signs)
    return _along(got, signs, axis, problem), want, _along(rounding, np.ones_like(signs), axis, problem)


def _signs(rng: np.random.Generator, count: int) -> Floats:
    return rng.choice([-1.0, 1.0], count)


def _last_rounding(got: Floats, form: Format) -> Floats:
    """Return how far each element may lie from the integer that it was rounded from."""
    # Smaller integers are their own; 2ᵖ may stand for the one above it.
    if np.max(np.abs(got), initial=0.0) < 2.0**form.precision:
        return np.zeros(got.shape)
    with np.errstate(all="ignore"):
        return np.where(np.abs(got) < 2.0**form.precision, 0.0, ulp(got, form) / 2)


def _per_group(problem: Problem, parameters: dict[str, Any]) -> int:
    """Return the channels of a group along which a result is projected."""
    if problem.operation == "conv_backward_weight":
        return int(parameters["kernel_shape"][1])
    w = problem.shapes["w"]
    forward = problem.operation in ("conv", "conv_fused")
    return w[0] // int(parameters["groups"]) if forward else w[1]


def _along(values: Floats, signs: Floats, axis: int, problem: Problem) -> Floats:
    """Add the channels of each group, times signs."""
    groups, per_group = signs.shape
    if problem.operation == "conv_backward_weight":
        kernels = values.reshape(groups, -1, per_group, *values.shape[2:])
        total = np.einsum("gkc...,gc->gk...", kernels, signs)
        return np.asarray(total.reshape(values.shape[0], 1, *values.shape[2:]))
    maps = values.reshape(values.shape[0], groups, per_group, *values.shape[2:])
    return np.asarray(np.einsum("ngc...,gc->ng...", maps, signs))


def _projected(
    problem: Problem, arguments: dict[str, Floats], parameters: dict[str, Any], signs: Floats
) -> Floats:
    """Compute the operation with one channel to a group, of operands that were multiplied by the signs."""
    groups = signs.shape[0]
    shared = {name: parameters[name] for name in (*STEPS, "groups")}
    if problem.operation == "conv_backward_weight":
        x = arguments["x"]
        maps = np.einsum("ngc...,gc->ng...", x.reshape(x.shape[0], groups, -1, *x.shape[2:]), signs)
        shape = (parameters["kernel_shape"][0], 1, *parameters["kernel_shape"][2:])
        return reference.conv_backward_weight(arguments["dy"], maps, kernel_shape=shape, **shared)
    w = arguments["w"]
    kernels = w.reshape(groups, -1, *w.shape[1:])
    if problem.operation in ("conv", "conv_fused"):
        total = reference.conv(arguments["x"], np.einsum("gk...,gk->g...", kernels, signs), **shared)
    else:
        flat = np.einsum("gkc...,gc->gk...", kernels, signs).reshape(w.shape[0], 1, *w.shape[2:])
        shape = (problem.result_shape[0], groups, *problem.result_shape[2:])
        images = arguments["x" if problem.operation == "conv_transpose" else "dy"]
        total = reference.conv_backward_input(images, flat, input_shape=shape, **shared)
    for name in ("bias", "residual"):
        if name in arguments:
            addend = arguments[name]
            full = addend.reshape(1, -1, *(1,) * (total.ndim - 2)) if name == "bias" else addend
            total = total + _along(full, signs, 1, problem)
    return np.asarray(total)
