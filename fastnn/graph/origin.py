"""Errors that show the line of the caller's source which they are about."""

from __future__ import annotations

import linecache
import re
import sys
from itertools import islice
from pathlib import Path
from types import FrameType, TracebackType

import numpy as np

from fastnn.errors import InvalidInput

# Frames in here are on the way between the caller's line and the error.
_PACKAGE = Path(__file__).parent.parent
_INSIDE = (
    str(_PACKAGE / "graph"),
    *(str(_PACKAGE / name) for name in ("layers.py", "network.py", "normalization.py")),
    *(str(_PACKAGE / name) for name in ("arguments.py", "inputs/problem.py")),
    *(str(_PACKAGE / name) for name in ("interchange", "training")),
    str(Path(np.__file__).parent),
    "<__array_function__",
)

# What is known elsewhere by another name, and what to write here.
_INSTEAD = {
    "max": "maximum(a, b), or max(v) for a vector v,",
    "fmax": "maximum(a, b)",
    "amax": "maximum(a, b)",
    "min": "minimum(a, b), or min(v) for a vector v,",
    "fmin": "minimum(a, b)",
    "amin": "minimum(a, b)",
    "fabs": "abs(x)",
    "heaviside": "step(x)",
    "select": "where(condition, a, b)",
    "piecewise": "where(condition, a, b)",
    "tan": "sin(x)/cos(x)",
    "sinh": "(exp(x) - exp(-x))/2",
    "cosh": "(exp(x) + exp(-x))/2",
    "log2": "log(x)/log(2)",
    "log10": "log(x)/log(10)",
    "exp2": "2**x",
    "pow": "x**n",
    "cbrt": "sign(x)*abs(x)**(1/3)",
}
# What there is of arrays, but not of the one number that an argument stands for.
_OF_ARRAYS = frozenset(
    "all any argmax argmin array axis cumsum dot dtype item len mean median ndim norm prod reshape "
    "shape size softmax std sum T tolist var".split()
)
ONE_NUMBER = (
    "each argument of the function stands for one number, not an array: give it one argument for "
    "each number, as in lambda x, y: x**2 + y**2"
)
VECTORS = (
    "what there is of a vector v is v[0], v[1:3], len(v), + - * / **, and of fastnn.graph sum(v), "
    "mean(v), max(v), min(v), logsumexp(v), softmax(v), log_softmax(v)"
)
# What traces a function that it is given.
_TRACERS = ("trace", "minimize", "Dense", "Problem", "Trainer")
FUNCTIONS = (
    "abs cos erf exp expm1 log log1p maximum minimum sigmoid sign sin softplus sqrt step tanh where"
).split()
_INSTEAD.update((name, name) for name in FUNCTIONS)


class Place:
    """A line of the caller's source, and the part of it that was running."""

    file: str
    line: int
    text: str
    part: str
    _column: int

    def __init__(self, frame: FrameType, lasti: int, line: int) -> None:
        self.file, self.line = frame.f_code.co_filename, line
        self.text = linecache.getline(self.file, line, frame.f_globals).rstrip()
        self.part = ""
        self._column = 0
        span = next(islice(frame.f_code.co_positions(), lasti // 2, None), None)
        if self.text and span and None not in span and span[0] == line:
            _, last, start, stop = span
            encoded = self.text.encode()  # columns count bytes
            stop = stop if last == line else None
            self.part = encoded[start:stop].decode(errors="replace")
            self._column = len(encoded[:start].decode(errors="replace"))

    def __str__(self) -> str:
        """Show file, line and text, the part in question underlined."""
        head = f'\n  file "{self.file}", line {self.line}'
        if not self.text:
            return f"{head} (its source is not at hand)"
        stripped = self.text.lstrip()
        mark = ""
        if self.part:
            indent = self._column - (len(self.text) - len(stripped))
            mark = f"\n    {' ' * indent}{'^' * len(self.part)}"
        return f"{head}\n    {stripped}{mark}"

    def called(self) -> str:
        """Return the name of the function called there, without its module, or ""."""
        match = re.match(r"(?:\w+\.)*(\w+)\s*\(", self.part)
        if match and not _closes_at_end(self.part, match.end()):
            return ""  # a part of what runs, such as of abs(z) > 1
        # A function in C that is traced itself has no line of its own.
        return match[1] if match and match[1] not in _TRACERS else ""


def _closes_at_end(text: str, start: int) -> bool:
    """Return whether the bracket that opened before `start` is closed by the last character."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if not depth:
            return place == len(text) - 1
    return True  # one that goes on in the next line


def _inside(frame: FrameType) -> bool:
    code = frame.f_code
    # The constructors of dataclasses, which Python generates.
    generated = code.co_filename == "<string>" and code.co_name == "__init__"
    return generated or code.co_filename.startswith(_INSIDE)


def calling_place() -> Place | None:
    """Return the line outside of fastnn and NumPy that is running now."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _inside(frame):
        frame = frame.f_back
    return Place(frame, frame.f_lasti, frame.f_lineno) if frame is not None else None


def raising_place(traceback: TracebackType | None) -> Place | None:
    """Return the innermost line outside of fastnn and NumPy through which an exception came."""
    found = None
    while traceback is not None:
        if not _inside(traceback.tb_frame):
            found = Place(traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def substitute(name: str) -> str:
    """Return what to write instead of a function of this name."""
    if name in _OF_ARRAYS:
        return ONE_NUMBER
    if name in _INSTEAD:
        return f"use {_INSTEAD[name]} of fastnn.graph"
    return f"use + - * / ** and the functions of fastnn.graph: {', '.join(FUNCTIONS)}"


def cannot_trace(problem: str, remedy: str, place: Place | None) -> InvalidInput:
    """Return the error that says what cannot be in a graph, where it stands and what can."""
    return InvalidInput(f"{problem}; {remedy}{place or ''}")


def branched(shown: str, place: Place | None) -> InvalidInput:
    """Return the error for a branch on `shown`, which has no value yet."""
    name = place.called() if place else ""
    if name in _INSTEAD:
        remedy = substitute(name)
    else:
        remedy = (
            "use where(condition, a, b) of fastnn.graph, with & and | and ~ in place of "
            "and, or and not"
        )
    return cannot_trace(f"a branch cannot depend on {shown}, which has no value yet", remedy, place)


def no_condition(shown: str, place: Place | None) -> InvalidInput:
    """Return the error for `shown` in place of a condition."""
    problem = f"a condition must be a comparison, such as z > 0, not {shown}"
    return cannot_trace(problem, "say which numbers count as true", place)


def needs_number(shown: str, place: Place | None) -> InvalidInput:
    """Return the error for a function that wants `shown` as a number."""
    name = place.called() if place else ""
    what = f"{name}() needs a number" if name else "a number is needed"
    return cannot_trace(f"{what}, but {shown} has no value yet", substitute(name), place)
