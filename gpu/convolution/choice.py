"""Which algorithm computes a convolution: the choice, and what each algorithm can do."""

from __future__ import annotations

from typing import Final

from gaugeblock.gpu.convolution import problem
from gaugeblock.gpu.convolution.fourier import LONGEST, lengths
from gaugeblock.gpu.convolution.problem import WEIGHT, Geometry
from gaugeblock.gpu.convolution.winograd import SIDES
from gaugeblock.gpu.gemm import TENSOR_CORES
from gaugeblock.gpu.runtime.device import device

__all__ = ["ALGORITHMS", "choose", "choose_here", "refuse"]

ALGORITHMS: Final = (
    "auto",
    "naive",
    "tile32",
    "tile64",
    "tile128",
    "tensor32",
    "tensor64",
    "tensor128",
    "depthwise",
    "pointwise",
    "winograd_2",
    "winograd_4",
    "fft",
)
"""What a convolution may be told to use."""


def choose(
    product: int,
    geometry: Geometry,
    *,
    dtype: str,
    plain: bool = True,
    multiprocessors: int,
    tensor_cores: bool,
) -> str:
    """Return the algorithm that ``algorithm="auto"`` takes.

    ``"pointwise"``, a GEMM, for a kernel of one pixel at every position; ``"depthwise"`` for groups of one
    input channel; else an implicit GEMM, with the largest tile that is not mostly empty and still gives every
    multiprocessor a block. 16-bit types go to the tensor cores, small problems too: what they leave empty of
    a tile costs less than the same on other cores. Strides have no say: a layout must not change the bits of
    a result (GEN-S2).

    Winograd's algorithm and Fourier's are only taken where the caller says so, although they multiply less:
    their errors are larger than those of any sum, and must be declared (GEN-D8). A declaration names one
    algorithm for all calls of an operation and type that it can do, and loosens the bound of them all: with
    ``"fft"`` that of a kernel of 3 × 3 as well. That large kernels alone are transformed cannot be declared.

    For the gradient of w there is no Winograd's algorithm, F(3 × 3) with tiles of dy for a kernel. It would
    save as many multiplications, but its sums over the batch and all positions lie between the transforms,
    with their amplified errors, and the spec (CONV-A6) knows no bound of them.

    Parameters
    ----------
    product : int
        FORWARD, INPUT or WEIGHT.
    geometry : Geometry
        The problem.
    dtype : str
        The element type.
    plain : bool
        Whether nothing but a bias is added, and no activation follows.
    multiprocessors : int
        Of the device.
    tensor_cores : bool
        Whether it has tensor cores for 16-bit types.

    Returns
    -------
    str
        One of `ALGORITHMS`.

    Examples
    --------
    >>> from gaugeblock.gpu.convolution.problem import FORWARD
    >>> from gaugeblock.reference.windows import Windows
    >>> layer = Geometry(32, 1, 256, 256, Windows.slide(size=(56, 56), kernel=(3, 3)))
    >>> h200 = {"multiprocessors": 132, "tensor_cores": True}
    >>> choose(FORWARD, layer, dtype="float32", **h200), choose(FORWARD, layer, dtype="bfloat16", **h200)
    ('tile128', 'tensor128')
    """
    if not geometry.is_short:
        return "naive"
    if plain and product != WEIGHT and geometry.is_pointwise:
        return "pointwise"
    if geometry.C == 1 and geometry.groups > 1:
        return "depthwise"
    kind = "tensor" if tensor_cores and dtype != "float32" else "tile"
    names = [name for name in problem.TILES if name.startswith(kind)]
    M, N, _ = geometry.sizes(product)
    for name in names:
        side, _ = problem.TILES[name]
        tiles = -(-M // side) * -(-N // side) * geometry.groups
        if tiles >= multiprocessors and 2 * min(M, N) > side:
            return name
    return names[-1]


def choose_here(product: int, geometry: Geometry, dtype: str, plain: bool) -> str:
    """Choose for the device at hand."""
    return choose(
        product,
        geometry,
        dtype=dtype,
        plain=plain,
        multiprocessors=device().multiprocessors,
        tensor_cores=device().compute_capability >= TENSOR_CORES,
    )


def refuse(algorithm: str, product: int, geometry: Geometry, dtype: str, plain: bool) -> None:
    """Raise an error if an algorithm cannot do a call."""
    if dtype != "float32" and (algorithm == "fft" or algorithm in SIDES):
        raise ValueError(f"algorithm is {algorithm!r}, which takes float32, not {dtype}")
    if dtype == "float32" and algorithm.startswith("tensor"):
        raise ValueError(f"algorithm is {algorithm!r}, which takes float16 and bfloat16, not float32")
    if algorithm != "naive" and not geometry.is_short:
        raise ValueError(f"algorithm is {algorithm!r}, which takes no axes this long; 'naive' does")
    if algorithm == "depthwise" and geometry.C != 1:
        raise ValueError(f"algorithm is 'depthwise', a group has {geometry.C} input channels, expected 1")
    if algorithm == "pointwise" and not (plain and product != WEIGHT and geometry.is_pointwise):
        expected = (
            "a kernel of one pixel, stride 1, no padding, no activation, no residual and no gradient of w"
        )
        raise ValueError(f"algorithm is 'pointwise', which takes {expected}")
    if algorithm in SIDES and not (product != WEIGHT and geometry.has_winograd):
        expected = "two axes, a kernel of 3 by 3, stride and dilation 1, and no gradient of w"
        raise ValueError(f"algorithm is {algorithm!r}, which takes {expected}")
    if algorithm == "fft" and (longest := max(lengths(geometry))) > LONGEST:
        raise ValueError(f"algorithm is 'fft', a transform has {longest} points, expected at most {LONGEST}")
