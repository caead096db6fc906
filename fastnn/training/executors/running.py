"""Trainings that are submitted to an executor, waited for, and tried again where workers die."""

from __future__ import annotations

import pickle
import queue
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from fastnn.errors import EXHAUSTED, InvalidInput, WorkerFailed, shown
from fastnn.training.executors.bundle import Bundle
from fastnn.training.executors.worker import Answer, Pair, Work, sharing, train_there
from fastnn.training.members import Done, Failure, Member, Setup, said

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

Found = TypeVar("Found")
Result = TypeVar("Result")

_TICK = 0.1  # seconds between two looks at the progress
_SETTLE = 5.0  # seconds that trainings on this machine have for ending when nobody wants them
_AHEAD, _LEAST_AHEAD = 2, 16  # trainings with the executor, for each worker, and at least
_PATIENCE = 5.0  # seconds at most from one question of a worker whose data are on their way on
_TRIES = 2  # deaths beside others, of which any may be the cause, before a training goes alone
# Errors by which executors say that a worker died, often more than once, with what it did.
_DEATHS = {"KilledWorker", "WorkerCrashedError", "NodeDiedError", "OutOfMemoryError"}


def check_executor(executor: Any, workers: Any = None) -> None:
    """Raise `InvalidInput` for anything but None and what has the methods of an `Executor`.

    Or for a number of `workers` beside one, which has its own.
    """
    if executor is None:
        return
    if callable(getattr(executor, "get_executor", None)):
        raise InvalidInput(
            f"executor is a {type(executor).__name__}, which is none itself; pass "
            "executor=client.get_executor()"
        )
    wanted = ("submit", "shutdown")
    if isinstance(executor, type) or not all(
        callable(getattr(executor, name, None)) for name in wanted
    ):
        raise InvalidInput(
            "executor must be a concurrent.futures.Executor, such as ProcessPoolExecutor(), or "
            f"client.get_executor() of Dask, not {shown(executor):.80}"
        )
    if workers is not None:
        raise InvalidInput(
            f"workers={shown(workers)} is how many threads of this process train, but executor "
            "trains elsewhere, on as many workers as it was made with; leave workers=None"
        )


def train_elsewhere(
    executor: Executor,
    members: Sequence[Member],
    setup: Setup,
    done: Done[Found],
    take: Callable[[int, Found], Result],
    failed: Callable[[int, Failure], Found],
    tick: Callable[[float], None],
) -> list[Result]:
    """Train all members on the workers of an executor; as `fastnn.training.many.train_many`.

    A worker that dies breaks a pool of processes. Then a new one of the same kind goes on with what
    was lost: a training that was at work in two deaths is tried once more with no other beside it,
    and if its worker dies again, it is `failed`. So is one of which another executor tells an error
    twice. Where an executor takes no training, those that it has are waited for before it is asked
    again; where it has none, all that are left are failed.

    Parameters
    ----------
    tick
        Called a few times a second with the number of epochs done by all.

    Raises
    ------
    Exception
        What `failed` raises, or what kept a training from beginning; those not begun are cancelled,
        and those of this machine end. So they do after Ctrl-C.
    WorkerFailed
        The executor cannot run trainings at all.
    """
    pairs: list[Pair] = []
    places = [_place(pairs, member) for member in members]
    bundle = Bundle(pairs, len(members))
    try:
        with sharing(bundle.token, pairs):
            works = [
                _work(bundle, number, place, member, setup, done)
                for number, (place, member) in enumerate(zip(places, members, strict=True))
            ]
            return _Running(executor, bundle, works, take, failed, tick).run()
    finally:
        bundle.close()


def _place(pairs: list[Pair], member: Member) -> int:
    """Return where in `pairs` the data of a member are, which are added where they are not."""
    for place, (data, validation) in enumerate(pairs):
        if data is member.data and validation is member.validation:
            return place
    pairs.append((member.data, member.validation))
    return len(pairs) - 1


