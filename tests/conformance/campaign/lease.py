"""One campaign at a time on a store: a lease that its owner renews, and that outlives no owner for long.

No two clocks are compared. A newcomer on the owner's machine looks whether its process is alive; on another
it watches for as long as an owner may be silent whether the lease is renewed. Should two campaigns run all
the same, they waste work and harm nothing: cells are deterministic, and each is written whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gaugeblock.conformance.campaign.errors import CampaignError
from gaugeblock.conformance.campaign.store import Store

NAME = "owner.json"
RENEWED = 10.0
"""Seconds between renewals."""

SILENT = 35.0
"""Seconds without one after which an owner on another machine counts as gone."""

SETTLED = 0.3
"""Seconds after which a new owner looks whether another one came at the same time."""


class Lease:
    """That this process, and no other, runs the campaign of a store.

    Attributes
    ----------
    lost
        Who has it now, if somebody else took it.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.owner: dict[str, Any] = {
            "host": platform.node(),
            "boot": _boot(),
            "process": os.getpid(),
            "since": _born(os.getpid()),
            "token": secrets.token_hex(8),
        }
        self.renewals = 0
        self.lost: str | None = None
        self._end = threading.Event()

    def take(self) -> None:
        """Take the lease.

        Raises
        ------
        CampaignError
            If another campaign has it.
        """
        held = self.store.read(NAME)
        if isinstance(held, dict) and self._is_alive(held):
            raise CampaignError(f"{self.store.place}: a campaign runs on it: {_named(held)}")
        self._write()
        time.sleep(SETTLED)
        self._look()
        if self.lost:
            raise CampaignError(f"{self.store.place}: a campaign runs on it: {self.lost}")

    def _is_alive(self, held: dict[str, Any]) -> bool:
        same = all(held.get(name) == self.owner[name] for name in ("host", "boot"))
        if same and self.owner["since"] is not None:
            return _born(held.get("process")) == held.get("since")
        end = time.monotonic() + SILENT
        while time.monotonic() < end:
            time.sleep(min(RENEWED, SILENT) / 20)
            now = self.store.read(NAME)
            if now is None:
                return False
            if now != held:
                return True
        return False

    def _write(self) -> None:
        self.store.write(NAME, json.dumps({**self.owner, "renewals": self.renewals}).encode())

    def _look(self) -> None:
        now = self.store.read(NAME)
        if isinstance(now, dict) and now.get("token") != self.owner["token"]:
            self.lost = _named(now)

    @contextlib.contextmanager
    def kept(self) -> Iterator[Lease]:
        """Take the lease, renew it for as long as the context lasts, and give it back."""
        self.take()
        thread = threading.Thread(target=self._renew, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._end.set()
            thread.join()
            if not self.lost:
                with contextlib.suppress(OSError):
                    self.store.files.rm_file(f"{self.store.folder}/{NAME}")

    def _renew(self) -> None:
        while not self._end.wait(RENEWED):
            self.renewals += 1
            with contextlib.suppress(CampaignError):  # a store that is away for a while; a cell will say so
                self._look()
                if self.lost:
                    return
                self._write()


def _boot() -> str:
    """Return what tells this start of the machine from others, where the system says it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _born(process: Any) -> str | None:
    """Return when a process of this machine began, in the system's own count; None if there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _named(held: dict[str, Any]) -> str:
    return f"process {held.get('process')} on {held.get('host')}"
