"""The LSTM unit and its gradient on the device.

Both functions take and return NumPy arrays, PyCUDA's ``GPUArray`` or any object with
``__cuda_array_interface__`` (the result is then a :class:`~gaugeblock.gpu.DeviceArray`), of float32, float16
or bfloat16, in any layout. Sums, gates and cells are float32 (tensor cores make the sums of 16-bit types:
`gaugeblock.gpu.arithmetic`); results are rounded once to the type of the inputs. From step to step the cell
is handed on in float32, and the output as it is returned, since a product takes operands of one type. Names,
arguments and special values are those of :mod:`gaugeblock.reference`.

The products of the inputs of all steps are one GEMM. Then, step by step, either a GEMM adds the products of
the outputs before and a second kernel makes the gates of them (``"gemm"``), or, for few examples, one kernel
does both (``"step"``).

Two keywords are common to both functions:

``out``
    An array for the result: of its shape and type, writable, sharing no memory with an input.
``algorithm``
    ``"auto"``, ``"gemm"``, ``"step"``, or ``"naive"`` for the simple kernel that the fast ones are checked
    against.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

from gaugeblock.gpu.gemm import multiply
from gaugeblock.gpu.runtime.arrays import Exchange
from gaugeblock.gpu.runtime.device import DTYPES, ELEMENTS, DeviceArray, device
from gaugeblock.gpu.runtime.launching import check_algorithm, elements_from
from gaugeblock.gpu.runtime.packing import copy, is_packed, packed
from gaugeblock.gpu.runtime.plan import planned
from gaugeblock.reference.unit import lstm_unit_backward_shape, lstm_unit_shape

__all__ = ["choose", "lstm_unit", "lstm_unit_backward"]

BLOCK: Final = 256
"""Threads of a block."""

EXAMPLES: Final = (1, 2, 4, 8)
"""The examples that a block of the kernels that multiply may own (``kernels/unit/lstm.cu``)."""

UNITS: Final = {"lstm_step": 8, "lstm_step_backward": 32}
"""The units of such a block."""

NEIGHBOURS: Final = 4
"""The units that a thread of a pointwise kernel owns, if their rows are aligned."""

FEW: Final = 16
"""As many examples at most are left to these kernels."""

WIDE_GRID: Final = 65535
"""CUDA's limit on the second dimension of a grid."""

ARRAYS: Final = ("x", "h", "c", "w", "u", "bias")
CLAUSES: Final = dict.fromkeys(ARRAYS, "UNIT-C3") | {"dy": "UNIT-C4"}


def choose(N: int) -> str:
    """Return the algorithm that ``algorithm="auto"`` takes for N examples.

    A step multiplies N rows with all of `u`. With few rows the time goes into reading `u`, and a tile of a
    GEMM would be mostly empty.

    Examples
    --------
    >>> choose(1), choose(64)
    ('step', 'gemm')
    """
    return "step" if N <= FEW else "gemm"


def lstm_unit(
    x: Any, h: Any, c: Any, w: Any, u: Any, bias: Any, *, out: Any = None, algorithm: str = "auto"
) -> Any:
    """Run LSTM units along a sequence.

    Parameters
    ----------
    x : array, shape (T, N, D)
        The inputs of T steps, for N examples.
    h, c : array, shape (N, H)
        The outputs and the cells before the first step.
    w, u : array, shapes (4, H, D) and (4, H, H)
        The weights of the inputs and of the outputs before, for the input gate, the forget gate, the
        candidate and the output gate.
    bias : array, shape (4, H)
        What is added to the weighted data.
    out, algorithm
        See the module.

    Returns
    -------
    array, shape (2, T, N, H)
        The outputs and the cells of every step, of the kind and type of the inputs.

    Raises
    ------
    ValueError, TypeError
        With the clause that the arguments violate: UNIT-C1 to UNIT-C3, for `out` GEN-C2 or GEN-C3.

    Examples
    --------
    >>> import numpy as np
    >>> from gaugeblock import gpu
    >>> x, state = np.ones((3, 1, 1), np.float32), np.zeros((1, 1), np.float32)
    >>> weights, open_ = np.zeros((4, 1, 1), np.float32), np.full((4, 1), 50, np.float32)
    >>> gpu.lstm_unit(x, state, state, weights, weights, open_)[1, :, 0, 0]  # with open gates it counts
    array([1., 2., 3.], dtype=float32)
    """
    return _lstm_unit(out, x, h, c, w, u, bias, algorithm)


