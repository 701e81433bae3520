"""Run a program, or functions of a backend, on the simulated device, each launch counted apart.

What is counted is exact, and the same on every machine; `gaugeblock.gpu.runtime.roofline` says what a model
of a GPU makes of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from gaugeblock.conformance import simulating
from gaugeblock.conformance.backend import loading
from gaugeblock.conformance.backend.calling import Caller
from gaugeblock.conformance.checks.layers import problem_of
from gaugeblock.conformance.doors import importing
from gaugeblock.conformance.problems import layers
from gaugeblock.conformance.problems.fitting import fit
from gaugeblock.conformance.problems.layers import LayerCall
from gaugeblock.conformance.problems.problem import Problem
from gaugeblock.gpu.simulator import Launch, Launches, settings

__all__ = ["ProfileError", "Profiled", "backend_launches", "program_launches"]

MOST_WORK = 1 << 18
"""Products and elements of a call that nobody chose."""


class ProfileError(Exception):
    """There is nothing to profile; one line says why."""


Profiled = tuple[list[Launch], int | SystemExit]
"""What was launched, and how a program ended."""


def program_launches(program: str, arguments: Sequence[str]) -> Profiled:
    """Run a program to its end; return what it launched, and its exit code, or the exit that it asked for.

    Raises
    ------
    ProfileError
        It ended well, and launched nothing.
    simulating.ProgramError
        There is no such program, or something that it needs.
    """
    counters = Launches()
    ended: int | SystemExit
    with settings(counters=counters):
        try:
            ended = simulating.run(program, arguments)
        except SystemExit as asked:
            ended = asked
    if not counters.ended and not (ended.code if isinstance(ended, SystemExit) else ended):
        raise ProfileError(
            f"{program} launched no kernel; for the functions of a backend, put --operation NAME before it"
        )
    return counters.ended, ended


def backend_launches(
    name: str, operations: Sequence[str], dtypes: Sequence[str], call: LayerCall | None
) -> list[Launch]:
    """Call functions of a backend and return what they launched.

    Parameters
    ----------
    name
        The backend.
    operations
        Which functions; none are all.
    dtypes
        Formats; none is the first that the function is for.
    call
        Shapes and parameters. Without it each function is called as a layer of a known network calls it,
        made small, in the form nearest to that in the function's domain.

    Raises
    ------
    ProfileError
        A function is missing or fails, or nothing was launched.
    BackendError
        The backend cannot be used.
    """
    os.environ["GAUGEBLOCK_DEVICE"] = "simulator"
    importing.keep_doors()
    sys.path.insert(0, os.getcwd())  # for a backend that is a module there
    backend = loading.load(name)
    if missing := set(operations) - set(backend.functions):
        raise ProfileError(f"{name} has no {', '.join(sorted(missing))}, but {', '.join(backend.functions)}")
    counters = Launches()
    for operation in operations or backend.functions:
        for dtype in dtypes or backend.declared.domain_of(operation).dtypes[:1]:
            if call is not None:
                arithmetic = backend.declared.arithmetic_of(operation, dtype)
                problem: Problem | None = problem_of(call, dtype, arithmetic)
            else:
                problem = _small(backend, operation, dtype)
            if problem is None:
                raise ProfileError(f"{name}: {operation} declares no small problem in {dtype}: give --shape")
            _call(backend, problem, counters)
    if not counters.ended:
        raise ProfileError(f"{name} launched no kernel on the simulated device")
    return counters.ended


def _small(backend: loading.Backend, operation: str, dtype: str) -> Problem | None:
    """Return a problem of a layer of a network, in the function's domain, of no more work than wanted."""
    arithmetic = backend.declared.arithmetic_of(operation, dtype)
    domain = backend.declared.domain_of(operation)
    for call in reversed(layers.calls_of(operation, layers.SMALL)):
        if call.work <= MOST_WORK:
            found = fit(problem_of(call, dtype, arithmetic), domain)
            if found and LayerCall(operation, found.shapes, found.parameters, {}).work <= MOST_WORK:
                return found
    return None


def _call(backend: loading.Backend, problem: Problem, counters: Launches) -> None:
    """Call a function, counting what it launches."""
    caller = Caller(backend)
    call = caller.prepare(problem)
    counters.call = f"{problem.operation} {problem.dtype}"
    try:
        with settings(counters=counters):
            call.run()
            caller.kind.synchronize()
    except Exception as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in problem.arrays.items())
        words = " ".join(str(error).split())
        raise ProfileError(
            f"{problem.operation} of {shapes} in {problem.dtype}: {type(error).__name__}: {words}"
        ) from error
