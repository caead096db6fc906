"""The memory that compiled code works in, as one plan lays it out.

A state, as `fastnn.targets.engine.Engine.snapshot` gives it, is the beginning of that memory:
parameters, then each slot of the optimizer. It is laid out alike for any number of rows and of
threads, and for sparse rows as for dense ones: where these need another plan, it is converted.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.inputs.parameters import Parameters
from fastnn.inputs.problem import Problem
from fastnn.targets.cpu.arguments import make_job
from fastnn.targets.cpu.checked import wrote, zeros_for
from fastnn.targets.cpu.laziness import Laziness
from fastnn.targets.cpu.plan import CAPACITY, ONES, PADDING, RANGE_BITS, TRANSPOSED, Plan
from fastnn.targets.fields import SIZE, N

if TYPE_CHECKING:
    from fastnn.inputs.sparse_rows import SparseRows
    from fastnn.layers import Parameter


class Working:
    """Memory and plan, which belong together: an engine replaces both at once.

    Attributes
    ----------
    plan
        Where everything is.
    memory
        Of the problem's dtype, (plan.memory_size,). A first state is written to it when it is first
        asked for, so that memory that another replaces before takes no room.
    copies, size
        How many copies of the parameters the beginning of `memory` has, slots included, and how
        many numbers they are together.
    fixed
        The job with all that does not change from epoch to epoch; this object keeps it alive.
    sparse
        How the first layer follows sparse rows; None: rows are dense.
    """

    def __init__(
        self,
        problem: Problem,
        plan: Plan,
        slots: int,
        alphas: np.ndarray,
        sparse: Laziness | None = None,
        of_states: Plan | None = None,
    ) -> None:
        """Make memory for `plan`; `of_states` is the one that states follow, None for the same."""
        self.plan, self._problem, self.sparse = plan, problem, sparse
        self._of_states = of_states or plan
        self.copies = 1 + slots
        self.size = int(plan.head[SIZE]) * self.copies
        self._first: np.ndarray | None = None  # a state that is still to be written
        self._asked_for = False
        self._edges: tuple[weakref.ref[SparseRows], np.ndarray] | None = None
        self._memory = memory = zeros_for(plan, problem.dtype)
        memory[plan.head[ONES] :][: plan.layout.panel] = 1
        memory[plan.head[PADDING] + plan.layout.lanes :][: plan.layout.lanes] = 1
        self._alphas, self._counting = alphas, np.arange(plan.head[CAPACITY])
        self._fixed = make_job(
            memory=memory,
            alphas=alphas,
            head=plan.head,
            layers=plan.layers,
            tiles=plan.tiles,
            owners=plan.owners,
            phases=plan.phases,
            counting=self._counting,
        )

    @property
    def memory(self) -> np.ndarray:
        """The memory, with the state in it."""
        if not self._asked_for:
            if self._first is not None:
                self._write(self._first)
            # In this order, and not before all is written: Ctrl-C may come between any two lines.
            self._first = None
            self._asked_for = True
        return self._memory

    @property
    def fixed(self) -> Any:
        """The job whose memory has the state in it."""
        _ = self.memory
        return self._fixed

    def edges_of(self, X: SparseRows) -> np.ndarray:
        """Return where ranges of inputs begin in each row, as far as compiled code has found it.

        It looks for them once for all epochs on the same rows.
        """
        if self._edges is None or self._edges[0]() is not X:
            edges = (1 << int(self.plan.head[RANGE_BITS])) - 1
            self._edges = weakref.ref(X), np.zeros(len(X) * edges, np.int64)
        return self._edges[1]

    def read(self) -> np.ndarray:
        """Return a copy of the state, which is not to be written to."""
        if self._first is not None:
            return self._first
        if self._of_states is self.plan:
            state = self.memory[: self.size].copy()
        else:
            state = self._converted(self.memory, self.plan, self._of_states)
        state.flags.writeable = False
        return state

    def write(self, state: np.ndarray) -> None:
        """Take a state, which nobody changes, and bring what depends on it up to date."""
        if self._asked_for:
            self._write(state)
        else:
            self._first = state

    def _write(self, state: np.ndarray) -> None:
        if self._of_states is not self.plan:
            state = self._converted(state, self._of_states, self.plan)
        memory = self._memory
        memory[: self.size] = state
        wrote(memory)
        # Training keeps the transposed copies of weights so.
        layout = self.plan.layout
        for layer, (k, n) in enumerate(self._problem.network.widths):
            at = int(self.plan.layers[layer, TRANSPOSED])
            if at >= 0:
                every = self.plan.read_weights(memory, layer)
                layout.split(every[:k].T, memory[at : at + n * layout.padded(k)])

    def _converted(self, memory: np.ndarray, of: Plan, to: Plan) -> np.ndarray:
        """Return the state that lies in `memory` as one plan has it, as the other has it."""
        state = np.zeros(int(to.head[SIZE]) * self.copies, memory.dtype)
        for copy in range(self.copies):
            for layer in range(len(of.layers)):
                to.write_weights(state, layer, of.read_weights(memory, layer, copy), copy)
        return state

    def pack(self, parameters: Parameters, slots: list[Parameters]) -> np.ndarray:
        """Return the state with these parameters and slots; what is not given is zero."""
        plan = self._of_states
        state = np.zeros(int(plan.head[SIZE]) * self.copies, self._problem.dtype)
        for copy, layers in enumerate([parameters, *slots]):
            for layer, arrays in enumerate(layers):
                if copy and not any(array.any() for array in arrays):
                    continue  # which is how optimizers begin
                n = int(plan.layers[layer, N])
                known = self._problem.network.parameters[layer]
                rows = [_rows_of(array, each, n) for array, each in zip(arrays, known, strict=True)]
                every = np.vstack(rows).astype(self._problem.dtype, copy=False)
                plan.write_weights(state, layer, every, copy)
        state.flags.writeable = False
        return state

    def unpack_copy(self, state: np.ndarray, copy: int) -> Parameters:
        """Return copies of the parameters in a state for 0, or of a slot of it from 1 on."""
        found: Parameters = []
        for layer, each in enumerate(self._problem.network.parameters):
            every = self._of_states.read_weights(state, layer, copy)
            k = each[0].shape[0] if each[0].name == "weights" else 0
            weights = [every[:k].copy()] if k else []
            units = zip(every[k:], each[len(weights) :], strict=True)
            found.append((*weights, *(_array_of(row, unit) for row, unit in units)))
        return found


def _rows_of(array: np.ndarray, parameter: Parameter, units: int) -> np.ndarray:
    """Return an array as rows of one number a unit; the last units are those with a cosine."""
    if parameter.name not in ("frequencies", "phases"):
        return array
    return np.concatenate([np.zeros(units - array.size, array.dtype), array.ravel()])


def _array_of(row: np.ndarray, parameter: Parameter) -> np.ndarray:
    """Return a copy of what `_rows_of` made such a row of."""
    return row[len(row) - math.prod(parameter.shape) :].reshape(parameter.shape).copy()
