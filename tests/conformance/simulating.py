"""Run a Python program on the simulated device, as Python itself would run it.

PyCUDA, CuPy, Triton and numba find the simulated device behind their doors. Arguments, exit status, standard
streams and ``__main__`` are the program's.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType

from gaugeblock import gpu
from gaugeblock.conformance.doors import importing

__all__ = ["ProgramError", "run"]

_PYCUDA = "pip download --no-deps --no-binary pycuda pycuda, unpack it and put its folder on PYTHONPATH"
_NEEDED = ("numpy", "pytools", "platformdirs", "mako", "siphash24")
_MOST_NOTES = 10


class ProgramError(Exception):
    """The program cannot be run; one line."""


def run(program: str, arguments: Sequence[str], order: str = "lockstep", seed: int = 0) -> int:
    """Run a program to its end.

    Parameters
    ----------
    program : str
        A Python file.
    arguments : sequence of str
        What it finds in ``sys.argv`` behind its name.
    order, seed
        In which order threads run (:class:`gaugeblock.gpu.simulator.machine.settings.Settings`).

    Returns
    -------
    int
        0, or 1 behind a traceback. `SystemExit` passes through.

    Raises
    ------
    ProgramError
        There is no such file, or PyCUDA is missing.
    """
    path = Path(program)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ProgramError(f"{program}: {error.strerror}") from error
    from gaugeblock.conformance.doors import pycuda_driver
    from gaugeblock.gpu.simulator import notes, settings

    os.environ["GAUGEBLOCK_DEVICE"] = "simulator"
    importing.keep_doors()
    pycuda_driver.forgiving = True
    main = ModuleType("__main__")
    main.__dict__.update(__file__=program, __cached__=None, __builtins__=__builtins__)
    main.__loader__ = SourceFileLoader("__main__", program)
    sys.modules["__main__"], sys.argv = main, [program, *arguments]
    sys.path[0:0] = [str(path.resolve().parent)]
    try:
        with settings(order=order, seed=seed):
            exec(compile(source, program, "exec", dont_inherit=True), main.__dict__)
    except Exception as error:
        if isinstance(error, ImportError) and (words := _missing(error)) is not None:
            raise ProgramError(f"{program}: {words}") from error
        return _failed(error)
    finally:
        for line in notes()[:_MOST_NOTES]:
            print(f"gaugeblock: note: {line}", file=sys.stderr)
    return 0


def _missing(error: ImportError) -> str | None:
    """Say how to get PyCUDA, or what its Python layer needs."""
    if error.name == "pycuda" and not isinstance(error, ModuleNotFoundError):
        return str(error)
    if error.name == "pycuda":
        return f"PyCUDA is not installed; of it the Python files are enough: {_PYCUDA}"
    frames = traceback.extract_tb(error.__traceback__)
    within = any(Path(frame.filename).parent.name == "pycuda" for frame in frames)
    if within and error.name in _NEEDED:
        return f"PyCUDA needs {error.name}: pip install {' '.join(_NEEDED)}"
    return None


def _failed(error: Exception) -> int:
    """Print a traceback as Python does: from the program on, of a fault no further than where it calls us."""
    from gaugeblock.gpu.simulator.errors import Error

    shown = _own(error.__traceback__)
    sys.stdout.flush()
    if isinstance(error, Error) and sys.excepthook is sys.__excepthook__:
        whole = traceback.TracebackException(type(error), error, shown)
        while len(whole.stack) > 1 and _is_ours(whole.stack[-1].filename):
            whole.stack.pop()
        print("".join(whole.format()), end="", file=sys.stderr)
    else:
        sys.excepthook(type(error), error.with_traceback(shown), shown)
    return 1


def _own(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frame that ran the program."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _is_ours(file: str) -> bool:
    folders = (Path(importing.__file__).parent, Path(gpu.__file__).parent)
    return any(folder in Path(file).parents for folder in folders)
