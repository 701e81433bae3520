"""The layers that a slow device is given take every way through our kernels that any layer takes."""

import sys
from pathlib import Path

import pytest

from gaugeblock.conformance.problems import layers
from gaugeblock.gpu.runtime.device import device
from gaugeblock.spec.operations import OPERATIONS

sys.path.insert(0, str(Path(__file__).parent))
from dispatches import Dispatch, dispatches

if not device().simulated:
    pytest.skip("which kernels are chosen depends on the device", allow_module_level=True)


def launched(operation: str, calls: tuple[layers.LayerCall, ...]) -> set[tuple[str, Dispatch]]:
    """Return what calls launch in all formats."""
    formats = OPERATIONS[operation].dtypes
    return {(dtype, each) for dtype in formats for call in calls for each in dispatches(call, dtype)}


@pytest.mark.one_of(3)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_few_layers_launch_all_that_all_layers_launch(operation: str) -> None:
    chosen = launched(operation, layers.covering_calls(operation))
    for size in (layers.TRUE, *layers.SIZES):
        assert launched(operation, layers.calls_of(operation, size)) <= chosen, size


def test_a_dispatch_tells_tiles_passes_and_ways_of_copying_apart() -> None:
    calls = layers.calls_of("conv", layers.TRUE)
    known = {each for call in calls for each in dispatches(call, "float16")}
    tiles = {dict(defines)["TILE"] for _, entry, defines, *_ in known if "TILE" in dict(defines)}  # type: ignore[call-overload]
    assert tiles == {32, 64, 128}
    assert len({entry for _, entry, *_ in known}) >= 3
