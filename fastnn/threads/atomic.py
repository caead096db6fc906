"""Changes that nothing finds half made: no signal, no other thread, and no forked child.

Python raises KeyboardInterrupt between two instructions of the main thread, wherever that is. What
must be whole is therefore one assignment, or one call of a C function, which Python does not
interrupt.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from operator import call
from types import CodeType, FrameType
from typing import Any, NamedTuple

_locks: set[weakref.ref[Any]] = set()


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
    # A WeakSet would forget it in Python, where Ctrl-C is lost: it does not leave a callback.
    _locks.add(weakref.ref(lock, _locks.discard))
    return lock


class _Call(NamedTuple):
    """A call of a function, as long as it is under way."""

    thread: int
    code: CodeType
    token: object


class Turn:
    """Something that one call at a time may do, and that no other waits for.

    A call has it until it gives it back, or is over: one that was interrupted before it could do
    so, or whose thread a forked child does not have, is in nobody's way.
    """

    def __init__(self) -> None:
        self._call: dict[str, _Call] = {}  # under one key

    def take(self, token: object) -> bool:
        """Give the function that calls this the turn; return whether it was free.

        The call is known by `token`, an object of its own that it has in a local variable: the
        address of its frame may be that of another one's later, and the frame itself, if it were
        kept, would keep all that the call works on.
        """
        mine = _Call(threading.get_ident(), sys._getframe(1).f_code, token)
        there = self._call.setdefault("call", mine)
        if there != mine and _under_way(there):
            return False
        self._call["call"] = mine
        return True

    def give_back(self) -> None:
        """Let the next call have it."""
        self._call.clear()


def _under_way(call: _Call) -> bool:
    """Return whether the call is one of those that its thread is in."""
    frame = sys._current_frames().get(call.thread)
    while frame is not None and not _is_frame_of(call, frame):
        frame = frame.f_back
    return frame is not None


def _is_frame_of(call: _Call, frame: FrameType) -> bool:
    if frame.f_code is not call.code:
        return False
    return any(value is call.token for value in frame.f_locals.values())


def _free_in_child() -> None:
    # The thread that forked goes on in the child, with what it has; all others are gone.
    for reference in list(_locks):
        lock = reference()
        if lock is not None and not lock._is_owned():
            lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_in_child)
