"""Arrays of any library as NumPy arrays, without importing it: whoever has such an array has done so.

An array is known by what it can do: hand itself over (``__array__``, DLPack), leave its graph and its device
(``detach`` and ``cpu``, as PyTorch's can), or be copied from a GPU (``get`` or ``copy_to_host``, as CuPy's,
PyCUDA's and numba's can). What only says where on the GPU it lies, ``__cuda_array_interface__``, is copied by
:mod:`gaugeblock.gpu`, which is imported for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

__all__ = ["on_host"]


def on_host(name: str, array: Any) -> NDArray[Any]:
    """Return an array, wherever it lies, as a NumPy array.

    Parameters
    ----------
    name
        What the caller calls it, for the error.
    array
        The array.

    Raises
    ------
    TypeError
        If it is no array, or one that its library does not hand over.

    Examples
    --------
    >>> on_host("x", [1.0])
    Traceback (most recent call last):
        ...
    TypeError: x is a list, expected an array, of NumPy or any library
    """
    kind = "None" if array is None else f"a {type(array).__qualname__}"
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} is {kind}, expected an array without a mask")
    reasons = []
    for way in _ways(array):
        try:
            return np.asarray(way())
        except Exception as error:
            reasons.append(f"{type(error).__name__}: {error}".partition("\n")[0])
    if reasons:
        raise TypeError(f"{name} is {kind}, which cannot be read: {reasons[0]}")
    raise TypeError(f"{name} is {kind}, expected an array, of NumPy or any library")


def _ways(array: Any) -> Iterator[Callable[[], Any]]:
    """Yield what may give the elements, the most particular first."""
    if isinstance(array, type):
        return
    if isinstance(array, np.ndarray | np.generic):
        yield lambda: array
        return
    if callable(getattr(array, "detach", None)) and callable(getattr(array, "cpu", None)):
        yield lambda: _of_tensor(array)
    if hasattr(array, "__cuda_array_interface__"):
        for copy in ("get", "copy_to_host"):
            if callable(getattr(array, copy, None)):
                yield getattr(array, copy)
    if hasattr(array, "__array__") or hasattr(array, "__array_interface__"):
        yield lambda: np.asarray(array)
    if hasattr(array, "__dlpack__"):
        yield lambda: np.from_dlpack(array)
        yield lambda: np.from_dlpack(array, device="cpu")
    if hasattr(array, "__cuda_array_interface__"):
        yield lambda: _of_device(array)


def _of_tensor(tensor: Any) -> NDArray[Any]:
    """Return a tensor that may ask for gradients, lie on a GPU, be conjugated lazily, or hold bfloat16."""
    plain = tensor.detach().cpu()
    for lazy in ("resolve_conj", "resolve_neg"):
        plain = getattr(plain, lazy, lambda plain=plain: plain)()
    if str(plain.dtype).endswith("bfloat16"):  # which numpy() does not know
        return np.asarray(plain.float().numpy()).astype(ml_dtypes.bfloat16)
    return np.asarray(plain.numpy())


def _of_device(array: Any) -> NDArray[Any]:
    from gaugeblock.gpu.runtime.device import as_device_array

    return np.asarray(as_device_array(array).get())
