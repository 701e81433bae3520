"""``gaugeblock simulate``, ``profile`` and ``devices``: kernels on whatever device there is."""

from __future__ import annotations

import argparse
from pathlib import Path

from gaugeblock.conformance import profiling, simulating
from gaugeblock.conformance.commands.options import (
    CONFORMING,
    Commands,
    UsageError,
    add_call_options,
    asked_calls,
    expect_writable,
    gpu_of,
    to_seed,
)
from gaugeblock.conformance.console import Output
from gaugeblock.conformance.reports import files, profile
from gaugeblock.gpu.runtime.roofline import GPUS
from gaugeblock.spec import demonstrations


def add(commands: Commands) -> None:
    """Add the commands."""
    simulate = commands.add_parser(
        "simulate",
        help="run a Python program on the simulated device",
        description=f"{simulate_program.__doc__} The exit code is the program's, 2 if there is none.",
    )
    simulate.add_argument(
        "--order",
        default="lockstep",
        choices=("lockstep", "warps", "lanes"),
        help="of threads: all together (fast), or warps or threads in a random order (default: %(default)s)",
    )
    simulate.add_argument(
        "--seed", type=to_seed, default=0, help="of the random order (default: %(default)s)"
    )
    simulate.add_argument("program", metavar="PROGRAM.py")
    simulate.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="those of the program")
    simulate.set_defaults(run=simulate_program)

    counted = commands.add_parser(
        "profile",
        help="count what kernels do, and predict their time on a GPU",
        description=f"{profile_kernels.__doc__} {profile.MODEL} The exit code is a program's, 2 if there is "
        "nothing to profile.",
    )
    _profile_options(counted)
    counted.add_argument("target", metavar="PROGRAM.py | BACKEND", help="as for simulate, or for conform")
    counted.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="those of the program")
    counted.set_defaults(run=profile_kernels)

    devices = commands.add_parser(
        "devices", help="say what the kernels would run on", description=show_devices.__doc__
    )
    devices.set_defaults(run=show_devices)


def simulate_program(options: argparse.Namespace) -> int:
    """Run a program of PyCUDA, CuPy, Triton or numba as it is, its kernels on the simulated device."""
    return simulating.run(options.program, options.arguments, options.order, options.seed)


def profile_kernels(options: argparse.Namespace) -> int:
    """Count what kernels do on the simulated device, by kernel and launch, and predict their time on a GPU.

    A Python file is a program unless --operation stands before it; all else is a backend.
    """
    program = options.target.endswith(".py") and not options.operation
    if not program and options.arguments:
        behind = argparse.ArgumentParser(prog=f"gaugeblock profile {options.target}")
        _profile_options(behind)
        options = behind.parse_args(options.arguments, options)
    gpu = gpu_of(options.gpu)
    expect_writable(json=options.json, picture=options.picture)
    ended: int | SystemExit = CONFORMING
    if program:
        launches, ended = profiling.program_launches(options.target, options.arguments)
    else:
        launches = profiling.backend_launches(options.target, *asked_calls(options))
    if launches:
        found = profile.profile(launches, gpu)
        profile.show(Output(), found)
        if options.json is not None:
            files.write(options.json, files.as_json(found.as_data()))
        if options.picture is not None:
            demonstrations.write(profile.picture(found), options.picture)
    if isinstance(ended, SystemExit):
        raise ended
    return ended


def _profile_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``profile``, which stand before a program, and on either side of a backend."""
    parser.add_argument(
        "--gpu", default="H100", metavar="NAME", help=f"{', '.join(GPUS)} (default: %(default)s)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE.json", help="write all counters, of each launch too"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="draw the roofline")
    add_call_options(parser, "call")


def show_devices(options: argparse.Namespace) -> int:
    """Say which device the kernels of ``gaugeblock.gpu`` would run on, and why."""
    from gaugeblock.gpu.runtime.compiler import CompilerUnavailable
    from gaugeblock.gpu.runtime.device import DeviceUnavailable, device

    try:
        found = device()
    except (DeviceUnavailable, CompilerUnavailable) as error:
        raise UsageError(str(error)) from error
    capability = ".".join(str(number) for number in found.compute_capability)
    lines = [f"kernels run on: {found.name}, compute capability {capability}"]
    if found.simulated:
        lines.append(f"no GPU is used: {found.reason}")
    lines += [f"{name} {version}" for name, version in found.versions.items()]
    Output().print("\n".join(lines), markup=False, soft_wrap=True)
    return CONFORMING
