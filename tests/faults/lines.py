"""Ctrl-C before every single line of what replaces a trainer's state: it is whole, old or new."""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable
from typing import Any

from fault_table import Count, in_child, part
from small import LABELS, X, bits, trainer_of

import fastnn
from fastnn import EarlyStopping, Trainer

FOLDER = fastnn.__path__[0]
CHANGES = "restore", "set_parameters", "a first fit", "fit", "the way back of EarlyStopping"


def interrupted_at(line: int, call: Callable[[], Any]) -> bool:
    """Call, with KeyboardInterrupt before line number `line` of fastnn; return whether it came."""
    left, came = line, False

    def before_line(frame: Any, event: str, argument: Any) -> Any:
        nonlocal left, came
        if not frame.f_code.co_filename.startswith(FOLDER):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                came = True
                raise KeyboardInterrupt
        return before_line

    previous = sys.gettrace()
    sys.settrace(before_line)
    try:
        call()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(previous)
    return came


def change_of(name: str) -> Callable[[Trainer, Trainer], Any]:
    """Return what changes a trainer, with an older copy of it at hand."""
    few = X[:200], LABELS[:200]
    if name == "restore":
        return lambda own, earlier: own.restore(earlier)
    if name == "set_parameters":
        return lambda own, earlier: own.set_parameters(earlier.parameters)
    if name in ("fit", "a first fit"):
        return lambda own, earlier: own.fit(*few, epochs=2)
    # Nothing is ever better than the first epoch, so the second goes back to it.
    return lambda own, earlier: own.fit(*few, epochs=3, callbacks=EarlyStopping(0, "loss", 1e3))


def every_line(name: str, threads: int, first: int, step: int) -> Any:
    """Interrupt a change before line number `first` of it, and every `step` lines from there."""
    earlier = trainer_of("deep", threads)
    earlier.fit(X, LABELS, epochs=1)
    start = copy.copy(earlier)
    start.fit(X, LABELS, epochs=2)
    change, allowed = change_of(name), [bits(start)]
    whole = copy.copy(start)
    whole.fit(X[:200], LABELS[:200], 3, callbacks=lambda own, _: allowed.append(bits(own)))
    whole = copy.copy(start)
    change(whole, earlier)
    allowed.append(bits(whole))
    tries, broken = 0, []
    for line in itertools.count(first, step):
        own = copy.copy(start)
        if name != "a first fit":
            own.forward(X[:5])  # which makes its engine, and writes the state into its memory
        if not interrupted_at(line, lambda own=own: change(own, earlier)):
            return tries, broken
        tries += 1
        if bits(own) not in allowed:
            broken.append(f"{name}, {threads} threads, line {line}: a mixed state")
            continue
        other = copy.copy(own)  # a copy has but what the state says
        if own.forward(X).tobytes() != other.forward(X).tobytes():
            broken.append(f"{name}, {threads} threads, line {line}: outputs of another state")
        own.fit(X, LABELS, epochs=1)
        other.fit(X, LABELS, epochs=1)
        if bits(own) != bits(other):
            broken.append(f"{name}, {threads} threads, line {line}: trains on from another state")


def every_change(threads: int, step: int) -> Any:
    """Interrupt every change of a trainer, of so many threads, before every few of its lines."""
    tries, broken = 0, []
    for name in CHANGES:
        own, wrong = every_line(name, threads, 1, step)
        tries, broken = tries + own, broken + wrong
    return tries, broken


@part("Ctrl-C before lines of a change, every n-th", 43, 1)
def _every_line(step: int) -> Count:
    count = Count()
    for threads in (1, 2):
        in_child(count, every_change, threads, step, seconds=1000)
    return count
