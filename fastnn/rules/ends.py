"""When each output of a linear model ends for itself, the same on every target.

Each output of one Dense layer is a model of its own where the loss is that of each number. Its
objective after an epoch is

    O = sum_r w_r l_r / sum_r w_r + share (R_0 + (R_1 - R_0) (s - 1) / (2 s)),

R_0 and R_1 being its penalty before the s steps of the epoch and after: the mean of what it is
before each step, if it changes evenly. An epoch is no progress where O > best O - tol, and after
`patience` of them in a row the output is at rest: it is trained no more. That is the rule of
scikit-learn's SGDClassifier, for each class.

What there is to know is a row of float64: `HEAD` numbers, and `OF_OUTPUT` of each output behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Of all outputs: the rule's tol and patience; `share`; (s - 1) / (2 s); how many are not at rest;
# and the means of their objectives and of their losses, of those at rest the last.
TOL, PATIENCE, SHARE, PASSED, GOING, OBJECTIVE, LOSS, HEAD = range(8)
# Of each output: sums over its last epoch of weight times loss and of weight; its penalty after
# that; the least objective so far; how many epochs have made no progress since; whether it is at
# rest, 0 or 1; and its last objective.
LOSSES, WEIGHT, PENALTY, BEST, WAITED, RESTS, OWN_OBJECTIVE, OF_OUTPUT = range(8)


def make_end_output(compiled: Callable[..., Any] = lambda formula: formula) -> Any:
    """Return ``end_output(ends, at, penalty)``: take note of an epoch of the output at `at`.

    `ends` has the sums of that epoch already; `penalty` is R_1.
    """

    @compiled
    def end_output(ends, at, penalty):
        weight = ends[at + WEIGHT]
        loss = ends[at + LOSSES] / weight if weight > 0.0 else 0.0
        before = ends[at + PENALTY]
        objective = loss + ends[SHARE] * (before + (penalty - before) * ends[PASSED])
        worse = objective > ends[at + BEST] - ends[TOL]
        waited = ends[at + WAITED] + 1.0 if worse else 0.0
        ends[at + PENALTY], ends[at + OWN_OBJECTIVE] = penalty, objective
        ends[at + BEST], ends[at + WAITED] = min(objective, ends[at + BEST]), waited
        ends[at + RESTS] = 1.0 if waited >= ends[PATIENCE] else 0.0

    return end_output
