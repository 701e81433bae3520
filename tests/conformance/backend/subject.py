"""The backend under test as the suite sees it: something that answers calls, or fails to.

What the child says is judged, not believed: guard zones and inputs are compared with the suite's own copies,
results are read where they lie in the child's memory (``kept``), its words are cleaned before they leave
this module, and a reply of no known form is the end of the child (``messages``, ``process``).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.backend import arena, isolation, messages
from gaugeblock.conformance.backend.arena import GUARD, Arena, View
from gaugeblock.conformance.backend.declarations import Declarations
from gaugeblock.conformance.backend.kept import Kept, Result
from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.backend.messages import MessageError, clean
from gaugeblock.conformance.backend.process import LOAD_SECONDS, Child, Ended, Limits
from gaugeblock.conformance.backend.worker import Call
from gaugeblock.conformance.problems.problem import Floats, Problem
from gaugeblock.spec import accuracy

CHANGED = "changed the result of an earlier call: it used its memory again"


class CallFailed(Exception):
    """A call gave no result that could be compared; the message says what came instead."""


class Refused(CallFailed):
    """The backend raised ``ValueError`` or ``TypeError``."""


class Unsupported(Exception):
    """The backend raised ``NotImplementedError``."""


class Lost(BaseException):
    """The process crashed, did not answer in time, or was ended.

    No ``Exception``: a retry would cost as much again.
    """


@dataclass(frozen=True)
class Answer:
    """What a call gave.

    Parameters
    ----------
    raw
        The result in the backend's dtype.
    intrusions
        What the call changed though it must not: a sentence each (only when watched).
    """

    raw: NDArray[np.generic]
    intrusions: tuple[str, ...] = ()

    @property
    def values(self) -> Floats:
        """The result as float64."""
        return self.raw.astype(np.float64)

    @property
    def bits(self) -> NDArray[np.generic]:
        """The result's bit patterns."""
        return np.ascontiguousarray(self.raw).view(f"u{self.raw.dtype.itemsize}")


