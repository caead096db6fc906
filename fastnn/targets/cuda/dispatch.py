"""Which family of kernels trains a problem: the one that a step costs least."""

from __future__ import annotations

from typing import Any

from fastnn.errors import InvalidInput
from fastnn.inputs.problem import Problem
from fastnn.rules.table import unknown_name
from fastnn.targets.cuda.block.family import Block
from fastnn.targets.cuda.grid.family import Grid
from fastnn.targets.cuda.host.arguments import Family
from fastnn.targets.cuda.host.numba_cuda import Limits
from fastnn.targets.cuda.tiled.family import Tiled

FAMILIES: dict[str, Any] = {"block": Block, "grid": Grid, "tiled": Tiled}


def choose_family(problem: Problem, rule: str, limits: Limits, name: str | None = None) -> Family:
    """Return the family called `name`, or for None the one that a step costs least.

    Raises
    ------
    InvalidInput
        An unknown name, or a family that cannot train this problem.
    """
    if name is not None:
        if name not in FAMILIES:
            raise unknown_name("family of kernels", name, FAMILIES)
        reason = FAMILIES[name].reason_against(problem, rule, limits)
        if reason:
            raise InvalidInput(f"family {name!r} cannot train this problem: {reason}")
        return FAMILIES[name](problem, rule, limits)
    able = _able(problem, rule, limits)
    best = min(able, key=lambda kind: kind.seconds(problem, limits))
    return best(problem, rule, limits)


def quicker_together(problem: Problem, limits: Limits, count: int) -> bool:
    """Return whether so many networks are sooner done with a block each than one after another."""
    able = _able(problem, problem.optimizer.rule, limits)
    if Block not in able:
        return False
    rounds = -(-count // limits.sms)
    apart = count * min(kind.seconds(problem, limits) for kind in able)
    return rounds * Block.seconds(problem, limits) <= apart


def _able(problem: Problem, rule: str, limits: Limits) -> list[Any]:
    """Return the families that can train a problem."""
    return [kind for kind in FAMILIES.values() if not kind.reason_against(problem, rule, limits)]
