"""Remember what a call launched: the next one that differs in addresses alone launches the same.

The door of an operation checks its arguments, chooses an algorithm and packs what kernels are told, which
takes longer than a small kernel runs. All of it follows from what :func:`planned` makes a key of. When a key
is met for the second time the call is recorded twice, on memory that is not there (`Recorder`); where the
arguments of the two recordings differ, an address belongs. From then on a call writes addresses and launches.
Whatever the key cannot vouch for takes the door: NumPy arrays, parameters that are no plain values, an
output whose range meets an input's and is not the input itself, a call that does more than to launch.

Streams: what is ours is used on the default stream. A call with arrays of another stream, which PyTorch's,
CuPy's and numba's may be of, launches there. Before and after, each of these two waits for the other, unless
all arrays are of that stream and the call needs no memory of ours.
"""

from __future__ import annotations

import ctypes
import functools
import marshal
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.runtime import cuda_driver
from gaugeblock.gpu.runtime.device import DeviceArray, as_device_array, device, refuse_elsewhere
from gaugeblock.gpu.runtime.form import Form, form_of
from gaugeblock.gpu.runtime.memory import Block, Shelf
from gaugeblock.gpu.runtime.recording import Launch, Place, Recorder, Unrepeatable, thread

__all__ = ["Plan", "planned"]

ALIGNMENT: Final = 256
"""What the driver's own allocations are aligned to; addresses of a plan are equal modulo this."""

MOST: Final = 4096
"""The plans that a thread keeps."""

FEW: Final = 24
"""As many addresses are written one by one."""

_PLAIN: Final = frozenset((int, float, bool, str, type(None), tuple, list))
_OURS: Final = _PLAIN | {np.ndarray, DeviceArray}
_ARRAY: Final = ...  # stands among parameters for an array


def planned(door: Callable[..., Any]) -> Callable[..., Any]:
    """Let the door of an operation remember its calls.

    Parameters
    ----------
    door : callable
        Takes arguments by position: `out`, or None, then arrays and parameters in any order. What it launches
        depends on shapes, element types, strides, addresses modulo `ALIGNMENT`, parameters, and which input
        `out` is.
    """

    @functools.wraps(door)
    def call(*arguments: Any) -> Any:
        if thread.recorder is not None:  # the door of another operation calls this one
            return door(*arguments)
        forms: list[Form] = []
        pointers: list[int] = []
        parameters: list[Any] = []
        streams: tuple[int, ...] = ()
        alignments = 0
        for value in arguments:
            kind = type(value)
            if kind is DeviceArray:
                form, pointer = value.form, value.pointer
            elif kind in _PLAIN:
                parameters.append(value)
                continue
            elif kind is np.ndarray:
                return _carefully(door, arguments)
            elif isinstance(value, tuple):  # such as torch.Size
                parameters.append(tuple(value))
                continue
            elif (found := _foreign(value)) is not None:
                form, pointer, stream = found
                streams += (stream,)
            else:
                return _carefully(door, arguments)
            forms.append(form)
            pointers.append(pointer)
            parameters.append(_ARRAY)
            alignments = alignments << 8 | pointer & 255
        twins = 0
        if parameters[0] is _ARRAY:
            out, start = forms[0], pointers[0]
            low, high = start + out.low, start + out.high
            for place in range(1, len(forms)):
                form, pointer = forms[place], pointers[place]
                if pointer + form.low < high and low < pointer + form.high:
                    if pointer != start or form is not out:
                        return _carefully(door, arguments)
                    twins |= 1 << place
        try:
            key = (door, alignments, twins, marshal.dumps(parameters, 2), *forms)
        except ValueError:  # an object of a type that marshal does not know
            return _carefully(door, arguments)
        known = device().plans.known
        plan = known.get(key, _NEW)
        if plan.__class__ is Plan:
            return plan.run(arguments, pointers, streams, len(streams) < len(forms))
        result = _carefully(door, arguments)
        if plan is _NEW:
            if len(known) >= MOST:
                known.clear()
            known[key] = _SEEN
        elif plan is _SEEN:
            known[key] = _plan(door, parameters, forms, pointers, twins)
        return result

    return call


_NEW, _SEEN, _REFUSED = "new", "seen", "refused"


# Arrays of others ----------------------------------------------------------------------------------------


