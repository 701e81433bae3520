"""The version of the spec, and how to cite it."""

from typing import Final

__all__ = ["DATE", "VERSION", "bibtex", "cite"]

#: The version of the spec, MAJOR.MINOR: an addition is minor, a changed requirement is major.
VERSION: Final = "0.2"

#: The day of this version, which every file of the rendered document bears.
DATE: Final = "2026-11-30"

_TITLE = (
    "Gaugeblock: an executable spec of deep learning's core operations, "
    "and a conformance suite for GPU kernels"
)


def cite(clause: str) -> str:
    """Return the line that cites a clause.

    Examples
    --------
    >>> cite("GEMM-S1")
    'Gaugeblock spec 0.2, GEMM-S1'
    """
    return f"Gaugeblock spec {VERSION}, {clause}"


def bibtex() -> str:
    """Return the BibTeX entry of this version; the facts are those of CITATION.cff.

    Examples
    --------
    >>> print(bibtex().splitlines()[0])
    @techreport{gaugeblock-spec-0.2,
    """
    year, month, _ = DATE.split("-")
    fields = {
        "author": "{The Gaugeblock authors}",
        "title": f"{{{_TITLE}}}",
        "type": "Specification",
        "number": f"version {VERSION}",
        "institution": "Gaugeblock",
        "year": year,
        "month": str(int(month)),
        "note": "Text under CC BY 4.0, code under MIT",
    }
    lines = (f"  {name:<11} = {{{value}}}," for name, value in fields.items())
    return "\n".join((f"@techreport{{gaugeblock-spec-{VERSION},", *lines, "}"))
