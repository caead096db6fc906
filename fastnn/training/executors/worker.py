"""What runs on a worker: one training, from data that this process has been handed once."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fastnn.errors import EXHAUSTED, WorkerFailed
from fastnn.inputs.data import Data
from fastnn.threads.atomic import new_lock
from fastnn.threads.tasks import Stopped
from fastnn.training.executors.bundle import epochs_of, from_bytes, from_folder
from fastnn.training.members import Done, Failure, Member, Setup, train_group
from fastnn.training.progress import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

KEPT_SECONDS = 60.0  # data that no training has used for so long are let go


@dataclass(frozen=True)
class Work:
    """One training as it travels.

    Attributes
    ----------
    token, folder
        Of the bundle.
    version
        Of fastnn.
    number
        Of the training.
    data
        Which of the pairs of the bundle it trains on.
    member
        Without data; its metrics without locks.
    setup
        Without locks.
    done
        As for `fastnn.training.many.train_many`.
    """

    token: str
    folder: str
    version: str
    number: int
    data: int
    member: Member
    setup: Setup
    done: Done[Any]


@dataclass(frozen=True)
class Answer:
    """What comes back.

    Attributes
    ----------
    found
        What `done` returned, or a `Failure`.
    missing
        Whether this process has no data, and could not get them.
    error
        What was raised before the training began.
    where
        The traceback, in the worker, of that or of a failure.
    epochs
        Done.
    worker
        Which process it is; no other has the name.
    """

    found: Any = None
    missing: bool = False
    error: BaseException | None = None
    where: str = ""
    epochs: int = 0
    worker: str = ""


Pair = tuple[Data, Data | None]


@dataclass(eq=False)
class Shared:
    """What all trainings of a call share in one process: data, and locks for what is not theirs.

    `near` is whether it is of the machine that waits, and sees its files; `kept`, whether it stays
    for a while after its last training, and does not end with the call.
    """

    pairs: Sequence[Pair]
    near: bool = True
    kept: bool = True
    process: int = field(default_factory=os.getpid)
    calling: Any = field(default_factory=threading.Lock)
    measuring: Any = field(default_factory=new_lock)
    paces: dict[Any, float] = field(default_factory=dict)
    used: float = field(default_factory=time.monotonic)
    at_work: int = 0


# By number of a process, which another has that is forked from it.
_SHARED: dict[str, Shared] = {}
_SWEEPERS: dict[int, threading.Thread] = {}
_NAMES: dict[int, str] = {}


@contextmanager
def sharing(token: str, pairs: Sequence[Pair]) -> Iterator[None]:
    """Have data for trainings on threads of this process, and on those that it forks, meanwhile."""
    _SHARED[token] = Shared(pairs, kept=False, at_work=1)
    try:
        yield
    finally:
        del _SHARED[token]


def train_there(work: Work | bytes, data: bytes | None) -> Answer:
    """Train one network, with data where it is the first one here that needs them."""
    try:
        if isinstance(work, bytes):
            work = _unpickled(work)
        _check_version(work.version)
        shared = _shared(work, data)
        if shared is None:
            return Answer(missing=True, worker=_name())
        shared.at_work += 1
        try:
            return _trained(work, shared)
        finally:
            shared.at_work -= 1
            shared.used = time.monotonic()
            if shared.kept:
                _let_go_later()
    except Stopped:
        return Answer()  # for which nobody waits
    except Exception as error:
        return Answer(error=_portable(error), where=traceback.format_exc())


def _trained(work: Work, shared: Shared) -> Answer:
    data, validation = shared.pairs[work.data]
    metrics = tuple(replace(each, lock=shared.measuring) for each in work.member.metrics)
    member = replace(work.member, data=data, validation=validation, metrics=metrics)
    setup = replace(work.setup, calling=shared.calling, paces=shared.paces)
    watch = _Reports(work, shared.near)

    where = ""
    (found,) = train_group([work.number], [member], setup, lambda: watch, work.done)
    if isinstance(found, Failure) and found.error is not None:
        where = "".join(traceback.format_exception(found.error))
        found = replace(found, error=_portable(found.error))
    return Answer(found, where=where, epochs=watch.epochs, worker=_name())


class _Reports(Watch):
    """Tells the process that waits how far a training is, and ends it when nobody waits any more.

    Both by a folder, on machines that see it.
    """

    def __init__(self, work: Work, near: bool) -> None:
        super().__init__(self._check)
        self._folder, self._number = work.folder, work.number
        self._epochs: np.ndarray | None = epochs_of(work.folder)
        if near and self._epochs is None:
            raise Stopped
        self._tell()

    def end_epoch(
        self,
        loss: float,
        validation_loss: float | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Take note of an epoch that is done, and tell."""
        super().end_epoch(loss, validation_loss, metrics)
        self._tell()

    def _tell(self) -> None:
        if self._epochs is not None:
            self._epochs[self._number] = 1 + self.epochs

    def _check(self) -> None:
        if self._epochs is not None and not os.path.isdir(self._folder):
            raise Stopped


