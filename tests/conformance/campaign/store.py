"""Where results are kept: one Parquet file for each finished cell, in any folder that fsspec knows.

A file is written beside its place and moved there, so that it is whole or not at all, and is named by its
cell's identity, so that no two campaigns can mix. What is finished is what is there: nothing has to be
repaired after a run that was killed, and no database is locked between machines.
"""

from __future__ import annotations

import json
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import fsspec

from gaugeblock.conformance.campaign.errors import CampaignError

FORMAT = 1

COLUMNS: Mapping[str, str] = {
    "cell": "VARCHAR",
    "kind": "VARCHAR",
    "target": "VARCHAR",
    "device": "VARCHAR",
    "simulated": "BOOLEAN",
    "operation": "VARCHAR",
    "dtype": "VARCHAR",
    "profile": "VARCHAR",
    "seed": "BIGINT",
    "first_pattern": "BIGINT",
    "clause": "VARCHAR",
    "role": "VARCHAR",
    "level": "VARCHAR",
    "verdict": "VARCHAR",
    "examples": "BIGINT",
    "asked": "BIGINT",
    "answered": "BIGINT",
    "declined": "BIGINT",
    "worst_share_of_bound": "DOUBLE",
    "message": "VARCHAR",
    "problem": "VARCHAR",
    "reproduce": "VARCHAR",
    "outcome": "VARCHAR",
    "versions": "VARCHAR",
}
"""What the same plan gives again, on any engine."""

MEASURED: Mapping[str, str] = {
    "seconds": "DOUBLE",
    "cell_seconds": "DOUBLE",
    "tries": "BIGINT",
    "host": "VARCHAR",
    "gpus": "VARCHAR",
    "started": "VARCHAR",
    "platform": "VARCHAR",
    "isolation": "VARCHAR",
    "memory": "VARCHAR",
    "ladder": "VARCHAR",
}
"""What differs from run to run."""

Row = dict[str, Any]


