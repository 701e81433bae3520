"""Results that are remembered by the text of what they were computed from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Memory(Generic[Result]):
    """A memory of results, of which the longest unused are forgotten when all together are too large.

    The key is a text, such as a ``repr``, and not the thing itself: 0.0 and −0.0 are equal and must not be
    taken for each other.

    Parameters
    ----------
    limit
        Bytes that may be remembered.
    size
        Tells how many bytes a result takes.

    Examples
    --------
    >>> memory = Memory(10, len)
    >>> memory.recall("a", lambda: "computed")
    'computed'
    >>> memory.recall("a", lambda: "computed again")
    'computed'
    >>> memory.recall("b", lambda: "too much"), memory.recall("a", lambda: "forgotten")
    ('too much', 'forgotten')
    """

    def __init__(self, limit: int, size: Callable[[Result], int]) -> None:
        self.limit = limit
        self.size = size
        self.taken = 0
        self.results: OrderedDict[str, Result] = OrderedDict()

    def recall(self, key: str, compute: Callable[[], Result]) -> Result:
        """Return what is remembered under a key, or compute it and remember that."""
        if key in self.results:
            self.results.move_to_end(key)
            return self.results[key]
        result = compute()
        self.results[key] = result
        self.taken += self.size(result)
        while self.taken > self.limit and len(self.results) > 1:
            _, oldest = self.results.popitem(last=False)
            self.taken -= self.size(oldest)
        return result
