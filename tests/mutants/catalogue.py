"""Every mutant and every correct variant, collected from the families' files.

The mutants are rows of a catalogue of bugs that shipped; ``source`` names the threads that report them. The
conformance suite must call every mutant violating and no variant.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import arithmetics  # noqa: E402
import combined  # noqa: E402
import constructed  # noqa: E402
import convolution  # noqa: E402
import elementwise  # noqa: E402
import gemm  # noqa: E402
import long  # noqa: E402
import lstm  # noqa: E402
import pooling  # noqa: E402
import race  # noqa: E402
import row_corners  # noqa: E402
import sliding_corners  # noqa: E402
import softmax  # noqa: E402
from workshop import Backend  # noqa: E402


@dataclass(frozen=True)
class Variant:
    """A right way to compute.

    Attributes
    ----------
    name : str
        Its attribute in the file.
    file : Path
        The file that holds it.
    operations : tuple of str
        What it implements.
    dtypes : tuple of str
        The types for which it is meant.
    story : str
        How it computes.
    """

    name: str
    file: Path
    operations: tuple[str, ...]
    dtypes: tuple[str, ...]
    story: str

    @property
    def backend(self) -> str:
        """Return the name by which ``gaugeblock conform`` knows it."""
        return f"{self.file}:{self.name}"


@dataclass(frozen=True)
class Mutant(Variant):
    """A kernel broken on purpose.

    ``story`` says what went wrong, ``source`` who reported it, ``change`` which step of the correct kernel is
    replaced, ``dtypes`` in which types it shows.
    """

    source: tuple[str, ...]
    change: str


def described(module: ModuleType, file: Path) -> list[Variant]:
    """Return the records of all backends in one file, in its order."""
    records: list[Variant] = []
    for name, backend in vars(module).items():
        if isinstance(backend, Backend):
            about = (name, file, tuple(backend.kernels), backend.dtypes, backend.story)
            changes = {kernel.change for kernel in backend.kernels.values()}
            (change,) = changes if len(changes) == 1 else (None,)
            records.append(Variant(*about) if change is None else Mutant(*about, backend.source, change))
    return records


def records(*modules: ModuleType) -> list[Variant]:
    """Return the records of all backends in some files."""
    return [record for module in modules for record in described(module, HERE / f"{module.__name__}.py")]


RECORDS = records(
    gemm,
    softmax,
    race,
    elementwise,
    constructed,
    combined,
    row_corners,
    convolution,
    pooling,
    sliding_corners,
    lstm,
    arithmetics,
    long,
)
MUTANTS: tuple[Mutant, ...] = tuple(record for record in RECORDS if isinstance(record, Mutant))
VARIANTS: tuple[Variant, ...] = tuple(record for record in RECORDS if not isinstance(record, Mutant))
