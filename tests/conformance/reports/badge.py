"""A report as a badge: a small picture (SVG) of the highest level at which the whole conforms."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from gaugeblock.conformance.reports.data import LEVELS, whole

COLOURS = {"conforms": "#1a6b34", "partial": "#7a5a00", "violating": "#b3261e"}
"""White letters on each, and on the grey of all others, have a contrast of at least 4.5."""

WIDTHS = {**dict.fromkeys("il", 3.0), **dict.fromkeys("tfr· ", 4.3)}
"""Widths of the letters that are narrower than others, at 11 pixels; ``textLength`` fits them in any font."""

WIDTH = 6.7


def words(data: dict[str, Any]) -> str:
    """Return what a badge says of a report: ``conforms · robust``, ``violating``, ``incomplete``."""
    if not data["complete"]:
        return "incomplete"
    held = [level for level in LEVELS if whole(data, level) == "conforming"]
    return f"conforms · {held[-1]}" if held else whole(data, LEVELS[0])


def build(data: dict[str, Any]) -> str:
    """Return a badge as SVG.

    Parameters
    ----------
    data
        The report (JSON format 2).
    """
    name, verdict = "gaugeblock", escape(words(data))
    left, right = (round(sum(WIDTHS.get(letter, WIDTH) for letter in text)) + 14 for text in (name, verdict))
    colour = COLOURS.get(verdict.partition(" ")[0], "#555c64")
    texts = "".join(
        f'<text x="{middle:g}" y="14" textLength="{width - 14}">{text}</text>'
        for text, middle, width in ((name, left / 2, left), (verdict, left + right / 2, right))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{name}: {verdict}">\n'
        f"<title>{name}: {verdict}</title>\n"
        f'<clipPath id="r"><rect width="{left + right}" height="20" rx="3"/></clipPath>\n'
        f'<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#3a4149"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>\n'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"{texts}</g>\n</svg>\n"
    )
