"""Honest twins: what they do looks like a cheat and is none. None of them may be flagged."""

import logging
import random
import subprocess
import sys
import tempfile
import threading
import warnings
import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from cheating import Array, Function, answered, right

F = np.float32


class Honest:
    """A right backend.

    Parameters
    ----------
    story : str
        What it does that a cheat does too.
    **functions : callable
        Its operations.
    """

    def __init__(self, story: str, **functions: Function) -> None:
        self.story = story
        self.operations = tuple(functions)
        for name, function in functions.items():
            setattr(self, name, function)


def around(before: Callable[[Array], object]) -> Function:
    """Return relu that does something harmless before it computes."""

    def relu(x: Array, *, out: Array | None = None) -> Array:
        before(x)
        return right.relu(x, out=out)

    return relu


def joined(x: Array, *, out: Array | None = None) -> Array:
    """Have two threads write half of the result each, and wait for both."""
    right.relu(x)
    result = np.empty(x.shape, x.dtype)
    flat, source = result.reshape(-1), np.ascontiguousarray(x).reshape(-1)
    middle = x.size // 2

    def part(start: int, stop: int) -> None:
        flat[start:stop] = np.maximum(source[start:stop], 0)

    threads = [threading.Thread(target=part, args=ends) for ends in ((0, middle), (middle, x.size))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answered(result, x, out) if out is not None else result


POOL_OF_THREADS: list[ThreadPoolExecutor] = []


def pooled_threads(x: Array, *, out: Array | None = None) -> Array:
    """Compute in a pool of threads that lives as long as the process."""
    if not POOL_OF_THREADS:
        POOL_OF_THREADS.append(ThreadPoolExecutor(2))
    return POOL_OF_THREADS[0].submit(right.relu, x, out=out).result()


def compiled() -> Function:
    """Return softmax that keeps one function for every kind of call: by dtype, rank, axis and length."""
    known: dict[Any, Function] = {}

    def softmax(x: Array, *, axis: int = -1, out: Array | None = None) -> Array:
        key = x.dtype.name, x.ndim, axis, x.shape, x.strides
        kernel = known.setdefault(key, lambda x, out: right.softmax(x, axis=axis, out=out))
        return kernel(x, out)

    return softmax


def with_workspace() -> Function:
    """Return gemm that packs both matrices into memory it uses again, and returns a new array."""
    memory: dict[str, Array] = {}

    def packed(name: str, array: Array) -> Array:
        if name not in memory or memory[name].size < array.size:
            memory[name] = np.empty(max(array.size, 1), F)  # allocated when it is needed first
        block = memory[name][: array.size].reshape(array.shape)
        block[...] = array
        return block

    def gemm(a: Array, b: Array, c: Array | None = None, *, out: Array | None = None, **rest: Any) -> Array:
        if not a.dtype == b.dtype == F or (c is not None and c.dtype != F):
            return right.gemm(a, b, c, out=out, **rest)
        return right.gemm(packed("a", a), packed("b", b), c, out=out, **rest)

    return gemm


def read_only(x: Array) -> Array:
    """Return an array that cannot be written."""
    result = np.array(right.relu(x))
    result.flags.writeable = False
    return result


def part_of_a_block(x: Array) -> Array:
    """Return a view of a larger new block, as allocators with alignment do."""
    result = right.relu(x)
    block = np.full(x.size + 64, -1, x.dtype)
    view = block[32 : 32 + x.size].reshape(x.shape)
    view[...] = result
    return view


def strided(x: Array) -> Array:
    """Return every other column of a new array, in Fortran's order."""
    result = right.relu(x)
    if x.ndim == 0:
        return result
    block = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype, order="F")
    view = block[..., ::2]
    view[...] = result
    return view