def _shared(work: Work, data: bytes | None) -> Shared | None:
    """Return what this process has for a call, or gets now; None where it cannot."""
    shared = _SHARED.get(work.token)
    if shared is not None and shared.process == os.getpid():
        return shared
    for token, other in list(_SHARED.items()):
        # Or of the process that this one was forked from, which lets go of its own alone.
        if token != work.token and (not other.at_work or other.process != os.getpid()):
            _SHARED.pop(token, None)
    if shared is not None:  # of that process too, with its locks
        pairs = shared.pairs
    else:
        pairs = from_folder(work.folder) if data is None else from_bytes(data)
    if pairs is None:
        return None
    new = Shared(pairs, near=data is None)
    if shared is not None:
        _SHARED[work.token] = new
    return _SHARED.setdefault(work.token, new)


def _name() -> str:
    return _NAMES.setdefault(os.getpid(), uuid.uuid4().hex)


def _let_go_later() -> None:
    """Let go, in a while, of data that no training uses any more; by one thread of a process."""
    process = os.getpid()
    thread = threading.Thread(target=_sweep, name="fastnn-sweeper", daemon=True)
    if _SWEEPERS.setdefault(process, thread) is thread:
        try:
            thread.start()
        except RuntimeError:  # the interpreter ends, or there are no threads left
            _SWEEPERS.pop(process, None)


def _sweep() -> None:
    process, this = os.getpid(), threading.current_thread()
    while True:
        now, due = time.monotonic(), KEPT_SECONDS
        kept = [pair for pair in list(_SHARED.items()) if pair[1].kept]
        for token, shared in kept:
            left = shared.used + KEPT_SECONDS - now
            if not shared.at_work and left <= 0:
                _SHARED.pop(token, None)
            elif not shared.at_work:
                due = min(due, left)
        if not any(shared.kept for shared in list(_SHARED.values())):
            _SWEEPERS.pop(process, None)
            # What has come since then found this thread, or has one of its own.
            if not any(shared.kept for shared in list(_SHARED.values())):
                return
            if _SWEEPERS.setdefault(process, this) is not this:
                return
        time.sleep(max(due, 0.01))


def _unpickled(work: bytes) -> Work:
    try:
        return pickle.loads(work)
    except EXHAUSTED:
        raise
    except Exception as error:
        raise WorkerFailed(
            f"a worker cannot read what it is to train ({type(error).__name__}: {error}); every "
            "function and class of it must be in a module that the workers can import, and a "
            "script that starts processes have its calls under if __name__ == '__main__':"
        ) from error


def _check_version(version: str) -> None:
    from fastnn import __version__

    if version != __version__:
        raise WorkerFailed(
            f"a worker on {socket.gethostname()} has fastnn {__version__}, but {version} sent it a "
            "training; install the same version everywhere"
        )


def _portable(error: Exception) -> Exception:
    """Return an error, or one that says the same where it cannot travel."""
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    except Exception:
        pass
    return WorkerFailed(f"{type(error).__name__} in a worker: {error}")
