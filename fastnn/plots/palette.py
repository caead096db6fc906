"""Colours and markers that stay apart for colour-blind readers too, and in grey."""

from __future__ import annotations

# Okabe & Ito 2008, "Color Universal Design"; black, which is for outlines, is left out.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")


def colour(index: int) -> str:
    """Return the colour of a curve or a class; beyond the last they begin anew."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Return the marker of a class; classes that share a colour have different ones."""
    return MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]
