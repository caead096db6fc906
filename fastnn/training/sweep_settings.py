"""Which settings a sweep may vary, and the trainer that each combination of them makes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from itertools import product
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput, shown, whole
from fastnn.network import Dense, Dropout, Network
from fastnn.optimizers import OPTIMIZERS
from fastnn.rules.table import unknown_name
from fastnn.training.sweep_result import RESULTS
from fastnn.training.together import check_alone
from fastnn.training.trainer import Trainer

# What a sweep decides itself: every run has one thread and one process, and seeds have an argument
# of their own.
_OWN = ("threads", "seed", "communicator", "synchronise")
TRAINER = tuple(name for name in inspect.signature(Trainer).parameters if name not in _OWN)
OPTIMIZER = tuple(dict.fromkeys(each.name for kind in OPTIMIZERS for each in fields(kind)))
LAYER = tuple(each.name for each in fields(Dense))
DROPOUT = "dropout"
MOST_RUNS = 1_000_000
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Maker:
    """Makes the trainer of every combination of settings.

    Parameters
    ----------
    make
        A `Trainer`, or a function that returns one; as for `fastnn.sweep`.

    Raises
    ------
    InvalidInput
        Something else, or a trainer that several processes train.
    """

    def __init__(self, make: Any) -> None:
        self.make: Callable[..., Any] | Trainer = make
        self.own: tuple[str, ...] = ()  # settings that `make` takes itself
        self.takes_all: bool = False
        self.needed: tuple[str, ...] = ()
        if isinstance(make, Trainer):
            check_alone(make, "sweep")
            return
        try:
            parameters = inspect.signature(make).parameters.values()
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                "make must be a Trainer, or a function that takes settings by name and returns "
                f"a Trainer, not {make!r:.80}"
            ) from error
        for each in parameters:
            needs_place = each.kind == inspect.Parameter.POSITIONAL_ONLY
            if needs_place and each.default is inspect.Parameter.empty:
                raise InvalidInput(
                    f"make must take its settings by name, but {each.name!r} comes before a / in "
                    f"the arguments of {make!r:.80}"
                )
        self.own = tuple(each.name for each in parameters if each.kind in _NAMED)
        self.takes_all = any(each.kind == inspect.Parameter.VAR_KEYWORD for each in parameters)
        self.needed = tuple(
            each.name
            for each in parameters
            if each.kind in _NAMED and each.default is inspect.Parameter.empty
        )

    def check(self, settings: Iterable[str]) -> None:
        """Raise `InvalidInput` where a setting is unknown, or one that `make` needs is missing."""
        found = tuple(settings)
        names = dict.fromkeys((*self.own, *TRAINER, *OPTIMIZER, *LAYER, DROPOUT))
        known = [name for name in names if name != "seed"]
        for name in found:
            if name == "seed":
                raise InvalidInput("the grid has 'seed'; give seeds=[...] instead")
            if name == "threads" and name not in self.own:
                raise InvalidInput(
                    "the grid has 'threads', but every run of a sweep has one thread, with as many "
                    "runs at a time as workers says"
                )
            if name == "epochs" and name not in self.own:
                raise InvalidInput(
                    "the grid has 'epochs', but that is an argument of sweep, the same for all runs"
                )
            if name in RESULTS:
                raise InvalidInput(
                    f"the grid has {name!r}, which is the name of a result; call it something else"
                )
            if name not in known and not self.takes_all:
                raise unknown_name("setting", name, known)
        for name in self.needed:
            if name not in found and name != "seed":
                raise InvalidInput(
                    f"make needs {name!r}, which the grid does not have; add it, or give it a "
                    "default value"
                )

    def first_seed(self) -> int:
        """Return the seed that counting starts from: a trainer's own, else 0."""
        return self.make.problem.seed if isinstance(self.make, Trainer) else 0

    def changes(self, settings: Mapping[str, Any]) -> bool:
        """Return whether a trainer is made anew, so that its parameters follow from its seed."""
        given = {*settings, "seed"}
        return isinstance(self.make, Trainer) or not (self.takes_all or given <= {*self.own})

    def trainer(self, settings: dict[str, Any], seed: int) -> Trainer:
        """Return the trainer of these settings, before any epoch.

        Raises
        ------
        InvalidInput
            A setting that cannot be used, or a function that returned no new trainer.
        """
        given = settings | {"seed": seed}
        own = {name: given.pop(name) for name in list(given) if self.takes_all or name in self.own}
        if isinstance(self.make, Trainer):
            return changed(self.make, given)
        made = self.make(**own)
        if not isinstance(made, Trainer):
            raise InvalidInput(f"make must return a Trainer, not {made!r:.80}")
        check_alone(made, "sweep")
        if given:
            return changed(made, given)
        if made.epoch:
            raise InvalidInput(
                f"make must return a new Trainer, but this one has done {made.epoch} epochs"
            )
        return made


