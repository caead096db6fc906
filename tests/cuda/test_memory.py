"""Host memory that copies of the state go to, again and again."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "targets"))

from target_cases import data_of, problem_of, started

from fastnn.network import Dense

pytestmark = pytest.mark.usefixtures("running")


class Counted:
    """Hands out pinned arrays, and counts them."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, size: int, dtype: Any) -> Any:
        """Return memory that nobody wrote to."""
        self.made += 1
        return np.full(size, 0xFF, dtype)


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> Counted:
    from fastnn.targets.cuda.host import memory
    from fastnn.targets.cuda.host.numba_cuda import cuda

    found = Counted()
    monkeypatch.setattr(memory, "cuda", SimpleNamespace(pinned_array=found, event=cuda.event))
    return found


def test_memory_is_used_again_when_nobody_has_a_copy(pinned: Counted) -> None:
    from fastnn.targets.cuda.host.memory import HostCopies
    from fastnn.targets.cuda.host.numba_cuda import cuda

    copies, stream = HostCopies(), cuda.stream()
    first = copies.copy(cuda.to_device(np.array([[1.0, 2.0]])), stream)
    view = first[None]
    del first
    second = copies.copy(cuda.to_device(np.array([[3.0, 4.0]])), stream)
    assert pinned.made == 2
    np.testing.assert_array_equal(view, [[1.0, 2.0]])
    del view
    third = copies.copy(cuda.to_device(np.array([[5.0, 6.0]])), stream)
    assert pinned.made == 2
    np.testing.assert_array_equal([second, third], [[3.0, 4.0], [5.0, 6.0]])
    with pytest.raises(ValueError, match="read-only"):
        third[0] = 0.0


def test_large_copies_are_not_pinned(pinned: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastnn.targets.cuda.host import memory
    from fastnn.targets.cuda.host.numba_cuda import cuda

    monkeypatch.setattr(memory, "MOST_PINNED", 15)
    found = memory.HostCopies().copy(cuda.to_device(np.array([[1.0, 2.0]])), cuda.stream())
    np.testing.assert_array_equal(found, [1.0, 2.0])
    assert pinned.made == 0 and not found.flags.writeable


def test_a_snapshot_stays_what_it_was() -> None:
    from fastnn.targets.cuda.engine import Engine

    problem = problem_of(5, [Dense(3)], "softmax_cross_entropy", dtype="float32", batch_size=4)
    data, engine = data_of(problem, 12), started(Engine, problem)
    seen = []
    for epoch in range(4):
        snapshot = engine.snapshot()
        seen.append((snapshot, snapshot.copy()))
        engine.train_epoch(data, np.arange(12), np.full(3, 0.1), epoch, 0)
    for snapshot, copy in seen:
        np.testing.assert_array_equal(snapshot, copy)
    assert not np.array_equal(seen[-1][1], seen[0][1])
