"""``gaugeblock show``: concepts on real data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gaugeblock.conformance.commands.options import (
    CONFORMING,
    Commands,
    UsageError,
    make_folder,
    one_of,
)
from gaugeblock.conformance.console import Output, show_demonstration, steps
from gaugeblock.spec import demonstrations


def add(commands: Commands) -> None:
    """Add the command."""
    concepts = commands.add_parser("show", help="demonstrate a concept", description=show_concepts.__doc__)
    concepts.add_argument(
        "concept", nargs="*", metavar="CONCEPT", help="such as convolution; none lists them all"
    )
    concepts.add_argument(
        "--output",
        type=Path,
        default=Path("gaugeblock-show"),
        metavar="DIR",
        help="folder for the pictures, made if it is not there (default: %(default)s)",
    )
    concepts.add_argument(
        "--format",
        default="svg",
        choices=demonstrations.FORMATS,
        help="of the pictures (default: %(default)s)",
    )
    concepts.add_argument(
        "--on",
        choices=("reference", "gpu"),
        default="reference",
        help="gpu: let the convolutional network learn on our kernels (default: %(default)s)",
    )
    concepts.set_defaults(run=show_concepts)


def show_concepts(options: argparse.Namespace) -> int:
    """Measure what there is to show about concepts, print it and draw pictures; or list the concepts."""
    console = Output()
    if not options.concept:
        for name in demonstrations.CONCEPTS:
            console.print(f"{name:<22} {demonstrations.title(name)}", markup=False)
    # All names are read before the first concept, which may take a minute.
    names = [one_of(concept, demonstrations.CONCEPTS, "concept") for concept in options.concept]
    if options.on == "gpu" and names != ["convolutional_network"]:
        raise UsageError("--on gpu is for convolutional_network, and for it alone")
    if names:
        make_folder(options.output, "--output")
    for name in names:
        with steps(console, name) as progress:
            shown = _demonstrated(name, options.on, progress)
            paths = _write_pictures(shown.pictures, options.output, f"{name}-", options.format)
        show_demonstration(console, shown, paths)
    return CONFORMING


def _demonstrated(concept: str, on: str, progress: demonstrations.Progress) -> demonstrations.Demonstration:
    """Measure what there is to show about a concept, on the reference or on our kernels."""
    if on == "gpu":
        from gaugeblock.conformance import training

        return training.demonstrate(progress)
    return demonstrations.demonstrate(concept, progress)


def _write_pictures(
    pictures: Sequence[demonstrations.Picture], folder: Path, prefix: str, format: str
) -> list[Path]:
    """Draw pictures into a folder and return where they are."""
    paths = [folder / f"{prefix}{picture.name}.{format}" for picture in pictures]
    try:
        for picture, path in zip(pictures, paths, strict=True):
            demonstrations.write(picture, path)
    except OSError as error:
        raise UsageError(f"--output: {error}") from error
    return paths
