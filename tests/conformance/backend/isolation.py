"""Shutting the child in before any code of the backend's runs: what it can see, change and leave behind.

The process that the suite starts, the *watcher*, forks a *keeper*, and that the *worker*, in which alone
``enter`` returns. The keeper is the first process of namespaces of their own: no other process can be named
there, and all end when it ends. It tells the watcher how the worker ended; the watcher ends in the same way,
and ends them all when the suite is gone, whose end of the *lifeline* closes then.

The worker may read any file and write none but those in temporary and cache folders (Landlock; where the
kernel has none, root becomes a user without rights). A system may lack any of these means: then the others
hold, and ``in_words`` says which.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import importlib.util
import os
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from typing import NoReturn

MEANS = ("namespaces", "landlock", "user")
"""What can be asked for; the last is for where there is no Landlock."""

NOBODY = 65534

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x8000000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
CAPSET, CAPABILITY_VERSION = {"x86_64": 126, "aarch64": 91}, 0x20080522
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1 << 1, 1 << 2

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_WRITE_FILE, LANDLOCK_REFER, LANDLOCK_TRUNCATE = 1 << 1, 1 << 13, 1 << 14
LANDLOCK_CHANGE_FOLDER = sum(1 << bit for bit in range(4, 13))
LANDLOCK_SCOPE_SIGNAL = 1 << 1

DEVICES = (
    *("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm"),
    *("nvidia*", "nvidia-caps", "dri", "kfd", "dxg", "infiniband"),
)
"""What may be written to below ``/dev``: no disk is among it."""

CACHES = {"CUDA_CACHE_PATH": "~/.nv", "TRITON_CACHE_DIR": "~/.triton", "CUPY_CACHE_DIR": "~/.cupy"}
"""Variables that name a folder for compiled code, and where that is without them."""

MORE_CACHES = ("NUMBA_CACHE_DIR", "TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR")
"""Others; without them the folder is a temporary one, or below ``~/.cache``."""


def in_words(held: Collection[str]) -> str:
    """Return one line: which means hold, and what is not isolated."""
    means = []
    lacking = ["network", "GPU", "reading files"]
    if "namespaces" in held:
        means.append("user, process, mount and IPC namespaces of its own")
    else:
        lacking.append("other processes")
    if "landlock" in held:
        means.append("files written in temporary and cache folders only (Landlock)")
    elif "user" in held:
        means.append("a user without rights")
    else:
        lacking.append("writing files")
    if "privileges" in held:
        means.append("no new privileges")
    return f"{'; '.join(means) or 'none'}; not isolated: {', '.join(lacking)}"


def enter(
    lifeline: int,
    private: Collection[int],
    means: Collection[str],
    folder: str,
    needed: Collection[str],
    limits: Mapping[str, int],
) -> list[str]:
    """Shut this program in; return, in the worker alone, which means hold.

    Parameters
    ----------
    lifeline
        Descriptor of a pipe whose other end the suite has.
    private
        Descriptors for the worker alone.
    means
        Those of ``MEANS`` to try.
    folder
        The worker's temporary folder.
    needed
        Files that the worker must be able to read.
    limits
        Of ``resource``, by name.
    """
    for name, most in limits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    if sys.platform != "linux":
        return []
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    told, tell = os.pipe()
    keeper = _fork_into_namespaces() if "namespaces" in means else None
    held = [] if keeper is None else ["namespaces"]
    if keeper is None:
        keeper = os.fork()
    if keeper:
        _close(tell, *private)
        _watch(lifeline, told, folder)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    worker = os.fork()
    if worker:
        _close(lifeline, told, *private)
        _keep(worker, tell)
    _close(lifeline, told, tell)
    held += _restrict(means, folder, needed)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return held


def descendants(process: int) -> list[int]:
    """Return the processes that descend from one, parents first."""
    found = [process]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children", "rb") as file:
                    found += map(int, file.read().split())
    return found[1:]


def end_descendants(process: int, seconds: float = 5.0) -> None:
    """End what descends from a process: its first child last, which inherits the orphans of the others."""
    deadline = time.monotonic() + seconds
    for spared in (descendants(process)[:1], []):
        while others := [p for p in descendants(process) if p not in spared and not _is_zombie(p)]:
            for other in others:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(other, signal.SIGKILL)
            if time.monotonic() > deadline:
                return
            time.sleep(0.001)


def _is_zombie(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] in b"ZX"
    except OSError:
        return True


# The processes above the worker ------------------------------------------------------------------------


def _fork_into_namespaces() -> int | None:
    """Fork a process into namespaces of its own: 0 in it, 1 in this one, ``None`` where there are none.

    A process that unshares does not enter its process namespace, its children do, for ever. So another one
    does it; what it forks becomes this one's child when it ends.
    """
    maps = {kind: _identity(kind) for kind in ("uid", "gid")}
    asked, ask = os.pipe()
    granted, grant = os.pipe()
    between = os.fork()
    if between == 0:
        _close(asked, grant)
        with contextlib.suppress(OSError):
            _checked(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC))
            os.write(ask, b"m")
            if os.read(granted, 1) and os.fork() == 0:
                _checked(_libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
                _checked(_libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None))
                os.write(ask, b"p")
                if os.read(granted, 1):
                    _close(ask, granted)
                    return 0
        os._exit(0)
    _close(ask, granted)
    try:
        if os.read(asked, 1):
            for kind, lines in maps.items():
                if kind == "gid" and os.geteuid():
                    _write(f"/proc/{between}/setgroups", "deny")
                _write(f"/proc/{between}/{kind}_map", lines)
            os.write(grant, b"m")
            if os.read(asked, 1):
                os.waitpid(between, 0)
                os.write(grant, b"p")
                return 1
    except OSError:
        pass
    finally:
        _close(asked, grant)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    return None


def _identity(kind: str) -> str:
    """Return a map of a user namespace in which every user keeps the id: root's all, else one's own."""
    own = os.geteuid() if kind == "uid" else os.getegid()
    if os.geteuid():
        return f"{own} {own} 1\n"
    with open(f"/proc/self/{kind}_map") as file:
        return "".join(f"{first} {first} {count}\n" for first, _, count in map(str.split, file))


def _watch(lifeline: int, told: int, folder: str) -> NoReturn:
    """End as the worker ended, or because the suite is gone; either may leave the folder."""
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(told, select.POLLIN)
    ready = [descriptor for descriptor, _ in poll.poll()]
    status = os.read(told, 4) if told in ready else b""
    end_descendants(os.getpid())
    os.spawnlp(os.P_WAIT, "rm", "rm", "-rf", "--", folder)
    code = struct.unpack("i", status)[0] if len(status) == 4 else signal.SIGKILL  # the keeper was ended
    if os.WIFSIGNALED(code):
        with contextlib.suppress(OSError, ValueError):
            signal.signal(os.WTERMSIG(code), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(code))
    os._exit(os.WEXITSTATUS(code))


def _keep(worker: int, tell: int) -> NoReturn:
    """Reap what ends, until the worker does."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == worker:
            if os.getpid() != 1:  # with the first process of a namespace all others end
                end_descendants(os.getpid())
            os.write(tell, struct.pack("i", status))
            os._exit(0)