class Subject:
    """A backend in a process of its own.

    Parameters
    ----------
    name
        The backend (:func:`gaugeblock.conformance.backend.loading.load`).
    time_limit
        Seconds a call may take.
    limits
        What the process may use.
    expected
        The description it must have: that which another process has heard.
    means
        With what it is isolated; fewer than all for debugging only.

    Attributes
    ----------
    losses
        How often the process crashed or did not answer.
    description
        What the backend says of itself.
    isolation
        One line: what isolates it, and what does not.

    Raises
    ------
    BackendError
        If it cannot be loaded, or describes itself otherwise than expected.
    """

    def __init__(
        self,
        name: str,
        time_limit: float = 60.0,
        *,
        limits: Limits | None = None,
        expected: Mapping[str, Any] | None = None,
        means: Collection[str] = isolation.MEANS,
    ) -> None:
        self.name = name
        self.time_limit = time_limit
        self.losses = 0
        self.isolation = ""
        self._limits = limits or Limits()
        self._means = means
        self._expected = expected
        self._peak = 0
        self._number = 0
        self._memory = arena.create_file()
        self._arena = Arena(arena.map_file(self._memory))
        self._child: Child | None = None
        self._twin: Subject | None = None
        self._kept = Kept(None, self._fetch)
        try:
            self.start()
        except Lost as error:
            self.close()
            raise BackendError(str(error)) from None
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start the process, again after it was lost, and load the backend in it.

        Raises
        ------
        BackendError
            If the backend cannot be loaded.
        Lost
            If the process ends, or describes the backend otherwise than before.
        """
        self._end()
        try:
            self._child = Child(self.name, self._memory, self._limits, self._means)
            self._child.shut_in()
            self.isolation = isolation.in_words(self._child.isolation)
            match self._child.ask(("describe",), LOAD_SECONDS, messages.DESCRIPTION_LIMIT):
                case ("backend", dict() as found):
                    description = messages.read_description(found)
                case ("refused", message):
                    raise BackendError(clean(message))
                case reply:
                    raise MessageError(f"sent {reply[0]!r}, expected 'backend'")
        except Ended as error:
            raise self._lost(f"{self.name}: loading: {error}") from None
        except MessageError as error:
            raise self._lost(f"{self.name}: loading: it {error}") from None
        except BackendError:
            self._end()
            raise
        before = description if self._expected is None else self._expected
        changed = [key for key in {**before, **description} if before.get(key) != description.get(key)]
        if changed:
            was, now = (clean(said.get(changed[0]), 100) for said in (before, description))
            raise self._lost(f"{self.name}: its {changed[0]} was {was} before and is {now} now")
        self.description: Mapping[str, Any] = before
        try:
            self.declared = Declarations.read(before["declared"])
        except (ValueError, TypeError) as error:  # which its own process has not seen
            raise self._lost(f"{self.name}: {clean(str(error))}") from None
        self._expected = before
        direct = self._child.readable and description["arrays"] == "numpy"
        self._kept = Kept(self._child.read if direct else None, self._fetch)

    @property
    def twin(self) -> Subject:
        """The same backend in another process, which knows nothing of the calls that this one has seen."""
        if self._twin is None:
            self._twin = Subject(
                self.name, self.time_limit, limits=self._limits, expected=self._expected, means=self._means
            )
        return self._twin

    def close(self) -> None:
        """End the processes and give the shared memory back."""
        if self._twin is not None:
            self._twin.close()
        self._end()
        self._arena.close()
        os.close(self._memory)

    def _end(self) -> None:
        """End the process."""
        child, self._child = self._child, None
        self._kept.clear()
        if child is not None:
            child.end()
            self._peak = max(self._peak, child.peak)

    def _lost(self, how: str) -> Lost:
        """End a process that cannot be used any more."""
        self.losses += 1
        self._end()
        return Lost(how)

    @property
    def peak_memory(self) -> int:
        """Most bytes of memory that the backend was seen to use, in all its processes so far."""
        if self._child is not None:
            self._peak = max(self._peak, self._child.peak_now())
        return self._peak

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of the operations the backend has."""
        return tuple(self.description["takes_out"])

    def takes_out(self, operation: str) -> bool:
        """Whether the backend's function has a parameter ``out``."""
        return bool(self.description["takes_out"].get(operation))

    def call(
        self, problem: Problem, *, watch: bool = False, values: Mapping[str, Floats] | None = None
    ) -> Answer:
        """Put a problem to the backend.

        Parameters
        ----------
        problem
            The call; its ``out`` is ignored where the function has no such parameter.
        watch
            Compare all memory around the arrays, and the inputs, before and after.
        values
            Elements to use in place of what the problem's recipes give.

        Raises
        ------
        Unsupported
            If the backend raises ``NotImplementedError``.
        CallFailed
            If it raises anything else, or returns what is no result.
        Lost
            If the process crashes or does not answer in time.
        """
        dtype = accuracy.FORMATS[problem.dtype].dtype
        own = problem.record.result_dtype
        result = dtype if own == "same" else np.dtype(own)
        shape = problem.result_shape
        views = self._lay(problem, dtype, values or {})
        out = self._place_output(problem, result, views)
        blocks = {**views, **({"out": out} if out else {})}
        before = {name: self._arena.snapshot(view) for name, view in blocks.items()} if watch else {}
        found = self._run(problem, views, out)
        where = views[problem.alias] if problem.alias is not None else out
        answered = found or where
        assert answered is not None
        if (np.dtype(answered.dtype), answered.shape) != (result, shape):
            raise CallFailed(
                f"returned {answered.dtype} of shape {answered.shape},"
                f" expected {result.name} of shape {shape}"
            )
        raw = self._delivered(found, views) if found else self._copy(where)
        return Answer(raw, tuple(self._intrusions(blocks, before, problem)))

    def refusal(self, problem: Problem) -> str | None:
        """Put a misuse to the backend and return the words of its refusal, ``None`` where it answers.

        Raises
        ------
        Unsupported
            If the backend raises ``NotImplementedError``.
        CallFailed
            If it raises anything else than ``ValueError`` or ``TypeError``, or returns what is no result.
        Lost
            If the process crashes or does not answer in time.
        """
        dtype = accuracy.FORMATS[problem.dtype].dtype
        views = self._lay(problem, dtype, {})
        out = self._place_output(problem, dtype, views) if problem.out is not None else None
        try:
            self._run(problem, views, out, alias=False)
        except Refused as refused:
            return str(refused)
        return None

    def expect_kept(self) -> None:
        """Look at the results that were returned since the last release, and at the elder ones.

        Raises
        ------
        CallFailed
            If one has changed, or lies in the memory that is shared with the suite.
        Lost
            If the process does not answer.
        """
        if self._child is None or not (self._kept.results or self._kept.elders):
            return
        shared = self._child.shared_intervals() if self.description["arrays"] == "numpy" else []
        if any(low < stop and start < high for low, high in self._kept.intervals for start, stop in shared):
            self._kept.clear()
            raise CallFailed("returned memory of its arguments, not a new array")
        if self._kept.any_changed():
            raise CallFailed(CHANGED)

    def release(self) -> None:
        """Let the results of a case go, after a last look at them: raises as ``expect_kept`` does."""
        try:
            self.expect_kept()
        finally:
            self._kept.retire()

    def _delivered(self, result: Result, views: Mapping[str, View]) -> NDArray[np.generic]:
        """Return a result that the function allocated, once it is seen to be a new array, and keep it."""
        assert self._child is not None
        if result.in_memory and self.description["arrays"] == "numpy":
            low, high = (address - self._child.shared for address in result.interval)
            if low < arena.SIZE and high > 0:
                names = [name for name, view in views.items() if low < view.stop and view.start < high]
                raise CallFailed(f"returned memory of its argument {', '.join(names)}, not a new array")
        if result.in_memory and self._kept.read is not None:
            found = self._kept.look(result)
            if found is None:
                raise CallFailed("returned an array whose memory cannot be read")
            raw = found if found.flags.c_contiguous else found.copy()
        else:
            raw = self._copy(arena.place_of_result(self._arena.top, result.dtype.name, result.shape))
        complaint = self._kept.add(result, raw) if result.in_memory else None
        if complaint is not None:
            raise CallFailed(complaint)
        return raw

    def _copy(self, view: View | None) -> NDArray[np.generic]:
        """Return a copy of an array in the shared memory."""
        assert view is not None
        return view.on(self._arena.buffer, np.dtype(view.dtype)).copy()

    def _lay(
        self, problem: Problem, dtype: np.dtype[np.generic], values: Mapping[str, Floats]
    ) -> dict[str, View]:
        """Place the inputs in the arena."""
        self._arena.clear()
        self._arena.alignment = max(16, self.declared.domain_of(problem.operation).alignment)
        views = {}
        for name, array in problem.arrays.items():
            own = np.dtype(problem.dtypes.get(name, dtype))
            views[name] = self._arena.place(name, own, array.shape, array.layout, GUARD)
            elements = values[name] if name in values else array.build(problem.dtype)
            views[name].on(self._arena.buffer, own)[...] = elements.astype(own)
        return views

    def _place_output(self, problem: Problem, dtype: np.dtype[Any], views: Mapping[str, View]) -> View | None:
        """Place the output, poisoned, where the problem has one and the function takes it."""
        if problem.alias is not None or problem.out is None or not self.takes_out(problem.operation):
            return None
        shape = problem.misfit.get("shape", problem.result_shape)
        dtype = np.dtype(problem.misfit.get("dtype", dtype))
        out = self._arena.place("out", dtype, shape, problem.out, arena.poison(dtype.itemsize))
        if "over" not in problem.misfit:
            return out
        below = views[problem.misfit["over"]]
        return replace(out, position=below.position + dtype.itemsize, start=below.start, stop=below.stop)

    def _intrusions(
        self,
        blocks: Mapping[str, View],
        before: Mapping[str, NDArray[np.uint8]],
        problem: Problem,
    ) -> list[str]:
        found = []
        for name, old in before.items():
            outside = self._arena.outside_changed(blocks[name], old, np.dtype(blocks[name].dtype))
            if outside is not None:
                found.append(f"wrote outside {name}, {outside} elements from its first")
            elif name not in ("out", problem.alias) and not np.array_equal(
                old, self._arena.snapshot(blocks[name])
            ):
                found.append(f"changed its input {name}")
        return found

    def _run(
        self, problem: Problem, views: dict[str, View], out: View | None, *, alias: bool = True
    ) -> Result | None:
        """Put a call and translate the reply: where a result is that the function allocated."""
        self._number += 1
        if self._child is None:
            self._start_again(problem.operation)
        oldest = self._kept.oldest
        call = Call(
            problem.operation,
            views,
            dict(problem.parameters),
            out,
            problem.alias if alias else None,
            self._arena.top,
            self._kept.read is None,
            self._number,
            self._number if oldest is None else oldest,
            self._kept.numbers_of_elders,
        )
        reply = self._ask(("call", call.as_data()), problem.operation)
        if self._kept.newest_changed():
            raise CallFailed(CHANGED)
        match reply:
            case ("done",) if call.out or call.alias:
                return None
            case ("result", *_) if not call.out and not call.alias:
                return self._result(reply, problem.operation)
            case ("raised", "declined", _, message, _):
                raise Unsupported(clean(message))
            case ("raised", category, kind, message, sticky):
                if sticky:
                    self._end()
                failed = Refused if category == "argument" else CallFailed
                raise failed(f"raised {clean(kind, 100)}: {clean(message)}")
            case ("wrong", message):
                raise CallFailed(clean(message))
        raise self._lost(f"{problem.operation}: it sent {reply[0]!r}, which is no answer to a call")

    def _result(self, reply: tuple[Any, ...], doing: str) -> Result:
        """Return where a reply says that a result lies, once it can be true."""
        _, dtype, shape, address, strides = reply
        result = Result(self._number, np.dtype(dtype), tuple(shape), address, tuple(strides))
        where = arena.place_of_result(self._arena.top, dtype, result.shape)
        if where.stop > arena.SIZE or (address is None and shape):
            raise self._lost(f"{doing}: it sent a malformed 'result'")
        return result

    def _fetch(self, result: Result) -> NDArray[np.generic] | None:
        """Return the result of an earlier call as it is now."""
        self._arena.clear()
        reply = self._ask(("fetch", result.number, self._arena.top), "a result")
        if reply[0] != "result":
            return None
        found = self._result(reply, "a result")
        view = arena.place_of_result(self._arena.top, found.dtype.name, found.shape)
        return view.on(self._arena.buffer, found.dtype)

    def _start_again(self, doing: str) -> None:
        """Start the process after it was lost."""
        try:
            self.start()
        except BackendError as error:
            raise Lost(f"{doing}: {error}") from None

    def _ask(self, request: tuple[Any, ...], doing: str) -> tuple[Any, ...]:
        """Send a request and return the reply, or lose the child."""
        assert self._child is not None
        try:
            return self._child.ask(request, self.time_limit)
        except Ended as error:
            raise self._lost(f"{doing}: {error}") from None
