"""What is shown is measured in the tests as it is for a user: matrices are multiplied in one thread."""

from collections.abc import Iterator

import pytest

from gaugeblock.spec.demonstrations import _one_thread


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Limit the threads of NumPy's matrix products."""
    with _one_thread():
        yield