def _foreign(value: Any) -> tuple[Form, int, int] | None:
    """Return form, address and stream of an array of another library; None for what is none, or wrong."""
    gpuarray = sys.modules.get("pycuda.gpuarray")
    try:
        if gpuarray is not None and type(value) is gpuarray.GPUArray:
            pointer = 0 if value.gpudata is None else int(value.gpudata)
            refuse_elsewhere(pointer)
            return form_of(value.shape, value.dtype, value.strides), pointer, 0
        if not hasattr(value, "__cuda_array_interface__"):
            return None
        array = as_device_array(value)
    except TypeError:  # the door says it, with its clause
        return None
    return array.form, array.pointer, _stream(value)


def _stream(value: Any) -> int:
    """Return the stream on which work on an array may still be queued: 0 for the default stream."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):  # whose interface does not say
        return int(torch.cuda.current_stream(value.device).cuda_stream)
    stream = value.__cuda_array_interface__.get("stream")
    return 0 if stream in (None, 1) else int(stream)


def _carefully(door: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Call a door, whose launches go to the stream of its arrays."""
    theirs = (value for value in arguments if type(value) not in _OURS)
    streams = [found[2] for value in theirs if (found := _foreign(value)) is not None]
    if not any(streams) or device().simulated:
        return door(*arguments)
    thread.stream, *others = dict.fromkeys((*filter(None, streams), 0))
    _join(thread.stream, others)
    try:
        return door(*arguments)
    finally:
        _join(thread.stream, others, after=True)
        thread.stream = 0


def _join(stream: int, others: Iterable[int], after: bool = False) -> None:
    """Let a stream wait for others; afterwards, those for it."""
    event = cuda_driver.Event(cuda_driver.Event.UNTIMED)
    for other in others:
        first, then = (stream, other) if after else (other, stream)
        cuda_driver.Stream(handle=then).wait_for_event(event.record(first))


# Plans ---------------------------------------------------------------------------------------------------