@planned
def _lstm_unit(out: Any, x: Any, h: Any, c: Any, w: Any, u: Any, bias: Any, algorithm: str) -> Any:
    check_algorithm(algorithm, "auto", "gemm", "step", "naive")
    exchange = Exchange(CLAUSES, {"x": x, "h": h, "c": c, "w": w, "u": u, "bias": bias})
    shape = lstm_unit_shape(*(exchange.shapes[name] for name in ARRAYS))
    exchange.set_output(shape, out, may_be=())
    if 0 in shape:
        return exchange.result()
    unit = _Unit.of(exchange, algorithm)
    result = exchange.output()
    y = result if is_packed(result) else DeviceArray(result.shape, result.dtype)
    unit.run(y)
    if y is not result:
        copy(y, result)
    return exchange.result()


def lstm_unit_backward(
    dy: Any, x: Any, h: Any, c: Any, w: Any, u: Any, bias: Any, *, out: Any = None, algorithm: str = "auto"
) -> Any:
    """Return the gradients of `lstm_unit`: of the weighted data of its gates, and of its cells.

    Those of its arguments are products with them: see `gaugeblock.reference.lstm_unit_gradients`.

    Parameters
    ----------
    dy : array, shape (2, T, N, H)
        The gradient of the result.
    x, h, c, w, u, bias : array
        What `lstm_unit` was given.
    out, algorithm
        See the module.

    Returns
    -------
    array, shape (5, T, N, H)
        At every step the gradients of the weighted data of the four gates, and of the cell that enters it; of
        the kind and type of the inputs.

    Raises
    ------
    ValueError, TypeError
        With the clause that the arguments violate: UNIT-C1 to UNIT-C4, for `out` GEN-C2 or GEN-C3.
    """
    return _lstm_unit_backward(out, dy, x, h, c, w, u, bias, algorithm)


@planned
def _lstm_unit_backward(
    out: Any, dy: Any, x: Any, h: Any, c: Any, w: Any, u: Any, bias: Any, algorithm: str
) -> Any:
    check_algorithm(algorithm, "auto", "gemm", "step", "naive")
    arrays = {"x": x, "h": h, "c": c, "w": w, "u": u, "bias": bias, "dy": dy}
    exchange = Exchange(CLAUSES, arrays)
    shape = lstm_unit_backward_shape(*(exchange.shapes[name] for name in ("dy", *ARRAYS)))
    exchange.set_output(shape, out, may_be=())
    if 0 in shape:
        return exchange.result()
    unit = _Unit.of(exchange, algorithm)
    gradient = exchange.input("dy")
    result = exchange.output()
    dz = result if is_packed(result) else DeviceArray(result.shape, result.dtype)
    unit.run_back(packed(gradient), dz)
    if dz is not result:
        copy(dz, result)
    return exchange.result()


# The unit as its kernels see it --------------------------------------------------------------------------

_FORWARD: Final = struct.Struct("8P2q")
_BACKWARD: Final = struct.Struct("11P4q")
"""The structs ``Forward`` and ``Backward`` of ``kernels/unit/lstm.cuh``."""


def _float32(*shape: int) -> DeviceArray:
    """Return room for intermediate results."""
    return DeviceArray(shape, DTYPES["float32"])


def _matrix(array: DeviceArray, rows: int, columns: int, first: int = 0) -> DeviceArray:
    """Return a part of a packed array as a matrix, `first` being its first element."""
    return DeviceArray((rows, columns), array.dtype, pointer=elements_from(array, first), owner=array)