# The worker --------------------------------------------------------------------------------------------


def _restrict(means: Collection[str], folder: str, needed: Collection[str]) -> Iterator[str]:
    """Take from this process what it does not need, and yield what was taken."""
    writable = [folder, *_caches()]
    if _prctl(PR_SET_NO_NEW_PRIVS, 1):
        yield "privileges"
    held = "landlock" in means and _landlock(writable)
    if held:
        yield "landlock"
    elif "user" in means and os.geteuid() == 0 and _become_nobody(folder, needed):
        yield "user"
    _drop_capabilities(CAP_DAC_OVERRIDE | CAP_DAC_READ_SEARCH if held else 0)


def _caches() -> list[str]:
    """Return the folders of compiled code; one that nobody has made or named yet moves below ``~/.cache``."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folders = [root, *(os.environ[name] for name in (*CACHES, *MORE_CACHES) if name in os.environ)]
    for folder in folders:
        with contextlib.suppress(OSError):
            os.makedirs(folder, exist_ok=True)
    for variable, usual in CACHES.items():
        if os.path.isdir(os.path.expanduser(usual)):
            folders.append(os.path.expanduser(usual))
        else:
            os.environ.setdefault(variable, os.path.join(root, usual.removeprefix("~/.")))
    return folders


def _landlock(writable: Collection[str]) -> bool:
    """Let this process write to these folders and to harmless devices only; return whether that holds."""
    version = _libc.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    on_files = LANDLOCK_WRITE_FILE | (LANDLOCK_TRUNCATE if version >= 3 else 0)
    on_folders = on_files | LANDLOCK_CHANGE_FOLDER | (LANDLOCK_REFER if version >= 2 else 0)
    scope = LANDLOCK_SCOPE_SIGNAL if version >= 6 else 0
    attributes = struct.pack("QQQ", on_folders, 0, scope)[: 24 if version >= 6 else 8]
    rules = _libc.syscall(LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return False
    try:
        devices = [path for name in DEVICES for path in glob.glob(f"/dev/{name}")]
        for path in (*writable, *devices):
            with contextlib.suppress(OSError):
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
                allowed = on_folders if os.path.isdir(path) else on_files
                _libc.syscall(LANDLOCK_ADD_RULE, rules, 1, struct.pack("=Qi", allowed, place), 0)
                os.close(place)
        return bool(_libc.syscall(LANDLOCK_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _become_nobody(folder: str, needed: Collection[str]) -> bool:
    """Become a user without rights, unless that could not read what is needed; return whether it holds."""
    numpy = importlib.util.find_spec("numpy")
    files = [sys.executable, __file__, *needed, *([numpy.origin] if numpy and numpy.origin else [])]
    groups = os.getgroups()
    try:
        os.chown(folder, NOBODY, NOBODY)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, 0)
        os.setresuid(NOBODY, NOBODY, 0)
        if all(os.access(file, os.R_OK, effective_ids=True) for file in files):
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.environ.update(HOME=folder, XDG_CACHE_HOME=folder)
            _prctl(PR_SET_DUMPABLE, 1)  # or it could not read its own ``/proc/self``
            return True
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)
    except OSError:
        pass
    return False


def _drop_capabilities(kept: int) -> None:
    """Give up what only root may do, but for the rights ``kept``, which are about files."""
    number = CAPSET.get(os.uname().machine)
    if number is not None:
        header, found = struct.pack("Ii", CAPABILITY_VERSION, 0), ctypes.create_string_buffer(24)
        _libc.syscall(number - 1, header, found)
        kept &= struct.unpack_from("I", found)[0]
        _libc.syscall(number, header, struct.pack("6I", kept, kept, 0, 0, 0, 0))


# The system --------------------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    """Raise the error of a call of the system, if it is one."""
    if result < 0:
        raise OSError(ctypes.get_errno(), errno.errorcode.get(ctypes.get_errno(), "?"))


def _prctl(option: int, value: int) -> bool:
    unsigned = ctypes.c_ulong
    return bool(_libc.prctl(option, *map(unsigned, (value, 0, 0, 0))) == 0)


def _write(path: str, content: str) -> None:
    with open(path, "w") as file:
        file.write(content)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
