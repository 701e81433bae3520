"""LSTM kernels broken on purpose, and right ones that compute in other ways.

The kernel: the weighted data of a step are sums in fp32, the gates activate them, the state is handed on in
fp32. The way back runs forward first and keeps the activated gates and the cells in a workspace. One rounding
at the end.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from workshop import DTYPES, NARROW, Array, Backend, Kernel, checked, destination, exp, tanh, write

F = np.float32
LSTM_OPERATIONS = ("lstm_unit", "lstm_unit_backward")

# Sums over the last axis -----------------------------------------------------------------------------------


def in_order(terms: Array) -> Array:
    """Add one term after the other."""
    total = np.zeros(terms.shape[:-1], F)
    for k in range(terms.shape[-1]):
        total = total + terms[..., k]
    return total


def as_a_tree(terms: Array) -> Array:
    """Halve the sum until one term is left."""
    if terms.shape[-1] <= 1:
        return in_order(terms)
    half = terms.shape[-1] // 2
    return as_a_tree(terms[..., :half]) + as_a_tree(terms[..., half:])


def in_lanes(terms: Array) -> Array:
    """Add as the lanes of a warp do: every eighth term each, then across."""
    return as_a_tree(np.stack([in_order(terms[..., lane::8]) for lane in range(8)], axis=-1))


def joined(add: Callable[[Array], Array], inputs: Array, states: Array, bias: Array) -> Array:
    """Add up all terms at once, as one GEMM of inputs and states side by side does."""
    return add(np.concatenate([inputs, states, bias[..., None]], axis=-1))


def apart(add: Callable[[Array], Array], inputs: Array, states: Array, bias: Array) -> Array:
    """Add up the inputs' products and the states' apart, as two GEMMs do."""
    return (add(inputs) + bias) + add(states)


# Functions -------------------------------------------------------------------------------------------------


def sigmoid(z: Array) -> Array:
    """Return 1/(1 + e⁻ᶻ)."""
    result: Array = 1 / (1 + exp(-z))
    return result


def sigmoid_by_sign(z: Array) -> Array:
    """Return it with no exponential above 1."""
    e = exp(-np.abs(z))
    result: Array = np.where(z < 0, e, F(1)) / (1 + e)
    return np.where(np.isnan(z), z, result)


def sigmoid_of_growing(z: Array) -> Array:
    """Return eᶻ/(1 + eᶻ) at any z: Inf/Inf once eᶻ overflows."""
    e = exp(z)
    result: Array = e / (1 + e)
    return result


def tanh_by_sigmoid(z: Array) -> Array:
    """Return 2σ(2z) − 1, which has no digits left near 0."""
    return 2 * sigmoid(2 * z) - 1


def steep(gates: Array) -> Array:
    """Return the derivatives of the gates from their values."""
    slopes = gates * (1 - gates)
    slopes[2] = 1 - gates[2] * gates[2]
    return slopes


def steep_by_factors(gates: Array) -> Array:
    """Return them, that of tanh as (1 − g)(1 + g)."""
    slopes = gates * (1 - gates)
    slopes[2] = (1 - gates[2]) * (1 + gates[2])
    return slopes


def cell(f: Array, c: Array, i: Array, g: Array) -> Array:
    """Return f·c + i·g."""
    return f * c + i * g


def cell_fused(f: Array, c: Array, i: Array, g: Array) -> Array:
    """Return it with one rounding less, as a fused multiply-add does."""
    return (f.astype(np.float64) * c + i * g).astype(F)


# The kernel ------------------------------------------------------------------------------------------------


class Saved(NamedTuple):
    """What a step leaves in the workspace for the way back."""

    gates: Array
    before: Array
    cell: Array


def activated(gates: Array, z: Array) -> Array:
    """Save the gates."""
    return gates


def kept(state: Array, dtype: np.dtype[Any]) -> Array:
    """Hand a state on in fp32."""
    return state


def rounded(state: Array, dtype: np.dtype[Any]) -> Array:
    """Hand it on as it is returned."""
    return state.astype(dtype).astype(F)


def given(h: Array, c: Array, workspace: dict[str, Any]) -> tuple[Array, Array]:
    """Begin in the state that the call names."""
    return h, c


def unchanged(h: Array, c: Array, t: int) -> tuple[Array, Array]:
    """Hand on what step t has made of outputs and cells, or of their gradients."""
    return h, c


def in_its_order(x: Array) -> Array:
    """Read x as (T, N, D)."""
    return x


@dataclass(frozen=True)
class Lstm(Kernel):
    """An LSTM unit and its gradient."""

    add: Callable[[Array], Array] = in_order
    weigh: Callable[..., Array] = apart
    weighted: Callable[[Array, np.dtype[Any]], Array] = lambda z, dtype: z
    sigmoid: Callable[[Array], Array] = sigmoid
    tanh: Callable[[Array], Array] = tanh
    cell: Callable[..., Array] = cell
    slopes: Callable[[Array], Array] = steep
    hand_on: Callable[[Array, np.dtype[Any]], Array] = kept
    begin: Callable[..., tuple[Array, Array]] = given
    read: Callable[[Array], Array] = in_its_order
    biases: Callable[[Array], Array] = lambda bias: bias
    gates: Callable[[Array, int], Array] = lambda gates, t: gates
    save: Callable[[Array, Array], Array] = activated
    steps: Callable[[int], int] = lambda T: T
    units: Callable[[int], int] = lambda H: H
    state: Callable[[Array, Array, int], tuple[Array, Array]] = unchanged
    gradient: Callable[[Array, Array, int], tuple[Array, Array]] = unchanged
    of_cells: Callable[[Array], Array] = lambda dy: dy
    workspace: dict[str, Any] = field(default_factory=dict, init=False, compare=False)

    def entry(self, operation: str) -> Callable[..., Array]:
        """Return lstm_unit or lstm_unit_backward."""
        return self.backward if operation.endswith("_backward") else self.forward

    def check(self, arrays: dict[str, Array]) -> np.dtype[Any]:
        """Return the dtype; refuse what does not fit."""
        dtype = checked(**arrays)
        axes = {"x": 3, "h": 2, "c": 2, "w": 3, "u": 3, "bias": 2, "dy": 4}
        for name, array in arrays.items():
            if array.ndim != axes[name]:
                raise ValueError(f"{name} has shape {array.shape}, expected {axes[name]} axes")
        (T, N, D), H = arrays["x"].shape, arrays["h"].shape[1]
        shapes = {"h": (N, H), "c": (N, H), "w": (4, H, D), "u": (4, H, H), "bias": (4, H)}
        for name, shape in ({**shapes, "dy": (2, T, N, H)}).items():
            if name in arrays and arrays[name].shape != shape:
                raise ValueError(f"{name} has shape {arrays[name].shape}, expected {shape}")
        return dtype

    def run(self, dtype: np.dtype[Any], **arrays: Array) -> tuple[list[Saved], list[Array]]:
        """Run forward; return what is saved, and the outputs."""
        x, h, c, w, u, bias = (arrays[name].astype(F) for name in ("x", "h", "c", "w", "u", "bias"))
        x, bias = self.read(x), self.biases(bias)
        h, c = self.begin(h, c, self.workspace)
        saved, outputs = [], []
        for t, inputs in enumerate(x):
            by_input, by_state = inputs[None, :, None] * w[:, None], h[None, :, None] * u[:, None]
            addend = np.broadcast_to(bias[:, None], by_input.shape[:-1])
            z = self.weighted(self.weigh(self.add, by_input, by_state, addend), dtype)
            gates = np.stack([self.sigmoid(z[0]), self.sigmoid(z[1]), self.tanh(z[2]), self.sigmoid(z[3])])
            i, f, g, o = gates = self.gates(gates, t)
            before, c = c, self.cell(f, c, i, g)
            h = o * self.tanh(c)
            saved.append(Saved(self.save(gates, z), before, c))
            outputs.append(h)
            h, c = self.state(self.hand_on(h, dtype), self.hand_on(c, dtype), t)
        self.workspace["state"] = h, c
        return saved, outputs

    def forward(
        self,
        x: Array,
        h: Array,
        c: Array,
        w: Array,
        u: Array,
        bias: Array,
        *,
        out: Array | None = None,
    ) -> Array:
        """Return the outputs and the cells of every step."""
        arrays = {"x": x, "h": h, "c": c, "w": w, "u": u, "bias": bias}
        dtype = self.check(arrays)
        out = destination(out, (2, *x.shape[:2], h.shape[1]), dtype)
        with np.errstate(all="ignore"):
            saved, outputs = self.run(dtype, **arrays)
            for t in range(self.steps(len(saved))):
                units = slice(self.units(h.shape[1]))
                write(out[0, t][:, units], outputs[t][:, units])
                write(out[1, t][:, units], saved[t].cell[:, units])
        return out

    def backward(
        self,
        dy: Array,
        x: Array,
        h: Array,
        c: Array,
        w: Array,
        u: Array,
        bias: Array,
        *,
        out: Array | None = None,
    ) -> Array:
        """Return the gradients of the weighted data and of the cells."""
        arrays = {"dy": dy, "x": x, "h": h, "c": c, "w": w, "u": u, "bias": bias}
        dtype = self.check(arrays)
        out = destination(out, (5, *x.shape[:2], h.shape[1]), dtype)
        gradients = np.empty(out.shape, F)  # what out may lie over is read to the end
        back = np.swapaxes(u.astype(F), 1, 2)
        dh_after, dc_after = np.zeros(h.shape, F), np.zeros(h.shape, F)
        with np.errstate(all="ignore"):
            saved, _ = self.run(dtype, **{name: arrays[name] for name in arrays if name != "dy"})
            for t in reversed(range(len(saved))):
                gates, before, after = saved[t]
                (i, f, g, o), slopes, tanh_c = gates, self.slopes(gates), self.tanh(after)
                dh = dy[0, t].astype(F) + dh_after
                dc = self.of_cells(dy[1, t].astype(F)) + (dc_after + dh * o * (1 - tanh_c * tanh_c))
                factors = (dc * g, dc * before, dc * i, dh * tanh_c)
                dz = np.stack([factor * slope for factor, slope in zip(factors, slopes, strict=True)])
                gradients[:4, t], gradients[4, t] = dz, dc * f
                terms = self.hand_on(dz, dtype)[:, :, None, :] * back[:, None]
                dh_after = self.add(np.concatenate(list(terms), axis=-1))
                dh_after, dc_after = self.gradient(dh_after, self.hand_on(dc * f, dtype), t)
            write(out, gradients)
        return out


LSTM = Lstm()


def mutant(story: str, *source: str, only: tuple[str, ...] = LSTM_OPERATIONS, **change: Any) -> Backend:
    """Return a backend with one step of the kernel replaced in the operations where it shows."""
    dtypes = change.pop("dtypes", tuple(DTYPES))
    kernel = LSTM.broken(**change)
    return Backend(story, source, dtypes=dtypes, **dict.fromkeys(only, kernel))


# The catalogue's rows --------------------------------------------------------------------------------------

FORWARD, BACKWARD = ("lstm_unit",), ("lstm_unit_backward",)

L1 = mutant(
    "The forward pass saves the gates before their activation, and the way back takes them as activated.",
    "flagos-ai/FlagGems#5014",
    only=BACKWARD,
    save=lambda gates, z: z,
)

L3 = mutant(
    "The bias of the output gate is used for the input gate and the forget gate too.",
    "ddbourgin/numpy-ml#42",
    biases=lambda bias: bias[[3, 3, 2, 3]],
)


def with_the_batch_s_stride(x: Array) -> Array:
    """Find (t, n) at t·T + n: right as long as T = N."""
    T, N, D = x.shape
    place = np.arange(T)[:, None] * T + np.arange(N)
    return x.reshape(T * N, D)[place % (T * N)] if T * N else x


L5 = mutant(
    "Steps and examples are mixed up in an index: with T ≠ N rows of other steps are read.",
    "ooples/AiDotNet.Tensors#907",
    read=with_the_batch_s_stride,
)

L7 = mutant(
    "The cells before the first step are not read: all tests began with zeros.",
    "pytorch/pytorch#95137",
    begin=lambda h, c, workspace: (h, np.zeros_like(c)),
)

# Constructed -----------------------------------------------------------------------------------------------


def left_over(h: Array, c: Array, workspace: dict[str, Any]) -> tuple[Array, Array]:
    """Begin in the state of the last call if it has the same shape."""
    last = workspace.get("state")
    return last if last is not None and last[1].shape == c.shape else (h, c)


CONSTRUCTED = "constructed"

LC1 = mutant(
    "Every example begins in the state of the first.",
    CONSTRUCTED,
    begin=lambda h, c, workspace: (np.repeat(h[:1], len(h), 0), np.repeat(c[:1], len(c), 0)),
)
LC2 = mutant("The state of the last call is still there.", CONSTRUCTED, begin=left_over)
LC3 = mutant(
    "Weights in another library's order: the output gate is the third.",
    CONSTRUCTED,
    gates=lambda gates, t: gates[[0, 1, 3, 2]],
)
LC4 = mutant(
    "One is added to the forget gate's bias, as some libraries do.",
    CONSTRUCTED,
    biases=lambda bias: bias + np.array([0, 1, 0, 0], F)[:, None],
)
LC5 = mutant("eᶻ/(1 + eᶻ) is NaN once eᶻ overflows.", CONSTRUCTED, sigmoid=sigmoid_of_growing)
LC6 = mutant(
    "tanh z as 2σ(2z) − 1 loses its digits near 0.",
    CONSTRUCTED,
    only=("lstm_unit",),
    tanh=tanh_by_sigmoid,
    dtypes=("float32",),
)
LC7 = mutant(
    "Weighted data are rounded to the narrow format before the gates read them.",
    CONSTRUCTED,
    only=("lstm_unit",),
    weighted=lambda z, dtype: z.astype(dtype).astype(F),
    dtypes=NARROW,
)
LC8 = mutant(
    "Gates are kept in float16.",
    CONSTRUCTED,
    only=("lstm_unit",),
    dtypes=("float32", "float16"),
    gates=lambda gates, t: gates.astype(np.float16).astype(F),
)
LC9 = mutant("The last step is not written.", CONSTRUCTED, only=("lstm_unit",), steps=lambda T: max(T - 1, 1))
LC10 = mutant(
    "Vectors of four units: the rest is not written.",
    CONSTRUCTED,
    only=("lstm_unit",),
    units=lambda H: H // 4 * 4 or H,
)
LC11 = mutant(
    "The gradient of the cells is not read: only outputs count.",
    CONSTRUCTED,
    only=BACKWARD,
    of_cells=np.zeros_like,
)
LC12 = mutant(
    "The gradient of the cell stops at each step.",
    CONSTRUCTED,
    only=BACKWARD,
    gradient=lambda dh, dc, t: (dh, np.zeros_like(dc)),
)
LC13 = mutant(
    "The slope of the candidate is that of a gate.",
    CONSTRUCTED,
    only=BACKWARD,
    slopes=lambda gates: gates * (1 - gates),
)
LC14 = mutant(
    "A NaN cell is taken for zero.",
    CONSTRUCTED,
    cell=lambda f, c, i, g: np.nan_to_num(f * c, posinf=np.inf, neginf=-np.inf) + i * g,
)
LC15 = mutant(
    "A shut gate forgets an infinity too: its product is skipped.",
    CONSTRUCTED,
    only=("lstm_unit",),
    cell=lambda f, c, i, g: np.where(f == 0, F(0), f * c) + i * g,
)


def narrowed(state: Array, name: str) -> Array:
    """Round what is handed on to a narrow type."""
    with np.errstate(all="ignore"):
        return state.astype(DTYPES[name]).astype(F)


def of_the_one_before(state: Array) -> Array:
    """Give every example what belongs to the one before."""
    return np.roll(state, 1, axis=0)


LC16 = mutant(
    "The state is kept in bfloat16 between steps.",
    CONSTRUCTED,
    only=FORWARD,
    dtypes=("float32", "float16"),
    state=lambda h, c, t: (narrowed(h, "bfloat16"), narrowed(c, "bfloat16")),
)
LC17 = mutant(
    "From the ninth step on sigmoids are 10⁻⁴ too small.",
    CONSTRUCTED,
    only=FORWARD,
    dtypes=("float32",),
    gates=lambda gates, t: (
        gates * np.where(t < 8, F(1), F(1 - 1e-4) + np.array([0, 0, 1e-4, 0], F)[:, None, None])
    ),
)
LC18 = mutant(
    "Cells are kept in float16 between steps.",
    CONSTRUCTED,
    only=FORWARD,
    dtypes=("float32",),
    state=lambda h, c, t: (h, narrowed(c, "float16")),
)
LC19 = mutant(
    "Once, after step 40, an example reads the output of the one before.",
    CONSTRUCTED,
    only=FORWARD,
    state=lambda h, c, t: (of_the_one_before(h) if t == 40 else h, c),
)
LC20 = mutant(
    "After step 128 cells are those of the example before.",
    CONSTRUCTED,
    only=FORWARD,
    state=lambda h, c, t: (h, of_the_one_before(c) if t == 128 else c),
)
LC21 = mutant(
    "With 128 units, cells are kept in float16 from the eighth step on.",
    CONSTRUCTED,
    only=FORWARD,
    dtypes=("float32",),
    state=lambda h, c, t: (h, narrowed(c, "float16") if c.shape[1] % 128 == 0 and t > 6 else c),
)
LC22 = mutant(
    "The gradient of the cell is handed on in bfloat16.",
    CONSTRUCTED,
    only=BACKWARD,
    dtypes=("float32", "float16"),
    gradient=lambda dh, dc, t: (dh, narrowed(dc, "bfloat16")),
)
LC23 = mutant(
    "The gradient of the output is handed on in float16.",
    CONSTRUCTED,
    only=BACKWARD,
    dtypes=("float32",),
    gradient=lambda dh, dc, t: (narrowed(dh, "float16"), dc),
)
LC24 = mutant(
    "Once, before step 40, an example reads the gradient of the output of the one before.",
    CONSTRUCTED,
    only=BACKWARD,
    gradient=lambda dh, dc, t: (of_the_one_before(dh) if t == 40 else dh, dc),
)
LC25 = mutant(
    "With 128 units, the gradient of the cell is handed on in float16 up to the eighth step.",
    CONSTRUCTED,
    only=BACKWARD,
    dtypes=("float32",),
    gradient=lambda dh, dc, t: (dh, narrowed(dc, "float16") if dc.shape[1] % 128 == 0 and t < 8 else dc),
)
LC26 = mutant(
    "The way back reads cells that were kept in float16.",
    CONSTRUCTED,
    only=BACKWARD,
    dtypes=("float32",),
    state=lambda h, c, t: (h, narrowed(c, "float16")),
)

# Right ways ------------------------------------------------------------------------------------------------


def variant(story: str, **steps: Any) -> Backend:
    """Return a backend that computes in another right way."""
    return Backend(story, **dict.fromkeys(LSTM_OPERATIONS, Lstm(**steps)))


lstm = variant("Products of inputs and states apart, in order; the state in fp32.")
lstm_joined = variant("All products of a step in one sum, in a tree.", weigh=joined, add=as_a_tree)
lstm_rounded = variant("The state is handed on as it is returned.", hand_on=rounded, add=in_lanes)
lstm_reversed = variant(
    "The last product first; σ by sign; the cell by a fused multiply-add.",
    add=lambda terms: in_order(terms[..., ::-1]),
    sigmoid=sigmoid_by_sign,
    cell=cell_fused,
)
lstm_other_slopes = variant(
    "Slopes of tanh as (1 − g)(1 + g); the state is handed on as it is returned; lanes of a warp.",
    slopes=steep_by_factors,
    hand_on=rounded,
    weigh=joined,
    add=in_lanes,
)