def changed(trainer: Trainer, settings: dict[str, Any]) -> Trainer:
    """Return a new trainer with the settings of another but for these, not trained.

    Raises
    ------
    InvalidInput
        A setting that this trainer's optimizer or network does not have, or a value out of range.
    """
    values = {
        name: getattr(trainer.problem if hasattr(trainer.problem, name) else trainer, name)
        for name in (*TRAINER, "seed")
    }
    values |= {name: value for name, value in settings.items() if name in values}
    others = {name: value for name, value in settings.items() if name not in values}
    optimizer = values["optimizer"]
    fitting = [each.name for each in fields(optimizer)]
    rates = {name: others.pop(name) for name in list(others) if name in fitting}
    values["optimizer"] = replace(optimizer, **rates)
    layers = {name: others.pop(name) for name in list(others) if name in (*LAYER, DROPOUT)}
    if layers:
        values["network"] = _with_layers(values["network"], layers)
    if others:
        raise unknown_name(f"setting of {type(optimizer).__name__}", next(iter(others)), fitting)
    return Trainer(**values, synchronise=trainer.synchronise)


def _with_layers(network: Network, settings: dict[str, Any]) -> Network:
    """Return a network whose hidden layers have these settings, and whose dropouts this rate."""
    settings = dict(settings)
    rate = {"rate": settings.pop(DROPOUT)} if DROPOUT in settings else {}
    if "activation" in settings:
        settings.setdefault("alpha", None)  # that of the activation before may not fit
    hidden: list[Any] = list(network.layers[:-1])
    for kind, wanted, what in ((Dense, settings, "hidden layer"), (Dropout, rate, "Dropout")):
        if wanted and not any(isinstance(layer, kind) for layer in hidden):
            name = DROPOUT if wanted is rate else next(iter(wanted))
            raise InvalidInput(f"{name!r} is a setting of every {what}, but the network has none")
    own = {Dense: settings, Dropout: rate}
    layers = [replace(layer, **own.get(type(layer), {})) for layer in hidden]
    return Network(network.inputs, [*layers, network.layers[-1]])


def combinations(grid: Any) -> list[dict[str, Any]]:
    """Return every combination of the grid's values, the last name varying fastest.

    Raises
    ------
    InvalidInput
        No mapping of names to lists of at least one value, or too many combinations.
    """
    if not isinstance(grid, Mapping) or not all(isinstance(name, str) for name in grid):
        raise InvalidInput(
            f'grid must map names to lists of values, as {{"batch_size": [16, 64]}}, '
            f"not {grid!r:.80}"
        )
    lists = []
    for name, values in grid.items():
        if isinstance(values, np.ndarray):
            values = values.tolist()
        # A mapping has names beside its values, and a set no order for the runs.
        if isinstance(values, (str, bytes, Mapping, set, frozenset)) or not isinstance(
            values, Iterable
        ):
            raise InvalidInput(f"grid[{name!r}] must be a list of values, not {shown(values):.80}")
        plain = [each.item() if isinstance(each, np.generic) else each for each in values]
        if not plain:
            raise InvalidInput(f"grid[{name!r}] is empty; give it at least one value")
        lists.append(plain)
    count = math.prod(map(len, lists))
    if count > MOST_RUNS:
        raise InvalidInput(
            f"grid has {count} combinations, more than {MOST_RUNS}; vary less at once"
        )
    return [dict(zip(grid, values, strict=True)) for values in product(*lists)]


def seeds_of(seeds: Any, first: int) -> list[int]:
    """Return a list of seeds: those given, or so many from `first` on.

    Raises
    ------
    InvalidInput
        Neither a whole number of at least 1 nor a list of different seeds.
    """
    if isinstance(seeds, Iterable) and not isinstance(seeds, (str, bytes)):
        found = [whole(seed, "a seed", 0, 2**63 - 1) for seed in seeds]
        if not found or len(set(found)) < len(found):
            raise InvalidInput(f"seeds must be at least one, all of them different, not {found}")
        return found
    return [first + index for index in range(whole(seeds, "seeds", 1, MOST_RUNS))]
