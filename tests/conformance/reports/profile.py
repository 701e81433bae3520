"""What was counted of launches, and what a model makes of it: as tables, as data, as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from gaugeblock.gpu.runtime import assembler, roofline
from gaugeblock.gpu.runtime.assembler import AssemblerUnavailable, Resources
from gaugeblock.gpu.runtime.compiler import plain_name
from gaugeblock.gpu.runtime.roofline import GPU, Prediction, Work
from gaugeblock.gpu.simulator import Launch
from gaugeblock.spec.demonstrations import Picture
from gaugeblock.spec.demonstrations.style import ACCENT, INK, QUIET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MODEL", "Profile", "Row", "profile"]

FORMAT = 1
"""Of the data."""

MODEL = (
    "A launch takes 2 µs, an assumption, and the longest of: the different sectors of global memory that it "
    "touches at the bandwidth of DRAM, its passes through shared memory, its instructions of PTX at four "
    "warps a clock and multiprocessor, and each kind of arithmetic at its peak, all but the first on as many "
    "multiprocessors as it has blocks. It was never compared with hardware."
)
"""The time model, as the help page says it."""


@dataclass(frozen=True)
class Row:
    """Launches of one kernel with the same blocks: sums of what they counted.

    Attributes
    ----------
    call, kernel, mangled : str
        Which operation and format it was launched for, of a backend; the kernel's name, as C++ has it and as
        PTX has it.
    launches, blocks, threads, block_threads, shared, instructions : int
        How many; `block_threads` and bytes of `shared` memory are those of one block.
    read, written : int
        Bytes of global memory in sectors of 32 bytes, each counted once per instruction of a warp.
    least_read, least_written : int
        Bytes of the different sectors, each counted once per launch.
    wavefronts, conflicts, barriers : int
        Passes through shared memory, those of them that are bank conflicts, and barriers passed by blocks.
    operations : mapping of str to int
        By kind (:func:`gaugeblock.gpu.runtime.roofline.arithmetic`).
    spellings : mapping of str to int
        Executed instructions.
    prediction : Prediction or None
        The time of all launches, and what bounds most of it; None where the GPU cannot do that arithmetic.
    resources : Resources or None
        What the assembler says, where it is there.
    occupancy : float or None
        Likewise.
    """

    call: str
    kernel: str
    mangled: str
    launches: int
    blocks: int
    threads: int
    block_threads: int
    shared: int
    instructions: int
    read: int
    written: int
    least_read: int
    least_written: int
    wavefronts: int
    conflicts: int
    barriers: int
    operations: dict[str, int]
    spellings: dict[str, int]
    prediction: Prediction | None
    resources: Resources | None = None
    occupancy: float | None = None

    @property
    def intensity(self) -> float | None:
        """Operations for a byte that moves at least, of a kernel that has some."""
        nbytes = self.least_read + self.least_written
        return sum(self.operations.values()) / nbytes if nbytes and self.operations else None

    def as_data(self) -> dict[str, Any]:
        """Return it as data."""
        data = {name: value for name, value in vars(self).items() if name not in ("prediction", "resources")}
        data["intensity"] = self.intensity
        data["predicted"] = self.prediction and vars(self.prediction)
        data["resources"] = self.resources and vars(self.resources)
        return data


@dataclass(frozen=True)
class Profile:
    """Kernels, those that take longest first, and launches in their order; `remarks` say what is missing."""

    gpu: GPU
    kernels: tuple[Row, ...]
    launches: tuple[Row, ...]
    remarks: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """Return it as data for JSON; instructions by spelling are those of kernels alone."""
        launches = [row.as_data() for row in self.launches]
        for each in launches:
            del each["spellings"], each["launches"]
        return {
            "format": FORMAT,
            "gpu": vars(self.gpu),
            "model": MODEL,
            "kernels": [row.as_data() for row in self.kernels],
            "launches": launches,
            "remarks": self.remarks,
        }


def profile(launches: Sequence[Launch], gpu: GPU) -> Profile:
    """Sum launches up by kernel and size of the blocks, and predict their times on a GPU."""
    alike: dict[tuple[Any, ...], list[Launch]] = {}
    for each in launches:
        alike.setdefault((each.call, each.kernel, each.ptx, each.block_threads, each.shared), []).append(each)
    rows, remarks = [], dict[str, None]()
    for group in alike.values():
        row = _row(group, gpu)
        if unknown := [kind for kind in row.operations if kind not in gpu.peaks]:
            remarks[f"no time for {row.kernel}: the {gpu.name} has no {', '.join(unknown)}"] = None
        try:
            resources = assembler.resources(group[0].ptx, gpu.capability)[row.mangled]
            occupancy = roofline.occupancy(resources, row.block_threads, row.shared, gpu)
            row = replace(row, resources=resources, occupancy=occupancy)
        except AssemblerUnavailable as error:
            remarks[f"no registers and no occupancy: {error}"] = None
        rows.append(row)
    rows.sort(key=lambda row: -row.prediction.seconds if row.prediction else 0.0)
    return Profile(gpu, tuple(rows), tuple(_row([each], gpu) for each in launches), tuple(remarks))


def _row(launches: Sequence[Launch], gpu: GPU) -> Row:
    """Sum launches of one kernel up."""
    counters = [each.counters for each in launches]
    spellings: Counter[str] = Counter()
    for counted in counters:
        spellings += counted.instructions
    tables = [(counted.loads, counted.stores) for counted in counters]
    shared = [table["shared"] for pair in tables for table in pair if "shared" in table]
    moved = [sum(pair[way]["global"].moved for pair in tables if "global" in pair[way]) for way in (0, 1)]
    first = launches[0]
    return Row(
        first.call,
        plain_name(first.kernel),
        first.kernel,
        launches=len(launches),
        blocks=sum(each.blocks for each in launches),
        threads=sum(each.blocks * each.block_threads for each in launches),
        block_threads=first.block_threads,
        shared=first.shared,
        instructions=spellings.total(),
        read=moved[0],
        written=moved[1],
        least_read=sum(each.read for each in launches),
        least_written=sum(each.written for each in launches),
        wavefronts=sum(traffic.wavefronts for traffic in shared),
        conflicts=sum(traffic.conflicts for traffic in shared),
        barriers=sum(counted.barriers for counted in counters),
        operations=roofline.arithmetic(spellings),
        spellings=dict(spellings),
        prediction=_together(roofline.predict(_work(each), gpu) for each in launches),
    )


def _work(launch: Launch) -> Work:
    counters = launch.counters
    shared = (table["shared"] for table in (counters.loads, counters.stores) if "shared" in table)
    return Work(
        launch.blocks,
        launch.read + launch.written,
        sum(traffic.wavefronts for traffic in shared),
        counters.instructions.total(),
        roofline.arithmetic(counters.instructions),
    )


def _together(predictions: Iterable[Prediction | None]) -> Prediction | None:
    """Add times up; what bounds them is what bounds most of the time."""
    shares: Counter[str] = Counter()
    for each in predictions:
        if each is None:
            return None
        shares[each.bound] += each.seconds  # type: ignore[assignment]
    return Prediction(float(shares.total()), max(shares, key=lambda bound: shares[bound]))


# Tables --------------------------------------------------------------------------------------------------

Column = tuple[str, Callable[[Row], str]]

COUNTED: Sequence[Column] = (
    ("launches", lambda row: str(row.launches)),
    ("threads", lambda row: short(row.threads)),
    ("instructions", lambda row: short(row.instructions)),
    ("read", lambda row: _bytes(row.read, row.least_read)),
    ("written", lambda row: _bytes(row.written, row.least_written)),
    ("conflicts", lambda row: short(row.conflicts)),
    ("barriers", lambda row: short(row.barriers)),
    (
        "operations",
        lambda row: "\n".join(f"{short(n).strip()} {kind}" for kind, n in row.operations.items()) or "–",
    ),
)
MODELLED: Sequence[Column] = (
    ("operations / byte", lambda row: "–" if row.intensity is None else f"{row.intensity:.3g}"),
    ("predicted time", lambda row: "–" if row.prediction is None else f"{short(row.prediction.seconds)}s"),
    ("bound by", lambda row: "–" if row.prediction is None else row.prediction.bound),
    ("registers", lambda row: "–" if row.resources is None else str(row.resources.registers)),
    ("spilled", lambda row: "–" if row.resources is None else f"{row.resources.spills} B"),
    ("occupancy", lambda row: "–" if row.occupancy is None else f"{row.occupancy:.0%}"),
)


def short(number: float) -> str:
    """Return a number in three digits and a prefix.

    >>> short(1000), short(12345), short(2.5e-6), short(7)
    ('1.00 k', '12.3 k', '2.50 µ', '7 ')
    """
    prefix, factor = next((each for each in _PREFIXES if number >= 0.9995 * each[1]), ("", 1.0))
    scaled = number / factor
    whole = scaled >= 99.95 or (not prefix and scaled == int(scaled))
    digits = 0 if whole else 1 if scaled >= 9.995 else 2
    return f"{scaled:.{digits}f} {prefix}"


_PREFIXES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3), ("µ", 1e-6))


def _bytes(moved: int, least: int) -> str:
    return f"{short(moved)}B" + (f" ×{moved / least:.2f}" if least else "")


def show(console: Console, profile: Profile) -> None:
    """Print what was counted, and what the model makes of it."""
    titles = ("counted on the simulated device", f"by a model of the {profile.gpu.name}, not measured")
    for title, columns in zip(titles, (COUNTED, MODELLED), strict=True):
        table = Table(
            title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        table.add_column("kernel", overflow="fold")
        for name, _ in columns:
            table.add_column(name, justify="right")
        for row in profile.kernels:
            kernel = f"{row.call} {row.kernel} <{row.block_threads}>".strip()
            table.add_row(kernel, *(cell(row).strip() for _, cell in columns))
        console.print(table)
    console.print("×: sectors without caches, over different ones; conflicts: of banks", style="dim")
    for remark in profile.remarks:
        console.print(remark, markup=False, soft_wrap=True)


# The picture ---------------------------------------------------------------------------------------------


def picture(profile: Profile) -> Picture:
    """Return the roofline of the GPU, and where the kernels with arithmetic lie below it."""
    caption = f"Predicted rates below the roofs of the {profile.gpu.name}; nothing was measured on one."
    return Picture("roofline", caption, lambda figure: _draw(figure, profile))


def _draw(figure: Figure, profile: Profile) -> None:
    axes, gpu = figure.subplots(), profile.gpu
    rows = [row for row in profile.kernels if row.intensity is not None and row.prediction is not None]
    kinds = dict.fromkeys(kind for row in rows for kind in row.operations) or {"fp32": None}
    roofs = {kind: gpu.peaks[kind] for kind in kinds}
    points = [
        (row.intensity or 0.0, sum(row.operations.values()) / row.prediction.seconds, row.kernel)
        for row in rows
        if row.prediction is not None
    ]
    ridge = max(roofs.values()) / gpu.bandwidth
    left = min([0.05, *(x / 3 for x, _, _ in points)])
    right = max([10 * ridge, *(3 * x for x, _, _ in points)])
    for kind, peak in roofs.items():
        axes.plot([left, peak / gpu.bandwidth, right], [left * gpu.bandwidth, peak, peak], color=INK, ls="-")
        axes.annotate(kind, (right, peak), (-2, 3), textcoords="offset points", ha="right", color=INK)
    for x, y, name in points:
        axes.plot([x], [y], "o", color=ACCENT)
        axes.annotate(name, (x, y), (5, -3), textcoords="offset points", color=INK)
    axes.axvline(ridge, color=QUIET, linewidth=0.6, linestyle=":")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="operations for a byte that moves at least",
        ylabel="operations a second, predicted",
        title=f"{gpu.name}: a model's roofline, not measured",
    )
