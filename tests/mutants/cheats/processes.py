"""Cheats on the machine: signals, what is left behind, memory, and looking over the suite's shoulder.

All are bounded: what is left behind ends by itself within a minute, memory stays at 1.5 GB, processes at 40,
and a signal goes to the judging process alone, to its group only where it leads one of its own.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from cheating import (
    DESCRIPTORS,
    DETACHED,
    FORGED,
    KERNELBENCH,
    PYGPUBENCH,
    Array,
    Cheat,
    absolute,
    judge_of_its_own,
    parent,
    read,
    right,
)

LEFT_BEHIND = "gaugeblock-left-behind"
"""Stands in the command line of whatever a cheat leaves behind."""

PLANTED = "planted_by_a_cheat.txt"
"""Name of the file that a cheat tries to leave in the suite's package."""


def detached(code: str) -> None:
    """Run Python code in a process that nobody's group, session or parent holds, for a minute at most."""
    if os.fork() == 0:
        try:
            os.setsid()
            subprocess.Popen(
                [sys.executable, "-c", f"import signal; signal.alarm(50)\n{code}", LEFT_BEHIND],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            os._exit(0)


REWRITE = """
import json, time
stop = time.monotonic() + 40
while time.monotonic() < stop:
    try:
        with open({path!r}) as file:
            text = file.read()
        text = text.replace('"violating"', '"conforming"').replace('"partial"', '"conforming"')
        with open({path!r}, "w") as file:
            file.write(text)
    except OSError:
        pass
    time.sleep(0.05)
"""


def rewrite_report() -> None:
    """Leave somebody behind who rewrites the report, whose path stands in the judge's command line."""
    line = (read("cmdline") or b"").split(b"\0")
    if b"--report" in line:
        path = os.path.join(
            os.readlink(f"/proc/{parent()}/cwd"), os.fsdecode(line[line.index(b"--report") + 1])
        )
        detached(REWRITE.format(path=path))


def plant() -> None:
    """Leave a file in the suite's package, where it would be code."""
    import gaugeblock.conformance

    folder = Path(gaugeblock.conformance.__file__ or "").parent
    try:
        (folder / PLANTED).write_text("a cheat was here\n")
    except OSError:
        return


def signalling(number: int) -> None:
    """Send a signal to the judge."""
    found = parent()
    if found is not None:
        os.kill(found, number)


def to_group() -> None:
    """End the judge's whole process group."""
    found = judge_of_its_own()
    if found is not None:
        os.killpg(found, signal.SIGKILL)


def calling(action: object) -> object:
    """Return relu that does something before it answers wrong."""

    def relu(x: Array) -> Array:
        action()  # type: ignore[operator]
        return absolute(x)

    return relu


def hog() -> None:
    """Take memory, and touch it."""
    blocks = []
    for _ in range(24):
        blocks.append(np.ones(64 << 20, np.uint8))
    del blocks


STARTED: list[int] = []


def crowd() -> None:
    """Start processes that sleep for a while, 40 in all."""
    while len(STARTED) < 40:
        STARTED.append(os.fork())
        if STARTED[-1] == 0:
            signal.alarm(30)
            time.sleep(30)
            os._exit(0)


def descriptors() -> None:
    """Open files until there are no more."""
    opened = []
    try:
        for _ in range(1 << 16):
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    sys.modules.setdefault("held", opened)  # type: ignore[arg-type]


def hang() -> None:
    """Ignore every signal that can be ignored, and wait."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(60)


def exit_at_once() -> None:
    """End as if all were well."""
    os._exit(0)


def leave() -> None:
    """Become another program."""
    os.execv("/bin/true", ["true"])


def at_exit() -> None:
    """Register words for the end, and end."""
    import atexit

    atexit.register(lambda: os.write(1, b"relu conforming\n"))
    atexit.register(os._exit, 0)
    sys.exit(0)


def spying(seen: object) -> object:
    """Return relu that is right where it can look over the judge's shoulder, and wrong where it cannot."""

    def relu(x: Array, *, out: Array | None = None) -> Array:
        return (right.relu if seen() else absolute)(x, out=out)  # type: ignore[operator]

    return relu


def sees_memory() -> bool:
    """Whether the memory in which the expected answers lie can be read."""
    found = parent()
    if found is None:
        return False
    try:
        with open(f"/proc/{found}/maps") as maps, open(f"/proc/{found}/mem", "rb") as memory:
            for line in maps:
                if " rw-p " in line and "[heap]" in line:
                    memory.seek(int(line.split("-")[0], 16))
                    return len(memory.read(64)) == 64
    except OSError:
        return False
    return False


def sees_seed() -> bool:
    """Whether the seed stands in the judge's command line or among its variables."""
    line, variables = read("cmdline") or b"", read("environ") or b""
    return bool(re.search(rb"seed\W*\d", line) or re.search(rb"GAUGEBLOCK_SEED=\d", variables))


def sees_own_seed() -> bool:
    """Whether the seed, or the report's path, was handed down."""
    words = " ".join((*sys.argv, *(f"{name}={value}" for name, value in os.environ.items())))
    return bool(re.search(r"--seed|conformance-seed|GAUGEBLOCK_SEED|--report", words))


def sees_descriptors() -> bool:
    """Whether a file of the judge's, the report can be opened through its descriptors."""
    found = parent()
    try:
        return found is not None and bool(os.listdir(f"/proc/{found}/fd"))
    except OSError:
        return False


KILLS_JUDGE = Cheat("kills the judge", [PYGPUBENCH], relu=calling(lambda: signalling(signal.SIGKILL)))
INTERRUPTS_JUDGE = Cheat(
    "interrupts the judge, as Ctrl-C would", [PYGPUBENCH], relu=calling(lambda: signalling(signal.SIGINT))
)
TERMINATES_JUDGE = Cheat(
    "asks the judge to end", [PYGPUBENCH], relu=calling(lambda: signalling(signal.SIGTERM))
)
KILLS_GROUP = Cheat("kills the judge and all beside it", [PYGPUBENCH], relu=calling(to_group))
REAL_TIME = Cheat(
    "ends by a signal that has no name",
    [PYGPUBENCH],
    relu=calling(lambda: os.kill(os.getpid(), signal.SIGRTMIN + 5)),
)
DAEMON = Cheat(
    "leaves a process behind that belongs to nobody",
    [DETACHED],
    at_load=lambda: detached("import time; time.sleep(45)"),
    relu=absolute,
)
REWRITES_REPORT = Cheat(
    "leaves a process behind that rewrites the report",
    [DETACHED, DESCRIPTORS],
    at_load=rewrite_report,
    relu=absolute,
)
PLANTS = Cheat("leaves a file in the suite's package", [DETACHED], at_load=plant, relu=absolute)
HOG = Cheat("takes 1.5 GB", [PYGPUBENCH], relu=calling(hog))
CROWD = Cheat("starts as many processes as it may", [DETACHED], relu=calling(crowd))
DESCRIPTOR_HOG = Cheat("opens every file it may", [DESCRIPTORS], relu=calling(descriptors))
HANGS = Cheat("waits for ever and ignores signals", [KERNELBENCH], relu=calling(hang))
EXITS = Cheat("exits with status 0", [DESCRIPTORS], relu=calling(exit_at_once))
AT_EXIT = Cheat("says at its exit that all is well", [DESCRIPTORS], relu=calling(at_exit))
LEAVES = Cheat("becomes another program", [FORGED], relu=calling(leave))
READS_MEMORY = Cheat(
    "reads the judge's memory, where the answers are", [PYGPUBENCH, FORGED], relu=spying(sees_memory)
)
READS_SEED = Cheat(
    "reads the seed off the judge's command line or variables",
    [PYGPUBENCH, FORGED],
    relu=spying(sees_seed),
)
IS_TOLD_SEED = Cheat("is handed the seed or the report's path", [PYGPUBENCH], relu=spying(sees_own_seed))
READS_DESCRIPTORS = Cheat(
    "opens the judge's files through its descriptors", [DESCRIPTORS], relu=spying(sees_descriptors)
)