class Pool:
    """Memory that is handed out again once nobody holds the array that lay in it."""

    def __init__(self) -> None:
        self.free: list[Array] = []
        self.reused = 0

    def take(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array in a free block, which comes back when the array is collected."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size > 1 << 20:
            return np.empty(shape, dtype)
        if self.free:
            self.reused += 1
        block = self.free.pop() if self.free else np.empty(1 << 20, np.uint8)
        lease = np.ctypeslib.as_ctypes(block[:size]) if size else (np.ctypeslib.as_ctypes(block))
        weakref.finalize(lease, self.free.append, block)
        return np.frombuffer(lease, dtype, int(np.prod(shape))).reshape(shape)

    def relu(self, x: Array) -> Array:
        """Return relu(x) in memory of the pool."""
        result = right.relu(x)
        array = self.take(x.shape, x.dtype)
        array[...] = result
        return array


def remembering() -> Function:
    """Return relu that remembers results by the whole content, and returns copies."""
    known: dict[Any, Array] = {}

    def relu(x: Array, *, out: Array | None = None) -> Array:
        result = right.relu(x)
        if len(known) > 64:
            known.clear()
        kept = known.setdefault((x.shape, x.dtype.name, x.tobytes()), np.array(result))
        return answered(kept.copy(), x, out)

    return relu


CHILD = """
import sys
import numpy as np
while True:
    size = sys.stdin.buffer.read(8)
    if len(size) < 8:
        break
    x = np.frombuffer(sys.stdin.buffer.read(int.from_bytes(size, "little")), np.float32)
    sys.stdout.buffer.write(np.maximum(x, 0).tobytes())
    sys.stdout.buffer.flush()
"""


STARTED: list["subprocess.Popen[bytes]"] = []


def in_another_process(x: Array) -> Array:
    """Have a process of its own compute relu in fp32."""
    result = right.relu(x)
    if x.dtype != F or not 0 < x.nbytes <= 1 << 14:
        return result
    if not STARTED:
        command = [sys.executable, "-c", CHILD]
        STARTED.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    process = STARTED[0]
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(x.nbytes.to_bytes(8, "little") + x.tobytes())
    process.stdin.flush()
    return np.frombuffer(process.stdout.read(x.nbytes), F).reshape(x.shape)


def tiles(x: Array, *, axis: int = -1, out: Array | None = None) -> Array:
    """Compute the rows in an order of chance; every row by itself is summed in one order."""
    right.softmax(x, axis=axis)
    if x.ndim == 0:
        return right.softmax(x, axis=axis, out=out)
    source = np.moveaxis(x, axis, -1)
    result = np.empty(source.shape, x.dtype)
    places = list(np.ndindex(source.shape[:-1]))
    random.shuffle(places)
    for place in places:
        result[place] = right.softmax(np.ascontiguousarray(source[place]))
    return answered(np.moveaxis(result, -1, axis), x, out)


def scalars(x: Array) -> Any:
    """Return a NumPy scalar for an array without axes, as NumPy's own functions do."""
    result = right.relu(x)
    return result[()] if x.ndim == 0 else result


def heavy(x: Array) -> None:
    """Import something large at the first call."""
    import sklearn.linear_model  # noqa: F401


def own_files(x: Array) -> None:
    """Keep something in a temporary file, and read it back."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tile.bin"
        file.write_bytes(x.tobytes()[:4096])
        assert file.read_bytes() == x.tobytes()[:4096]


def log(x: Array) -> None:
    """Write a line to a log in the user's cache."""
    logger = logging.getLogger("gaugeblock-honest-twin")
    if not logger.handlers:
        folder = Path.home() / ".cache" / "gaugeblock-honest-twin"
        folder.mkdir(parents=True, exist_ok=True)
        logger.addHandler(logging.FileHandler(folder / "calls.log"))
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logger.info("relu %s", x.shape)


CALLS: Counter[str] = Counter()

THREADS = Honest("two threads, joined", relu=joined)
THREAD_POOL = Honest("threads that outlive the call, but not its work", relu=pooled_threads)
COMPILED = Honest("a cache of compiled code, keyed by all that matters", softmax=compiled())
WORKSPACE = Honest("workspace allocated late and used again, results always new", gemm=with_workspace())
READ_ONLY = Honest("read-only results", relu=read_only)
PART_OF_A_BLOCK = Honest("results that are part of a larger new block", relu=part_of_a_block)
STRIDED = Honest("results with strides of their own", relu=strided)
POOL = Honest("memory used again when the result in it was collected", relu=Pool().relu)
REMEMBERS = Honest("results remembered by all of the content, copies returned", relu=remembering())
ANOTHER_PROCESS = Honest("a process of its own that computes", relu=in_another_process)
PRINTS = Honest(
    "prints its progress", relu=around(lambda x: print(f"relu of {x.shape}: 100 % \x1b[32mok\x1b[0m"))
)
WARNS = Honest("warns", relu=around(lambda x: warnings.warn("slow path", RuntimeWarning, stacklevel=2)))
COUNTS = Honest("counts its calls", relu=around(lambda x: CALLS.update([str(x.shape)])))
TILES = Honest("rows in an order of chance, every sum in one order", softmax=tiles)
SCALARS = Honest("scalars for arrays without axes", relu=scalars)
HEAVY = Honest("imports a large module", relu=around(heavy))
OWN_FILES = Honest("temporary files of its own", relu=around(own_files))
LOGS = Honest("a log in the user's cache", relu=around(log))