class Store:
    """The folder of a campaign.

    Parameters
    ----------
    place
        A path, or an address that fsspec knows.

    Raises
    ------
    CampaignError
        If there can be no such folder.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        try:
            self.files, folder = fsspec.url_to_fs(place)
        except (ImportError, ValueError) as error:
            raise CampaignError(f"{place}: {error}") from None
        self.folder = str(folder).rstrip("/")
        self._database = duckdb.connect(config={"threads": 1})
        if not self.is_local:
            self._database.register_filesystem(self.files)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return "file" in (
            self.files.protocol if isinstance(self.files.protocol, tuple) else (self.files.protocol,)
        )

    @property
    def cells(self) -> str:
        """The folder of finished cells."""
        return f"{self.folder}/cells"

    def read(self, name: str) -> Any:
        """Return the content of a file of JSON, None if there is none, or if it is cut off."""
        try:
            return json.loads(self.files.cat_file(f"{self.folder}/{name}"))
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            return None
        except OSError as error:
            raise CampaignError(f"{self.place}: {error}") from None

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all.

        Raises
        ------
        CampaignError
            If it cannot be written.
        """
        target = f"{self.folder}/{name}"
        beside = f"{self.folder}/.{secrets.token_hex(8)}"
        try:
            self.files.makedirs(target.rpartition("/")[0], exist_ok=True)
            if not self.is_local:  # an object appears when all of it is there
                self.files.pipe_file(target, content)
                return
            Path(beside).write_bytes(content)
            Path(beside).replace(target)
        except OSError as error:
            if self.is_local:
                Path(beside).unlink(missing_ok=True)
            raise CampaignError(f"{self.place} cannot be written: {error}") from None

    def open(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Make the store for a plan, or open that which is its; return what it holds of backends.

        Raises
        ------
        CampaignError
            If it is another plan's, has another format, cannot be written or is no store.
        """
        manifest = self.read("manifest.json")
        if manifest is None:
            found = self.files.ls(self.folder, detail=False) if self.files.exists(self.folder) else []
            names = [str(each).rpartition("/")[2] for each in found]
            if strange := [name for name in names if name != "owner.json" and name[0] != "."]:
                words = f"{self.place} holds {strange[0]} and no manifest that can be read"
                raise CampaignError(f"{words}: it is no store of a campaign")
            self._keep({"format": FORMAT, "plan": plan, "targets": {}})
            return {}
        form = manifest.get("format") if isinstance(manifest, dict) else None
        if form != FORMAT:
            raise CampaignError(
                f"{self.place} is a store of format {form}, expected {FORMAT}: use another --store"
            )
        if not manifest["targets"]:  # its backends could not be described: there is nothing in it yet
            self._keep({"format": FORMAT, "plan": plan, "targets": {}})
            return {}
        for key in {**manifest["plan"], **plan}:
            if manifest["plan"].get(key) != plan.get(key):
                was, now = (_short(each.get(key)) for each in (manifest["plan"], plan))
                words = f"{self.place} is the store of another plan"
                raise CampaignError(f"{words}: {key} was {was}, is {now}; use another --store")
        targets: dict[str, Any] = manifest["targets"]
        return targets

    def describe(self, plan: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        """Keep what the backends say of themselves: cells of others will not be let in."""
        self._keep({"format": FORMAT, "plan": plan, "targets": targets})

    def _keep(self, manifest: Mapping[str, Any]) -> None:
        self.write("manifest.json", json.dumps(manifest, indent=1).encode())

    def finished(self) -> set[str]:
        """Return the identities of cells that are finished; what is cut off is not."""
        try:
            names = self.files.ls(self.cells, detail=False)
        except FileNotFoundError:
            return set()
        found = (str(name) for name in names if str(name).endswith(".parquet"))
        return {name.rpartition("/")[2].partition(".")[0] for name in found if self._is_whole(name)}

    def _is_whole(self, name: str) -> bool:
        """Whether a file has an end: after a loss of power one may not."""
        if not self.is_local:
            return True
        with open(name, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - 4, 0))
            return file.read() == b"PAR1"

    def put(self, identity: str, rows: Sequence[Row]) -> None:
        """Keep a finished cell."""
        columns = {**COLUMNS, **MEASURED}
        named = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        self._database.execute(f"CREATE OR REPLACE TEMP TABLE cell_rows ({named})")
        marks = ", ".join("?" * len(columns))
        self._database.executemany(
            f"INSERT INTO cell_rows VALUES ({marks})", [[row.get(name) for name in columns] for row in rows]
        )
        with tempfile.TemporaryDirectory(prefix="gaugeblock-") as folder:
            file = Path(folder, "rows.parquet")
            self._database.execute(f"COPY cell_rows TO {_quoted(str(file))} (FORMAT parquet)")
            self.write(f"cells/{identity}.parquet", file.read_bytes())

    def query(self, sql: str) -> Iterator[Row]:
        """Yield the rows that a query gives; the table ``cells`` is all finished ones."""
        if not self.finished():
            return
        escaped = re.sub(r"([*?\[])", r"[\1]", self.cells)
        where = escaped if self.is_local else self.files.unstrip_protocol(escaped)
        found = f"read_parquet({_quoted(f'{where}/*.parquet')})"
        self._database.execute(f"CREATE OR REPLACE TEMP VIEW cells AS SELECT * FROM {found}")
        cursor = self._database.execute(sql)
        names = [column[0] for column in cursor.description or ()]
        while some := cursor.fetchmany(1000):
            yield from (dict(zip(names, row, strict=True)) for row in some)

    def content(self) -> list[Row]:
        """Return all that the same plan gives again, in one order: two stores of it are equal in this."""
        names = ", ".join(COLUMNS)
        return list(self.query(f"SELECT {names} FROM cells ORDER BY ALL"))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
