"""What ends a campaign before its cells, or between them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class CampaignError(Exception):
    """A campaign cannot be run, or go on; the message says why in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


@contextlib.contextmanager
def needing(extra: str) -> Iterator[None]:
    """Say which extra of this package has a module that is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        words = f"{error.name} is not installed: pip install 'gaugeblock[{extra}]'"
        raise CampaignError(words) from error
