"""Ending a run early: the first SIGINT or SIGTERM ends it in good order, the second at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

GRACE_SECONDS = 1.0
"""How long the processes of a run may take to end what they started before they are killed."""


@dataclass
class Stop:
    """Whether a run was told to end, and whom it has to tell.

    Parameters
    ----------
    signal
        The signal that ended it, if one did.
    workers
        Ids of the processes that it shares its work with.
    """

    signal: int | None = None
    workers: list[int] = field(default_factory=list)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Pass the signal on, and leave what is being done."""
        self.signal = number
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        self._end_workers(signal.SIGTERM)
        if self.workers and hasattr(signal, "SIGKILL"):
            last = threading.Timer(GRACE_SECONDS, self._end_workers, (signal.SIGKILL,))
            last.daemon = True
            last.start()
        raise KeyboardInterrupt

    def _end_workers(self, number: int) -> None:
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, number)


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """Have the first SIGINT or SIGTERM raise ``KeyboardInterrupt``, and the second end the process.

    A signal that is ignored, as for a job in the background, stays ignored. Once one has come, the next is
    deadly even after this: what is left to do then is to write down what there is.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield stop
    finally:
        if stop.signal is None:
            for number, handler in before.items():
                signal.signal(number, handler)


def stop_by(close: Callable[[], None]) -> None:
    """Have a signal end this process, which has a share of a run, after it ended what it started.

    The system may hand a signal to any thread, while that in which Python's handlers run waits for a kernel:
    a thread of its own takes it.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def wait() -> None:
        number = os.read(reading, 1)[0]
        try:
            close()
        finally:
            os._exit(128 + number)

    threading.Thread(target=wait, daemon=True).start()
