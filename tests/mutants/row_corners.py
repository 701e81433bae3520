"""Kernels that break only on long rows, long groups and many units, examples or steps.

Each re-enacts what a kernel does beyond the sizes of everyday tests: a path of its own for rows that no block
holds, a workspace that was made for less. The kernels are those of the other files; the steps that touch
memory are here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from constructed import CONSTRUCTED, WIDE, Maxout
from gemm import truncated_to_tf32
from lstm import apart, mutant
from softmax import TILES, DType, Tiles, as_rows
from workshop import Array, Backend, destination, write

LONGEST = 1024  # elements that a block of threads holds
FUSED = 131_072  # elements that a row handled in one kernel may have
VECTOR = 8


def keep_nothing(x: Array, axis: int) -> None:
    """Leave the inputs alone."""


@dataclass(frozen=True)
class InMemory(Tiles):
    """The tile kernel with its traffic, and a path of its own for rows whose elements are neighbours."""

    read: Callable[[Array], Array] = lambda x: x
    at_once: Callable[[int], int] = lambda n: n
    scratch: Callable[[Array, int], None] = keep_nothing
    side_by_side: Callable[[Array, Array], Array] = lambda x, result: result
    store: Callable[[Array, Array], None] = write

    def launch(
        self, formula: Callable[..., Array], arrays: list[Array], dtype: DType, axis: int, out: Array | None
    ) -> Array:
        """Compute a row in one go or in several, each reading the inputs anew."""
        out = destination(out, arrays[-1].shape, dtype)
        target = np.moveaxis(out, axis, -1)
        n = target.shape[-1]
        if not out.size:
            return out
        step = self.at_once(n)
        for start in range(0, n, step):
            rows = [as_rows(self.read(array), axis) for array in arrays]
            with np.errstate(all="ignore"):
                result = formula(*rows, dtype)
                if axis % out.ndim == out.ndim - 1:
                    result = self.side_by_side(rows[-1], result)
                self.scratch(arrays[-1], axis)
                part = result.reshape(*target.shape)[..., start : start + step]
                self.store(target[..., start : start + step], part)
        return out


IN_MEMORY = InMemory()


@dataclass(frozen=True)
class LongGroups(Maxout):
    """Maxout with a step between loading and comparing."""

    seen: Callable[[Array], Array] = lambda groups: groups

    def groups(self, x: Array, pieces: int, axis: int) -> Array:
        """Return x in fp32 with its groups as the last axis, as the comparison sees them."""
        return self.seen(super().groups(x, pieces, axis))


# Wrong steps.


def not_begun_anew(x: Array, result: Array) -> Array:
    """Let the sum of a long row go on from the row before."""
    _, sums = TILES.parts(x, x.dtype)
    return result * (sums / np.cumsum(sums, axis=0)) if x.shape[1] > LONGEST else result


def without_heads(x: Array, result: Array) -> Array:
    """Sum a long row from its first whole vector on."""
    rows, n = x.shape
    if n < LONGEST:
        return result
    heads = (-np.arange(rows) * n) % VECTOR
    summed = np.where(np.arange(n) < heads[:, None], np.float32(0), result).sum(axis=1, keepdims=True)
    return np.where(heads[:, None] > 0, result / summed, result)


def from_the_vector_before(x: Array) -> Array:
    """Read a long row from the aligned address before its first element."""
    beyond = x.__array_interface__["data"][0] % 16 // x.itemsize
    if x.ndim > 1 or x.size < LONGEST or not x.flags.c_contiguous or not beyond:
        return x
    return np.concatenate([np.zeros(beyond, x.dtype), x[:-beyond]])


def lost_in_an_empty_tile(x: Array, m: Array) -> Array:
    """Subtract −Inf from −Inf in a first tile of 4096, as a running maximum without a guard does."""
    first = x[:, :4096].max(axis=1, keepdims=True)
    return np.where((x.shape[1] > 4096) & np.isneginf(first), np.float32(np.nan), x - m)


def zeros_for_nothing(x: Array, result: Array) -> Array:
    """Give zeros for a long row of nothing but −Inf."""
    nothing = np.isneginf(x).all(axis=1, keepdims=True)
    return np.where(nothing & (x.shape[1] > LONGEST), np.float32(0), result)


def exponentials_in_place(x: Array, axis: int) -> None:
    """Keep the exponentials of a long row where x was."""
    if x.shape[axis] > LONGEST:
        write(x, np.exp(x.astype(np.float32) - x.astype(np.float32).max(axis=axis, keepdims=True)))


def as_neighbours(out: Array, result: Array) -> None:
    """Store a long row as if its elements were neighbours."""
    if out.ndim == 1 and out.size > LONGEST and out.strides[0] > out.itemsize:
        out = np.lib.stride_tricks.as_strided(out, out.shape, (out.itemsize,))
    write(out, result)


def in_fours(out: Array, result: Array) -> None:
    """Store rows of 513 to 1024 elements four at a time, and forget the rest."""
    rows = len(out) // 4 * 4 if out.ndim == 2 and 513 <= out.shape[1] <= LONGEST else len(out)
    write(out[:rows], result[:rows])


def by_65535_blocks(out: Array, result: Array) -> None:
    """Store as many planes as a grid has blocks in y."""
    planes = (1 << 16) - 1 if out.ndim == 3 else len(out)
    write(out[:planes], result[:planes])


def without_nan(groups: Array) -> Array:
    """Take NaN for the smallest number, as fmaxf does, in groups that warps share."""
    return np.where(np.isnan(groups) & (groups.shape[-1] >= 64), np.float32(-np.inf), groups)


def of_256_words(add: Callable[[Array], Array], inputs: Array, states: Array, bias: Array) -> Array:
    """Keep 256 words of the state before."""
    return apart(add, inputs, states[..., :256], bias)


def through_tf32(add: Callable[[Array], Array], inputs: Array, states: Array, bias: Array) -> Array:
    """Let tensor cores have the products with a long state."""
    n = states.shape[-1]
    return apart(add, inputs, truncated_to_tf32(states) if n >= 128 and n % 64 == 0 else states, bias)


def of_the_first_block(state: Array, dtype: np.dtype[Any]) -> Array:
    """Hand on the 64 units of one block, before the others have written theirs."""
    return np.where(np.arange(state.shape[-1]) < 64, state, np.float32(0))


def of_the_first_tile(state: Array, dtype: np.dtype[Any]) -> Array:
    """Hand on the state of 64 examples, and to all others that of the first."""
    examples = np.arange(state.shape[-2])
    return state[..., np.where(examples < 64, examples, 0), :]


def from_a_short_workspace(x: Array) -> Array:
    """Weigh 4096 inputs, and read the first of them again for those that follow."""
    T, N, D = x.shape
    return x.reshape(T * N, D)[np.arange(T * N) % 4096].reshape(T, N, D) if T * N else x


# The mutants. Each replaces one step.

FORWARD = ("lstm_unit",)

W1 = Backend(
    "the sum of a row longer than a block goes on from the row before",
    CONSTRUCTED,
    softmax=IN_MEMORY.broken(side_by_side=not_begun_anew),
)
W2 = Backend(
    "a fused kernel cuts rows after 131 072 elements",
    CONSTRUCTED,
    dtypes=WIDE,
    softmax=TILES.broken(covered=lambda n: min(n, FUSED)),
)
W3 = Backend(
    "long rows that begin between two vectors lose their first elements in the sum",
    CONSTRUCTED,
    softmax=IN_MEMORY.broken(side_by_side=without_heads),
)
W4 = Backend(
    "a long row at a misaligned address is read from the vector before",
    CONSTRUCTED,
    softmax=IN_MEMORY.broken(read=from_the_vector_before),
    log_softmax=IN_MEMORY.broken(read=from_the_vector_before),
)
W5 = Backend(
    "a first tile of 4096 times −Inf makes the row NaN",
    CONSTRUCTED,
    softmax=TILES.broken(shift=lost_in_an_empty_tile),
    log_softmax=TILES.broken(shift=lost_in_an_empty_tile),
)
W6 = Backend(
    "a long row of nothing but −Inf gives zeros",
    CONSTRUCTED,
    softmax=IN_MEMORY.broken(side_by_side=zeros_for_nothing),
)
W7 = Backend(
    "in place, the second block of a long row reads what the first has overwritten",
    CONSTRUCTED,
    softmax_backward=IN_MEMORY.broken(at_once=lambda n: min(n, LONGEST)),
)
W8 = Backend(
    "the exponentials of a long row are kept in its input",
    CONSTRUCTED,
    softmax=IN_MEMORY.broken(scratch=exponentials_in_place),
)
W9 = Backend(
    "a long row is stored without the gaps of its output",
    CONSTRUCTED,
    softmax=IN_MEMORY.broken(store=as_neighbours),
)
W10 = Backend(
    "rows of middle length are stored four at a time, and the last ones are not",
    CONSTRUCTED,
    softmax=IN_MEMORY.broken(store=in_fours),
)
W11 = Backend(
    "more planes than a grid has blocks in y are left out",
    CONSTRUCTED,
    dtypes=WIDE,
    softmax=IN_MEMORY.broken(store=by_65535_blocks),
)
W12 = Backend(
    "warps that share a long group lose its NaN",
    CONSTRUCTED,
    maxout=LongGroups().broken(seen=without_nan),
)
W13 = mutant(
    "The state before is kept in 256 words; further units are not read.",
    *CONSTRUCTED,
    only=FORWARD,
    weigh=of_256_words,
)
W14 = mutant(
    "Products with the state go through tf32 where 128 units or more fill whole tiles.",
    *CONSTRUCTED,
    only=FORWARD,
    dtypes=WIDE,
    weigh=through_tf32,
)
W15 = mutant(
    "Of more than 64 units only the first block's are handed on.", *CONSTRUCTED, hand_on=of_the_first_block
)
W16 = mutant(
    "Of more than 64 examples the others are handed the state of the first.",
    *CONSTRUCTED,
    only=FORWARD,
    hand_on=of_the_first_tile,
)
W17 = mutant(
    "A workspace for 4096 weighted inputs begins again behind its end.",
    *CONSTRUCTED,
    only=FORWARD,
    read=from_a_short_workspace,
)
