"""Questions about all lanes at once.

NumPy's reductions take longer to begin than to look at a block's lanes; bytes are searched at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEW = 1 << 12
"""Numbers for which beginning costs more than looking."""


def every(mask: NDArray[np.bool_]) -> bool:
    """Say whether a boolean array is true everywhere."""
    return b"\0" not in mask.tobytes()


def some(mask: NDArray[np.bool_]) -> bool:
    """Say whether a boolean array is true anywhere."""
    return b"\1" in mask.tobytes()
