"""A CUDA device in NumPy: executes PTX, each instruction at once for thousands of threads.

`driver` has the names of ``pycuda.driver`` that Gaugeblock calls; `Fault` is what a kernel did wrong; `settings`
changes the order of execution and the checks; `counting` counts what kernels do.
"""

from . import driver
from .counters import Counters, counting
from .errors import Fault
from .vm.approximate import perturbed
from .vm.settings import Settings, settings

__all__ = ["Counters", "Fault", "Settings", "counting", "driver", "perturbed", "settings"]
