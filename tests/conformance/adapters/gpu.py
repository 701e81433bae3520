"""Our own CUDA kernels: on a GPU where there is one, on the simulated device otherwise."""

from gaugeblock import gpu
from gaugeblock.gpu.runtime.device import device as _current

arrays = "cuda"
arithmetic = gpu.arithmetic
device = _current().name
versions = _current().versions
simulated = _current().simulated
notes = (f"no GPU ({_current().reason}): using the simulated device",) if simulated else ()

globals().update({name: getattr(gpu, name) for name in gpu.__all__})
