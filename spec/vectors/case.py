"""One test vector: a call with its result and bound, or a call that must be refused; as data for JSON.

Numbers are written as C99 writes them in hexadecimal (``float.hex``), so that no digit is lost:
``0x1.8p+0`` is 1.5. NaN is ``nan`` and infinities are ``inf`` and ``-inf``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaugeblock.spec.accuracy import Arithmetic
from gaugeblock.spec.formats import FORMATS, Float64, round_to
from gaugeblock.spec.operations import OPERATIONS

__all__ = ["Data", "Strided", "call", "misuse", "pattern"]

Data = dict[str, Any]


@dataclass(frozen=True)
class Strided:
    """An array that does not lie packed in memory.

    Attributes
    ----------
    memory : array_like
        The numbers in memory, in a row.
    shape, strides : tuple of int
        Lengths, and distances between neighbours counted in elements.
    offset : int
        Where in memory the first element lies.
    """

    memory: ArrayLike
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    def elements(self) -> Float64:
        """Return the elements, packed.

        Examples
        --------
        >>> Strided([1, 2, 3, 4], (2, 2), (1, 2)).elements().tolist()
        [[1.0, 3.0], [2.0, 4.0]]
        """
        memory = np.asarray(self.memory, dtype=np.float64)
        index = np.full(self.shape, self.offset)
        for axis, (length, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            after = (1,) * (len(self.shape) - axis - 1)
            index = index + stride * np.arange(length).reshape(-1, *after)
        return np.asarray(memory[index])


Given = ArrayLike | Strided


def pattern(*shape: int, start: int = 0, scale: float = 0.25) -> Float64:
    """Return numbers without a pattern that a kernel could get right by chance, exact in every format.

    They are whole multiples of ``scale`` from −8 to 8; another ``start`` gives others.

    Examples
    --------
    >>> pattern(2, 3).tolist()
    [[-2.0, -0.25, 1.5], [-1.0, 0.75, -1.75]]
    """
    count = int(np.prod(shape))
    return np.reshape((7 * np.arange(count) + 5 * start) % 17 - 8.0, shape) * scale


def call(
    operation: str,
    clause: str,
    name: str,
    arrays: Mapping[str, Given],
    *,
    dtype: str = "float32",
    sign_of_zero: bool = False,
    **parameters: Any,
) -> Data:
    """Return a call with its exact result and the bound of its error in plain arithmetic.

    Parameters
    ----------
    operation, clause, name : str
        What is called, which clause it is about, and what is special about it, in a few words.
    arrays : mapping of str to array_like or Strided
        The arrays; their numbers are rounded to ``dtype``.
    dtype : str
        The format of the arrays and of the result.
    sign_of_zero : bool
        Whether a result of zero must have the sign it has here.
    **parameters
        The other arguments.
    """
    record, format = OPERATIONS[operation], FORMATS[dtype]
    rounded = {key: _rounded(array, dtype) for key, array in arrays.items()}
    elements = {key: _elements(array) for key, array in rounded.items()}
    with np.errstate(all="ignore"):
        want = record.reference(**elements, **parameters)
        bound = record.bound({**elements, **parameters}, want, format, Arithmetic())
    value = np.broadcast_to(bound.value, np.shape(want))
    result = _array(want) if record.result_dtype == "same" else _whole(want)
    expected: Data = {"result": result, "bound": [_hex(number) for number in value.ravel()]}
    if sign_of_zero:
        expected["sign_of_zero"] = True
    return _case(clause, name, dtype, rounded, parameters) | {"expected": expected}


def misuse(
    operation: str,
    clause: str,
    name: str,
    arrays: Mapping[str, Given],
    *,
    dtype: str = "float32",
    dtypes: Mapping[str, str] | None = None,
    **parameters: Any,
) -> Data:
    """Return a call that violates a constraint, so that it must raise an error that names it.

    ``dtypes`` has the types of arrays that are not of type ``dtype``.
    """
    if clause not in OPERATIONS[operation].constraints:
        raise ValueError(f"{operation} has no constraint {clause}")
    case = _case(clause, name, dtype, arrays, parameters)
    for array, other in (dtypes or {}).items():
        case["arrays"][array]["dtype"] = other
    return case | {"expected": {"error": clause}}


def _case(
    clause: str, name: str, dtype: str, arrays: Mapping[str, Given], parameters: Mapping[str, Any]
) -> Data:
    return {
        "clause": clause,
        "name": name,
        "dtype": dtype,
        "arrays": {key: _array(array) for key, array in arrays.items()},
        "parameters": {key: _parameter(value) for key, value in parameters.items()},
    }


def _rounded(array: Given, dtype: str) -> Given:
    """Return an array with its numbers rounded to a format."""
    if isinstance(array, Strided):
        memory = round_to(array.memory, FORMATS[dtype]).astype(np.float64)
        return Strided(memory, array.shape, array.strides, array.offset)
    return round_to(array, FORMATS[dtype]).astype(np.float64)


def _elements(array: Given) -> Float64:
    return array.elements() if isinstance(array, Strided) else np.asarray(array, dtype=np.float64)


def _array(array: Given) -> Data:
    """Return an array as data."""
    if isinstance(array, Strided):
        layout = {"shape": list(array.shape), "strides": list(array.strides), "offset": array.offset}
        return layout | {"values": [_hex(number) for number in np.ravel(array.memory)]}
    numbers = np.asarray(array, dtype=np.float64)
    return {"shape": list(numbers.shape), "values": [_hex(number) for number in numbers.ravel()]}


def _whole(array: NDArray[Any]) -> Data:
    """Return an array of whole numbers as data."""
    return {"shape": list(array.shape), "dtype": "int64", "values": [int(number) for number in array.ravel()]}


def _parameter(value: Any) -> Any:
    """Return a parameter as data: a real number is told from a whole one and from a word."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_parameter(part) for part in value]
    return {"real": _hex(value)} if isinstance(value, float) else value


def _hex(number: float) -> str:
    """Return a number as `float.hex` does, without zeros at the end."""
    return re.sub(r"\.?0*p", "p", float(number).hex())
