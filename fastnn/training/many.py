"""Many networks trained side by side: each does what `fit` does, on a core or a block of a device.

`fit` trains one; its restarts and sweeps are many that differ in seeds and settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fastnn.targets.selection import choose, is_cuda, numbered, parse
from fastnn.threads.tasks import run_tasks
from fastnn.training.callbacks import Callback
from fastnn.training.executors import train_elsewhere
from fastnn.training.members import Done, Failure, Member, Setup, train_group
from fastnn.training.progress import Progress, Watch

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from fastnn.training.trainer_state import Stateful

Found = TypeVar("Found")
Result = TypeVar("Result")

MOST_TOGETHER = 1024  # networks in a launch: those of several rounds, all of which are in memory


def on_targets(members: Sequence[Member], executor: Executor | None) -> list[Member]:
    """Return the members with the target that each trains on; their histories say why.

    Many that a device could train in one launch may be worth it where one alone is not. Those that
    an executor trains are alone.
    """
    kinds = [_kind(member) for member in members]
    counts = Counter(kinds)
    chosen = []
    for member, kind in zip(members, kinds, strict=True):
        model, count = member.model, 1 if executor is not None else counts[kind]
        target, reason = choose(model.target, model.problem, count)
        model.history.target, model.history.reason = target, reason
        chosen.append(replace(member, model=replace(model, target=target)))
    return chosen


def _kind(member: Member) -> Hashable:
    """Return what members have in common that one launch could train; of sparse rows none could."""
    model, problem = member.model, member.model.problem
    given = [data for data in (member.data, member.validation) if data is not None]
    if not all(isinstance(data.X, np.ndarray) for data in given):
        return id(member)
    settings = problem.loss, problem.batch_size, problem.dtype, problem.precision, model.target
    return id(member.data), model.shuffle, problem.network, problem.optimizer.rule, *settings


def compiled_for(members: Sequence[Member], workers: int, kind: type[Stateful]) -> int:
    """Compile for members that have targets, once for all that need the same.

    Returns how many may train at a time: so many workers, but one on the NumPy target.
    """
    kinds = {}
    for member in members:
        problem, target = member.model.problem, member.model.target
        workers = 1 if target == "numpy" else workers
        kinds[problem.network, problem.dtype, problem.precision, target] = member
    for member in kinds.values():
        member.compile(kind)
    return workers


def train_many(
    members: Sequence[Member],
    epochs: int,
    callbacks: tuple[Callback, ...],
    workers: int,
    done: Done[Found],
    take: Callable[[int, Found], Result],
    kind: type[Stateful],
    name: str,
    failed: Callable[[int, Failure], Found],
    progress_bar: bool = True,
    executor: Executor | None = None,
) -> list[Result]:
    """Train every member as if alone, and return what `take` has made of each, in their order.

    Those that need the same code are trained in one launch of a device where that is quicker; all
    others, and all that an executor has, as one task each.

    Parameters
    ----------
    members
        At least one.
    epochs
        Of each; one that a callback ends, or that diverges, makes room for the next.
    callbacks
        Checked; those of fastnn that keep state are every member's own, and all others are called
        from several threads, but once at a time.
    workers
        How many tasks at a time, each on one thread; an executor has its own number.
    done
        Called where a training was, in any order and from several threads; the trainer lives no
        longer, unless that keeps it with `at_rest`. With an executor it travels, and what it
        returns.
    take
        Called here with the number and what `done` returned, in any order and from several threads.
    kind
        The class of the trainers.
    name
        What the progress bar calls them.
    failed
        Called as `take`, for a member that an error other than divergence ended, or whose worker
        died; returns what `done` would have, or raises, which ends all.
    progress_bar
        Whether there is to be one.
    executor
        Trains them on its workers; None: threads of this process.
    """
    rows = len(members[0].data)
    progress = Progress(len(members) * epochs, 1, rows, rows, wanted=progress_bar)
    setup = Setup(epochs, callbacks, kind)
    try:
        if executor is not None:
            return train_elsewhere(
                executor, members, setup, done, take, failed,
                lambda epochs_done: progress.show(name, epochs_done),
            )  # fmt: skip
        return _on_threads(members, setup, workers, done, take, failed, name, progress)
    finally:
        progress.close()


def _on_threads(
    members: Sequence[Member],
    setup: Setup,
    workers: int,
    done: Done[Found],
    take: Callable[[int, Found], Result],
    failed: Callable[[int, Failure], Found],
    name: str,
    progress: Progress,
) -> list[Result]:
    """Train all members on threads of this process; as `train_many`."""
    members = [_numbered(member) for member in members]
    groups = _groups(members)
    watches: list[Watch] = []

    def train(number: int, check: Callable[[], None]) -> list[Result]:
        def new_watch() -> Watch:
            watches.append(Watch(check))
            return watches[-1]

        numbers = groups[number]
        ends = train_group(numbers, [members[index] for index in numbers], setup, new_watch, done)
        return [
            take(index, failed(index, end) if isinstance(end, Failure) else end)
            for index, end in zip(numbers, ends, strict=True)
        ]

    def tick() -> None:
        progress.show(name, sum(watch.epochs for watch in watches))

    found = run_tasks(train, len(groups), workers, tick)
    tick()  # what the last ones did since it was drawn
    places = [index for group in groups for index in group]
    in_groups = [result for results in found for result in results]
    return [result for _, result in sorted(zip(places, in_groups, strict=True), key=itemgetter(0))]


def _numbered(member: Member) -> Member:
    """Return a member whose target is the same in every thread: that of the caller's device."""
    model = member.model
    target = numbered(model.history.target)
    if target == model.history.target:
        return member
    model.history.target = target
    return replace(member, model=replace(model, target=target))


def _groups(members: Sequence[Member]) -> list[list[int]]:
    """Return the numbers of the members, those together that one launch of a device trains."""
    groups: list[list[int]] = []
    on_device: list[list[int]] = []
    for index, member in enumerate(members):
        if not is_cuda(member.model.history.target):
            groups.append([index])
            continue
        alike = (group for group in on_device if _alike(members[group[0]], member))
        if (group := next(alike, None)) is None:
            on_device.append(group := [])
        group.append(index)
    for group in on_device:
        for first in range(0, len(group), MOST_TOGETHER):
            part = group[first : first + MOST_TOGETHER]
            groups += [part] if _together(members, part) else [[index] for index in part]
    return groups


def _alike(member: Member, other: Member) -> bool:
    """Return whether one launch may train both."""
    from fastnn.targets.cuda.batched_models import one_launch

    return (
        member.data is other.data
        and member.model.shuffle == other.model.shuffle
        and member.model.history.target == other.model.history.target
        and one_launch(member.model.problem, other.model.problem)
    )


def _together(members: Sequence[Member], group: list[int]) -> bool:
    """Return whether a device trains so many networks side by side, or one after another."""
    from fastnn.targets.cuda.batched_models import worth_it

    first = members[group[0]]
    device = parse(first.model.history.target).device or 0
    return len(group) == 1 or worth_it(first.model.problem, len(group), first.data, device)
