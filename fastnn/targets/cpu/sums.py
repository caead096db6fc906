"""What compiled code calls in the middle of a step: the sum of gradients over all processes."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from fastnn.storage.kernels.machine import DISABLE_JIT
from fastnn.targets.cpu.checked import wrote
from fastnn.targets.cpu.plan import KEPT, STATUS, SUM

if TYPE_CHECKING:
    from fastnn.ranks.group import Group
    from fastnn.targets.cpu.working_memory import Working

FAILED = 3  # what compiled code gets, beside the answers of `Group.add_up`, and ends the epoch for


class Sums:
    """A function that compiled code has the address of, and the numbers that it adds up.

    These are the gradient, which the plan keeps, and two numbers behind it.

    Parameters
    ----------
    group
        The processes.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self._buffer, self._memory = np.zeros(0), np.zeros(0)
        self._error: BaseException | None = None
        self._function = ctypes.CFUNCTYPE(ctypes.c_int64)(self._add_up)

    def over(self, working: Working) -> np.ndarray:
        """Have the function add up what is kept in this memory from now on, and return that."""
        head = working.plan.head
        self._memory, self._error = working.memory, None
        self._buffer = working.memory[head[KEPT] : head[STATUS] + 2]
        head[SUM] = ctypes.cast(self._function, ctypes.c_void_p).value
        if DISABLE_JIT:
            from fastnn.targets.cpu.llvm.function_pointers import registered

            registered[int(head[SUM])] = self._add_up
        return self._buffer

    def check(self) -> None:
        """Raise what the function has met, which nothing can be raised in."""
        if self._error is not None:
            raise self._error

    def _add_up(self) -> int:
        try:
            code = self.group.add_up(self._buffer)
            wrote(self._memory)
        except BaseException as error:
            self._error = error
            return FAILED
        return code