class Plan:
    """What calls launch that differ in addresses alone.

    Parameters
    ----------
    launches : sequence of Launch
        With arguments of which the words at `places` are of no meaning.
    places : dict of int to Place
        For words of the arguments of all launches, one after the other at multiples of 16 bytes, the address
        that belongs there.
    sizes : sequence of int
        The bytes of the memory that a call allocates: pieces after its arrays.
    new : int
        Which of these is the result; -1 with `out`.
    form : Form
        Of the result.
    """

    def __init__(
        self,
        launches: Sequence[Launch],
        places: dict[int, Place],
        sizes: Sequence[int],
        new: int,
        form: Form,
    ) -> None:
        self._new, self._form = new, form
        self._shelves = [device().memory.shelf(size) for size in sizes]
        packed = b"".join(launch.arguments + bytes(-len(launch.arguments) % 16) for launch in launches)
        self._memory = (ctypes.c_uint64 * (len(packed) // 8)).from_buffer_copy(packed)
        self._bases: list[int] = []
        if len(places) > FEW:
            self._words = np.ctypeslib.as_array(self._memory)
            self._at = np.array(list(places))
            self._pieces = np.array([place.piece for place in places.values()])
            self._offsets = np.array([place.offset for place in places.values()], np.int64).view(np.uint64)
        self._places = [(word, *place) for word, place in places.items()] if len(places) <= FEW else None
        self._run = self._simulated(launches) if device().simulated else self._batch(launches).run

    def _batch(self, launches: Sequence[Launch]) -> cuda_driver.Batch:
        batch, first = cuda_driver.Batch(self._memory), 0
        for kernel, grid, block, arguments, shared in launches:
            batch.add(kernel.function, grid, block, shared, first)
            first += -(-len(arguments) // 16) * 16
        return batch

    def _simulated(self, launches: Sequence[Launch]) -> Callable[[int], None]:
        def run(_: int) -> None:
            packed, first = bytes(self._memory), 0
            for kernel, grid, block, arguments, shared in launches:
                kernel.function.launch(grid, block, packed[first : first + len(arguments)], shared)
                first += -(-len(arguments) // 16) * 16

        return run

    def run(self, arguments: Sequence[Any], bases: list[int], streams: Sequence[int], ours: bool) -> Any:
        """Launch for other arrays.

        Parameters
        ----------
        arguments : sequence of object
            The arguments of the door.
        bases : list of int
            The addresses of the arrays.
        streams : sequence of int
            The streams of those that are of others.
        ours : bool
            Whether there are others than those.
        """
        result = arguments[0]
        held = []  # until all is launched
        for piece, shelf in enumerate(self._shelves):
            if piece == self._new:
                result, address = self._result(arguments, shelf)
            else:
                memory = shelf.take()
                held.append((shelf, memory))
                address = memory[0]
            bases.append(address)
        if bases != self._bases:
            self._write(bases)
        if any(streams) and not device().simulated:
            own = (0,) if ours or self._shelves else ()
            stream, *others = dict.fromkeys((*filter(None, streams), *streams, *own))
            _join(stream, others)
            self._run(stream)
            _join(stream, others, after=True)
        else:
            self._run(0)
        for shelf, memory in held:
            shelf.put(memory)
        return result

    def _write(self, bases: list[int]) -> None:
        if self._places is not None:
            memory = self._memory
            for word, piece, offset in self._places:
                memory[word] = bases[piece] + offset
        else:
            self._words[self._at] = np.array(bases, np.uint64)[self._pieces] + self._offsets
        self._bases = bases

    def _result(self, arguments: Sequence[Any], shelf: Shelf) -> tuple[Any, int]:
        """Return a new result, of the kind of array that came in, and its address."""
        gpuarray = sys.modules.get("pycuda.gpuarray")
        first = next(value for value in arguments if type(value) not in _PLAIN)
        if gpuarray is not None and isinstance(first, gpuarray.GPUArray):
            array = gpuarray.GPUArray(self._form.shape, self._form.dtype)
            return array, int(array.gpudata)
        memory = Block(shelf)
        return DeviceArray.at(self._form, int(memory), memory), int(memory)


def _plan(
    door: Callable[..., Any],
    parameters: Sequence[Any],
    forms: Sequence[Form],
    pointers: Sequence[int],
    twins: int,
) -> Plan | str:
    """Make a plan of a call that a door has taken no offence at."""
    if cuda_driver.blocking() or not all(map(_is_exact, parameters)):
        return _REFUSED
    try:
        (one, result), (other, _) = (
            _record(door, parameters, forms, pointers, twins, moved) for moved in (False, True)
        )
        new = -1 if parameters[0] is _ARRAY else one.starts.index(result.pointer) - len(forms)
        return Plan(one.launches, _places(one, other), one.sizes, new, result.form)
    except (
        Exception
    ):  # Unrepeatable, or what shall not spoil a call that has been made: it stays a careful one
        return _REFUSED


def _is_exact(value: Any) -> bool:
    """Return whether ``marshal`` writes a value as no other."""
    if type(value) in (tuple, list):
        return all(map(_is_exact, value))
    return value is _ARRAY or type(value) in _PLAIN


def _record(
    door: Callable[..., Any],
    parameters: Sequence[Any],
    forms: Sequence[Form],
    pointers: Sequence[int],
    twins: int,
    moved: bool,
) -> tuple[Recorder, Any]:
    """Call a door on memory that is not there."""
    recorder = Recorder(moved)
    arrays = []
    for place, (form, pointer) in enumerate(zip(forms, pointers, strict=True)):
        address = recorder.address(pointer % ALIGNMENT)
        arrays.append(DeviceArray.at(form, recorder.starts[0] if twins >> place & 1 else address, None))
    given = iter(arrays)
    thread.recorder = recorder
    try:
        result = door(*(next(given) if value is _ARRAY else value for value in parameters))
    finally:
        thread.recorder = None
    if not recorder.launches:
        raise Unrepeatable("nothing is launched")
    return recorder, result


def _places(one: Recorder, other: Recorder) -> dict[int, Place]:
    """Return the words of all arguments that are addresses."""
    if one.sizes != other.sizes or len(one.launches) != len(other.launches):
        raise Unrepeatable("what is launched depends on addresses")
    places, first = {}, 0
    for here, there in zip(one.launches, other.launches, strict=True):
        if here._replace(arguments=b"") != there._replace(arguments=b""):
            raise Unrepeatable("what is launched depends on addresses")
        (a, size), (b, _) = _words(here.arguments), _words(there.arguments)
        for word in np.flatnonzero(a != b).tolist():
            places[first + word] = one.place(int(a[word]), int(b[word]))
        first += size
    return places


def _words(arguments: bytes) -> tuple[NDArray[np.uint64], int]:
    """Return arguments as words, padded as those of a plan are, and their number."""
    padded = np.frombuffer(arguments + bytes(-len(arguments) % 16), np.uint64)
    return padded, len(padded)
