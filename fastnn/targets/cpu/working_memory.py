"""The memory that compiled code works in, as one plan lays it out.

A state, as `fastnn.targets.engine.Engine.snapshot` gives it, is the beginning of that memory:
parameters, then each slot of the optimizer. It is laid out alike for any number of rows and of
threads.
"""

from __future__ import annotations

import numpy as np

from fastnn.inputs.parameters import Parameters
from fastnn.inputs.problem import Problem
from fastnn.targets.cpu.arguments import make_job
from fastnn.targets.cpu.checked import wrote, zeros_for
from fastnn.targets.cpu.plan import CAPACITY, ONES, PADDING, SIZE, TRANSPOSED, Plan


class Working:
    """Memory and plan, which belong together: an engine replaces both at once.

    Attributes
    ----------
    plan
        Where everything is.
    memory
        Of the problem's dtype, (plan.memory_size,).
    size
        Numbers in a state.
    fixed
        The job with all that does not change from epoch to epoch; this object keeps it alive.
    """

    def __init__(self, problem: Problem, plan: Plan, slots: int, alphas: np.ndarray) -> None:
        self.plan, self._problem, self._slots = plan, problem, slots
        self.size = int(plan.head[SIZE]) * (1 + slots)
        self.memory = memory = zeros_for(plan, problem.dtype)
        memory[plan.head[ONES] :][: plan.layout.panel] = 1
        memory[plan.head[PADDING] + plan.layout.lanes :][: plan.layout.lanes] = 1
        self._alphas, self._counting = alphas, np.arange(plan.head[CAPACITY])
        self.fixed = make_job(
            memory=memory,
            alphas=alphas,
            head=plan.head,
            layers=plan.layers,
            tiles=plan.tiles,
            owners=plan.owners,
            phases=plan.phases,
            counting=self._counting,
        )

    def read(self) -> np.ndarray:
        """Return a copy of the state, which is not to be written to."""
        state = self.memory[: self.size].copy()
        state.flags.writeable = False
        return state

    def write(self, state: np.ndarray) -> None:
        """Take a state, and bring what depends on it up to date."""
        self.memory[: self.size] = state
        wrote(self.memory)
        # Training keeps the transposed copies of weights so.
        layout = self.plan.layout
        for layer, (k, n) in enumerate(self._problem.network.widths):
            at = int(self.plan.layers[layer, TRANSPOSED])
            if at >= 0:
                every = self.plan.read_weights(self.memory, layer)
                layout.split(every[:k].T, self.memory[at : at + n * layout.padded(k)])

    def pack(self, parameters: Parameters, slots: list[Parameters]) -> np.ndarray:
        """Return the state with these parameters and slots; what is not given is zero."""
        state = np.zeros(self.size, self._problem.dtype)
        for copy, layers in enumerate([parameters, *slots]):
            for layer, arrays in enumerate(layers):
                every = np.vstack(arrays).astype(self._problem.dtype, copy=False)
                self.plan.write_weights(state, layer, every, copy)
        state.flags.writeable = False
        return state

    def unpack(self, state: np.ndarray) -> tuple[Parameters, list[Parameters]]:
        """Return copies of the parameters and of each slot in a state."""
        copies: list[Parameters] = []
        for copy in range(1 + self._slots):
            copies.append([])
            for layer, each in enumerate(self._problem.network.parameters):
                every = self.plan.read_weights(state, layer, copy)
                k = each[0].shape[0] if len(each[0].shape) > 1 else 0
                weights = [every[:k].copy()] if k else []
                copies[copy].append((*weights, *(row.copy() for row in every[k:])))
        return copies[0], copies[1:]