@dataclass(frozen=True)
class _Unit:
    """Packed arguments on the device, and the algorithm that runs through them."""

    dtype: str
    algorithm: str
    x: DeviceArray
    h: DeviceArray
    c: DeviceArray
    w: DeviceArray
    u: DeviceArray
    bias: DeviceArray

    @classmethod
    def of(cls, exchange: Exchange, algorithm: str) -> _Unit:
        chosen = choose(exchange.shapes["x"][1]) if algorithm == "auto" else algorithm
        return cls(exchange.dtype, chosen, *(packed(exchange.input(name)) for name in ARRAYS))

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """T, N, D and H."""
        T, N, D = self.x.shape
        return T, N, D, self.h.shape[1]

    # Forward ---------------------------------------------------------------------------------------------

    def run(self, y: DeviceArray) -> None:
        """Run forward into y, (2, T, N, H): nothing of a step is kept but its state."""
        T, N, _, H = self.sizes
        # In float32 the cells of the result are those that are handed on; others need room for one step.
        cells = None if self.dtype == "float32" else _float32(1, N, H)
        z = self._weighted_inputs()
        for t in range(T):
            at = elements_from(y, t * N * H), elements_from(y, (T + t) * N * H)
            h = elements_from(y, (t - 1) * N * H) if t else self.h.pointer
            c = elements_from(y, (T + t - 1) * N * H) if t and cells is None else self.c.pointer
            self._step(t, z, h, c, cells, at, save=False)

    def run_and_save(self) -> tuple[DeviceArray, DeviceArray]:
        """Run forward and return all gates, (T, N, 4, H), and cells, (T, N, H), in float32."""
        T, N, _, H = self.sizes
        cells, z = _float32(T, N, H), self._weighted_inputs()
        outputs = DeviceArray((T, N, H), DTYPES[self.dtype])
        for t in range(T):
            h = elements_from(outputs, (t - 1) * N * H) if t else self.h.pointer
            self._step(t, z, h, self.c.pointer, cells, (elements_from(outputs, t * N * H), 0), save=True)
        return z, cells

    def _weighted_inputs(self) -> DeviceArray:
        """Return W x of all steps, (T, N, 4, H); room for it where the steps themselves make it."""
        T, N, D, H = self.sizes
        z = _float32(T, N, 4, H)
        if self.algorithm != "naive":
            weights = _matrix(self.w, 4 * H, D).T
            multiply(_matrix(self.x, T * N, D), weights, _matrix(z, T * N, 4 * H))
        return z

    def _step(
        self,
        t: int,
        z: DeviceArray,
        h: int,
        c: int,
        cells: DeviceArray | None,
        out: tuple[int, int],
        *,
        save: bool,
    ) -> None:
        """Take one step; h, c and out are addresses, of the state before and of the places of the new one."""
        _, N, D, H = self.sizes
        before = after = 0
        if cells is not None:
            steps = cells.shape[0]
            after = elements_from(cells, t % steps * N * H)
            before = elements_from(cells, (t - 1) % steps * N * H) if t else 0
        at = elements_from(z, t * N * 4 * H)
        pointers = (self.bias.pointer, at, h, c, before, after, *out)
        step = _FORWARD.pack(*pointers, N, H)
        if self.algorithm == "naive":
            inputs = elements_from(self.x, t * N * D)
            self._launch(
                "lstm_naive",
                save,
                N * H,
                f"{_FORWARD.size}sPPPq",
                step,
                inputs,
                self.w.pointer,
                self.u.pointer,
                D,
            )
        elif self.algorithm == "step":
            self._launch_blocks("lstm_step", save, f"{_FORWARD.size}sP", step, self.u.pointer)
        else:
            before_step = DeviceArray((N, H), self.h.dtype, pointer=h, owner=self.h)
            multiply(before_step, _matrix(self.u, 4 * H, H).T, _matrix(z, N, 4 * H, t * N * 4 * H), add=True)
            self._launch_pointwise("lstm_gates", save, f"{_FORWARD.size}s", step, pointers)

    # Backward --------------------------------------------------------------------------------------------

    def run_back(self, dy: DeviceArray, out: DeviceArray) -> None:
        """Run forward, then back into out, (5, T, N, H)."""
        T, N, _, H = self.sizes
        gates, cells = self.run_and_save()
        dh, dc = _float32(N, H), _float32(N, H)
        # The gradients of a step and of the one after it: blocks read these while others write those.
        dz = [DeviceArray((N, 4, H), DTYPES[self.dtype]) for _ in range(2)]
        for t in reversed(range(T)):
            last, size = t == T - 1, N * H
            if self.algorithm == "gemm" and not last:
                multiply(_matrix(dz[(t + 1) % 2], N, 4 * H), _matrix(self.u, 4 * H, H), dh)
            pointers = (
                elements_from(gates, t * 4 * size),
                self.c.pointer,
                elements_from(cells, (t - 1) * size) if t else 0,
                elements_from(cells, t * size),
                elements_from(dy, t * size),
                elements_from(dy, (T + t) * size),
                dh.pointer,
                dc.pointer,
                0 if last else dz[(t + 1) % 2].pointer,
                dz[t % 2].pointer if t else 0,
                elements_from(out, t * size),
            )
            step = _BACKWARD.pack(*pointers, T * size, N, H, last)
            self._step_back(step, pointers)

    def _step_back(self, step: bytes, pointers: tuple[int, ...]) -> None:
        _, N, _, H = self.sizes
        if self.algorithm == "naive":
            signature = f"{_BACKWARD.size}sP"
            self._launch("lstm_naive_backward", True, N * H, signature, step, self.u.pointer)
        elif self.algorithm == "step":
            self._launch_blocks("lstm_step_backward", True, f"{_BACKWARD.size}sP", step, self.u.pointer)
        else:
            self._launch_pointwise("lstm_gates_backward", True, f"{_BACKWARD.size}s", step, pointers)

    # Launch ----------------------------------------------------------------------------------------------

    def _launch(self, entry: str, save: bool, threads: int, signature: str, *arguments: Any) -> None:
        """Launch a kernel of the second oracle, one thread per example and unit."""
        defines = (("ELEMENT", ELEMENTS[self.dtype]), ("SAVE", int(save)))
        kernel = device().function("unit/lstm_naive.cu", entry, signature, defines)
        kernel.prepared_async_call((-(-threads // BLOCK), 1, 1), (BLOCK, 1, 1), None, *arguments)

    def _launch_blocks(self, entry: str, save: bool, signature: str, *arguments: Any) -> None:
        """Launch a kernel that multiplies."""
        _, N, _, H = self.sizes
        examples = next((count for count in EXAMPLES if count >= N), EXAMPLES[-1])
        grid = (-(-H // UNITS[entry]), min(device().blocks(-(-N // examples)), WIDE_GRID), 1)
        kernel = self._fast(entry, save, False, examples, signature)
        kernel.prepared_async_call(grid, (BLOCK, 1, 1), None, *arguments)

    def _launch_pointwise(
        self, entry: str, save: bool, signature: str, step: bytes, pointers: tuple[int, ...]
    ) -> None:
        """Launch a kernel that makes gates of sums, or gradients: by vectors where all rows are aligned."""
        _, N, _, H = self.sizes
        # What is float32 in a narrow unit is memory of our own, and aligned.
        width = NEIGHBOURS * DTYPES[self.dtype].itemsize
        vectors = H % NEIGHBOURS == 0 and all(pointer % width == 0 for pointer in pointers)
        threads = N * H // (NEIGHBOURS if vectors else 1)
        kernel = self._fast(entry, save, vectors, EXAMPLES[-1], signature)
        kernel.prepared_async_call((-(-threads // BLOCK), 1, 1), (BLOCK, 1, 1), None, step)

    def _fast(self, entry: str, save: bool, vectors: bool, examples: int, signature: str) -> Any:
        defines = (
            *(("ELEMENT", ELEMENTS[self.dtype]), ("EXAMPLES", examples)),
            *(("SAVE", int(save)), ("VECTORS", int(vectors))),
        )
        return device().function("unit/lstm.cu", entry, signature, defines)
