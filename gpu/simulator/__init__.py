"""A CUDA device in NumPy: executes PTX, each instruction at once for thousands of threads.

`driver` has the names of ``pycuda.driver`` that Gaugeblock calls; `Fault` is what a kernel did wrong,
`Unsupported` what it reached that the device does not know;
`settings` changes the order of execution and the checks; `notes` are what may be wrong and is no fault;
`counting` counts what kernels do, `Launches` each launch apart.
"""

from gaugeblock.gpu.simulator import driver
from gaugeblock.gpu.simulator.errors import Fault, Unsupported
from gaugeblock.gpu.simulator.machine.counters import Counters, Launch, Launches
from gaugeblock.gpu.simulator.machine.settings import Settings, counting, notes, settings
from gaugeblock.gpu.simulator.numbers.approximate import perturbed

__all__ = [
    "Counters",
    "Fault",
    "Launch",
    "Launches",
    "Settings",
    "Unsupported",
    "counting",
    "driver",
    "notes",
    "perturbed",
    "settings",
]
