"""Changes that nothing finds half made: no signal, no other thread, and no forked child.

Python raises KeyboardInterrupt between two instructions of the main thread, wherever that is. What
must be whole is therefore one assignment, or one call of a C function, which Python does not
interrupt.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from operator import call
from typing import Any

_locks: weakref.WeakSet[Any] = weakref.WeakSet()
_turns: weakref.WeakSet[Turn] = weakref.WeakSet()


def at_once(steps: Iterable[Callable[[], None]]) -> None:
    """Call functions of C one after another, as one call of C.

    Parameters
    ----------
    steps
        `functools.partial` objects of functions that are written in C and return None, such as
        ``partial(values.append, 1)``.
    """
    any(map(call, steps))  # each gives None, so all are called


def new_lock() -> Any:
    """Return a lock for ``with``, free in a forked child whichever thread of the parent had it.

    A thread that has it already gets it again: whatever broke off there, this thread goes on.
    ``with`` takes and frees it in C, so that Ctrl-C cannot leave it taken.
    """
    lock = threading.RLock()
    _locks.add(lock)
    return lock


class Turn:
    """Something that one call at a time may do, and that no other waits for.

    Ask whether it is `taken`; then ``with turn.lock:``, and `enter` it.
    """

    def __init__(self) -> None:
        self.lock: Any = threading.Lock()
        self._thread = 0
        _turns.add(self)

    @property
    def taken(self) -> bool:
        """Whether a call is at it, be it one that this call is made in."""
        return self.lock.locked()

    def enter(self) -> None:
        """Take note of the thread that has it, in case that it forks."""
        self._thread = threading.get_ident()

    def _free_in_child(self) -> None:
        if self._thread != threading.get_ident():
            self.lock._at_fork_reinit()


def _free_in_child() -> None:
    # The thread that forked goes on in the child, with what it has; all others are gone.
    for lock in list(_locks):
        if not lock._is_owned():
            lock._at_fork_reinit()
    for turn in list(_turns):
        turn._free_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_in_child)