def _work(
    bundle: Bundle,
    number: int,
    place: int,
    member: Member,
    setup: Setup,
    done: Done[Any],
) -> Work:
    from fastnn import __version__

    # The target that was chosen here, so that all trainings have the same.
    target: Any = member.model.history.target
    model = replace(member.model, target=target)
    metrics = tuple(replace(each, lock=None) for each in member.metrics)
    nothing: Any = None
    alone = replace(member, model=model, data=nothing, validation=None, metrics=metrics)
    return Work(
        bundle.token, bundle.folder, __version__, number, place, alone,
        replace(setup, calling=None, paces={}), done,
    )  # fmt: skip


class _Running:
    """The trainings of one call, of which some are with the executor."""

    def __init__(
        self,
        executor: Executor,
        bundle: Bundle,
        works: list[Work],
        take: Callable[[int, Any], Any],
        failed: Callable[[int, Failure], Any],
        tick: Callable[[float], None],
    ) -> None:
        self._executor: Any = _Dask(executor) if hasattr(executor, "_client") else executor
        self._own = False  # whether the pool was made here
        self._bundle, self._works, self._tick = bundle, works, tick
        self._take, self._failed = take, failed
        self._waiting = deque(range(len(works)))
        self._alone: deque[int] = deque()  # which are to have no other beside them
        self._flying: dict[Future[Answer], int] = {}
        self._ended: queue.SimpleQueue[Future[Answer]] = queue.SimpleQueue()
        self._told: dict[int, bool] = {}  # whether there was a file when a training was submitted
        # Which workers see no file and are to be sent the data, and by which trainings they are.
        self._owed: deque[str] = deque()
        self._sent: dict[int, str] = {}
        # None else are submitted before then, since each would but ask for data.
        self._held_until, self._pause = 0.0, _TICK
        self._tries = [0] * len(works)
        self._vain = 0  # breaks in a row before any training began
        self._results: dict[int, Any] = {}

    def run(self) -> list[Any]:
        try:
            while self._waiting or self._alone or self._flying:
                self._submit()
                with suppress(queue.Empty):
                    self._take_up(self._ended.get(timeout=_TICK))
                self._tick(float((self._bundle.epochs - 1).clip(0).sum()))
        finally:
            self._end()
        return [self._results[number] for number in range(len(self._works))]

    def _submit(self) -> None:
        """Give the executor trainings, a few for each worker, or one that is to be alone.

        Before any has come back, and workers are known to have data, it is one for each worker.
        """
        if not self._flying and self._alone and not self._waiting:
            self._submit_one(self._alone.popleft())
        workers = _workers(self._executor)
        most = max(_AHEAD * workers, _LEAST_AHEAD) if self._results or not workers else workers
        while self._waiting and (self._owed or len(self._flying) < most):
            if not self._owed and time.monotonic() < self._held_until:
                return
            if not self._submit_one(self._waiting.popleft()):
                return

    def _submit_one(self, number: int) -> bool:
        """Return whether the executor took it."""
        work: Any = self._works[number]
        if type(self._executor).__module__.startswith("concurrent.") and isinstance(
            self._executor, ProcessPoolExecutor
        ):
            # Which a worker that cannot read it would die of.
            try:
                work = pickle.dumps(work)
            except EXHAUSTED:
                raise
            except Exception as error:
                raise self._unsendable(number, error) from error
        data = None
        if self._owed:
            self._sent[number], data = self._owed.popleft(), self._bundle.to_bytes()
        self._told[number] = self._bundle.written
        self._bundle.epochs[number] = 0
        try:
            future = self._executor.submit(train_there, work, data)
        except EXHAUSTED:
            raise
        except Exception as error:
            if data is not None:
                self._owed.appendleft(self._sent.pop(number))
            self._waiting.appendleft(number)
            if isinstance(error, BrokenExecutor) and _has_successor(self._executor):
                self._break(error)
            else:
                self._refuse(number, error)
            return False
        if not callable(getattr(future, "add_done_callback", None)):
            raise WorkerFailed(
                f"the executor's submit returned {shown(future):.80}, which is no Future of "
                "concurrent.futures"
            )
        self._flying[future] = number
        future.add_done_callback(self._ended.put)
        return True

    def _refuse(self, number: int, error: Exception) -> None:
        """Go on with what the executor has, where it takes no more now; then nothing else begins.

        It may be full, and take this training once another one is done. If it has none, all that
        are left are failed.
        """
        reason = self._unsendable(number, error)
        if isinstance(reason, InvalidInput):
            raise reason from error
        if self._flying:
            return
        if not self._results and not self._bundle.epochs.any():
            if isinstance(error, BrokenExecutor):
                reason = _ran_nothing(error)
            elif isinstance(error, RuntimeError):
                reason = WorkerFailed(
                    f"the executor takes no training: {said(error)}; pass one that is not shut down"
                )
            raise reason from error
        self._give_up(error)

    def _give_up(self, error: BaseException, lost: Sequence[int] = ()) -> None:
        """Enter all that are left as failed."""
        for number in (*lost, *self._waiting, *self._alone):
            self._end_one(number, Failure(said(error)))
        self._waiting.clear()
        self._alone.clear()

    def _take_up(self, future: Future[Answer]) -> None:
        """Take what a future has come to."""
        if future not in self._flying:  # it broke, and has been taken note of
            return
        answer, error = _outcome(future)
        if isinstance(error, BrokenExecutor) and _has_successor(self._executor):
            self._break(error)
            return
        number = self._flying.pop(future)
        self._sent.pop(number, None)
        if answer is not None:
            self._enter(number, answer)
        elif error is None:
            raise WorkerFailed("the executor returned nothing for a training")
        elif isinstance(error, CancelledError):
            self._enter(number, Answer(Failure(said(error))))
        elif isinstance(error, Exception) and not isinstance(error, EXHAUSTED):
            self._lose(number, error)
        else:  # Ctrl-C, which was the worker's, too, or no memory
            raise error

    def _lose(self, number: int, error: Exception) -> None:
        """Try a training anew, alone, or enter it as failed, of which an executor tells an error.

        What happens in a worker comes back as an answer; this is a death, or a lost connection.
        """
        died = isinstance(error, BrokenExecutor) or type(error).__name__ in _DEATHS
        reason = self._unsendable(number, error)
        if isinstance(reason, InvalidInput) and not died:
            raise reason from error
        if self._tries[number] < _TRIES:  # one beside it may have been the cause
            self._tries[number] = _TRIES
            self._alone.append(number)
        elif died or self._results:
            self._enter(number, Answer(Failure(said(error))))
        else:
            raise reason from error

    def _enter(self, number: int, answer: Answer) -> None:
        """Take an answer: a result, an error, or a question for data."""
        if answer.missing:
            self._waiting.appendleft(number)
            if not self._told[number] and self._bundle.write():
                return
            if answer.worker not in (*self._owed, *self._sent.values()):
                self._owed.append(answer.worker)
            self._held_until = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _PATIENCE)
            return
        self._held_until, self._pause = 0.0, _TICK
        if answer.error is not None:
            answer.error.add_note(f"In a worker:\n{answer.where}")
            raise answer.error
        if isinstance(answer.found, Failure) and answer.found.error is not None:
            answer.found.error.add_note(f"In a worker:\n{answer.where}")
        self._bundle.epochs[number] = 1 + answer.epochs
        self._vain = 0
        self._end_one(number, answer.found)

    def _end_one(self, number: int, found: Any) -> None:
        """Take what has come of a training."""
        if isinstance(found, Failure):
            found = self._failed(number, found)
        self._results[number] = self._take(number, found)

    def _break(self, error: BaseException) -> None:
        """Go on with another pool where this one is broken, or enter all that is left as failed."""
        alone = len(self._flying) == 1 and not self._waiting
        lost = []
        for future, number in list(self._flying.items()):
            # The pool is broken, so that all are done, but for those that have not begun.
            answer, _ = (None, None) if future.cancel() else _outcome(future)
            if answer is not None and not answer.missing:
                self._enter(number, answer)
            else:
                lost.append(number)
        self._flying.clear()
        self._owed.clear()
        self._sent.clear()
        self._held_until, self._pause = 0.0, _TICK
        begun = [number for number in lost if self._bundle.epochs[number]]
        self._vain = 0 if begun else self._vain + 1
        again = None if self._vain > _TRIES else _another(self._executor)
        if self._own:
            self._executor.shutdown(wait=False)
        if again is None:
            if self._vain > _TRIES or not (begun or self._results):
                raise _ran_nothing(error) from error
            self._give_up(error, lost)
            return
        self._executor, self._own = again
        for number in begun:
            self._tries[number] += 1
        for number in reversed(lost):
            if alone and number in begun and self._tries[number] > _TRIES:
                self._end_one(number, Failure(said(error)))
            elif self._tries[number] >= _TRIES:
                self._alone.append(number)
            else:
                self._waiting.appendleft(number)

    def _unsendable(self, number: int, error: BaseException) -> Exception:
        """Return what to raise where a training could not be sent, or its result."""
        work = self._works[number]
        calls = {f"callbacks[{place}]": each for place, each in enumerate(work.setup.callbacks)}
        measured = {f"the metric {each.name!r}": each for each in work.member.metrics}
        parts = calls | measured | {
            "the class of the trainer": work.setup.kind, "the network, loss or optimizer":
            work.member.model.problem,
        }  # fmt: skip
        for name, part in parts.items():
            try:
                pickle.dumps(part)
            except Exception as reason:
                return InvalidInput(
                    f"{name}, {shown(part):.80}, cannot be pickled ({reason}), as workers in other "
                    "processes need it; make it a function or an object of a class in a module, or "
                    "pass a ThreadPoolExecutor"
                )
        return WorkerFailed(f"the executor could not run a training: {said(error)}")

    def _end(self) -> None:
        """Leave no training at work that nobody wants, as far as that can be."""
        self._bundle.close()  # which those of this machine see
        for future in self._flying:
            with suppress(Exception):  # as where the executor is gone
                future.cancel()
        until = time.monotonic() + _SETTLE
        while time.monotonic() < until and not all(each.done() for each in self._flying):
            time.sleep(_TICK / 10)
        if self._own:
            self._executor.shutdown(wait=True, cancel_futures=True)


class _Dask:
    """Submits to the client of a Dask executor, whose own futures may never be done.

    Those wait for results, and where a worker dies with one, and so does whoever computes it again,
    the error of that is lost on them.
    """

    def __init__(self, executor: Any) -> None:
        self._client, self._options = executor._client, getattr(executor, "_kwargs", {})

    def submit(self, function: Any, *arguments: Any) -> Any:
        return self._client.submit(function, *arguments, **({"pure": False} | self._options))


def _outcome(future: Any) -> tuple[Answer | None, BaseException | None]:
    """Return the answer of a future that is done, or its error."""
    try:
        return future.result(), None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not future.done():
            raise  # it is this thread's
        return None, error


def _workers(executor: Any) -> int:
    """Return how many trainings an executor has at work at a time, or 0 where it does not tell."""
    for name in ("_max_workers", "num_workers"):
        with suppress(Exception):
            return int(getattr(executor, name))
    with suppress(Exception):
        return sum(executor._client.nthreads().values())
    return 0


def _ran_nothing(error: BaseException) -> WorkerFailed:
    return WorkerFailed(
        f"the executor ran no training: {said(error)}. Workers must be able to import fastnn, and "
        "a script that starts processes must have its calls under if __name__ == '__main__':"
    )


def _has_successor(executor: Any) -> bool:
    """Return whether `_another` makes one like it; others may go on, or say that they do not."""
    kind = type(executor)
    loky = sys.modules.get(kind.__module__.rpartition(".")[0])
    return issubclass(kind, ProcessPoolExecutor) or hasattr(loky, "get_reusable_executor")


def _another(executor: Any) -> tuple[Any, bool] | None:
    """Return a pool like one that is broken, and whether it is to be shut down here."""
    kind: Any = type(executor)
    with suppress(AttributeError, KeyError):
        if issubclass(kind, ProcessPoolExecutor):  # or a class of it, whoever wrote that
            return ProcessPoolExecutor(
                executor._max_workers,
                executor._mp_context,
                executor._initializer,
                executor._initargs,
                max_tasks_per_child=executor._max_tasks_per_child,
            ), True
        loky = sys.modules[kind.__module__.rpartition(".")[0]]
        return loky.get_reusable_executor(max_workers=executor._max_workers), False
    return None
