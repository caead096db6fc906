"""What the engines of compiled code have in common: a state is one array, epochs are one record."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from fastnn.random.shuffling import shuffled
from fastnn.targets.engine import Engine, Look, Progress

if TYPE_CHECKING:
    from fastnn.inputs.data import Data
    from fastnn.inputs.parameters import Parameters
    from fastnn.inputs.problem import EpochResult
    from fastnn.random.windows import InOrder


class Epochs(NamedTuple):
    """Some epochs that an engine is asked for: the arguments of `Engine.train_epochs`."""

    data: Data
    orders: Any
    rates: np.ndarray
    epoch: int
    step: int
    progress: Progress | None = None


class States(Protocol):
    """Where parameters and slots lie in a state."""

    @property
    def copies(self) -> int:
        """How many there are: the parameters, and the slots."""
        ...

    def pack(self, parameters: Parameters, slots: list[Parameters]) -> np.ndarray:
        """Return the state with these parameters and slots."""
        ...

    def unpack_copy(self, state: np.ndarray, copy: int) -> Parameters:
        """Return copies of the parameters in a state for 0, or of a slot of it from 1 on."""
        ...


class CompiledEngine(Engine):
    """An engine whose snapshots are states, each one array that is not to be written to."""

    @property
    @abstractmethod
    def states(self) -> States:
        """How its states are laid out, which never changes."""

    def pack(self, parameters: Parameters, slots: list[Parameters]) -> np.ndarray:
        """Return the state with these parameters and slots."""
        return self.states.pack(parameters, slots)

    def unpack(self, snapshot: np.ndarray) -> tuple[Parameters, list[Parameters]]:
        """Return copies of the parameters and slots in a state."""
        states = self.states
        found = [states.unpack_copy(snapshot, copy) for copy in range(states.copies)]
        return found[0], found[1:]

    def unpack_copy(self, snapshot: np.ndarray, copy: int) -> Parameters:
        """Return the parameters in a state for 0, or for -1 the last slot, if there is one."""
        return self.states.unpack_copy(snapshot, copy % self.states.copies)

    def finite(self) -> bool:
        """Return whether all parameters and all optimizer state are finite."""
        return bool(np.isfinite(self.snapshot()).all())

    def shuffled(self, keys: np.ndarray, n: int) -> np.ndarray:
        """Return the numbers 0..n-1 in the order of each key, int64 (keys, n)."""
        return shuffled(keys, n)

    def train_epochs(
        self,
        data: Data,
        orders: Any,
        rates: np.ndarray,
        epoch: int,
        step: int,
        progress: Progress | None = None,
    ) -> list[EpochResult]:
        """Train some epochs in one go; where processes train together, the one asked for."""
        asked = Epochs(data, orders, rates, epoch, step, progress)
        # Between two epochs, processes talk to each other.
        return self._train(asked) if self.group is None else [self._train_together(asked)]

    def train_epoch_in_parts(
        self,
        data: Data,
        order: np.ndarray | InOrder,
        rates: np.ndarray,
        epoch: int,
        step: int,
        stops: Sequence[int],
        look: Look,
        progress: Progress | None = None,
    ) -> EpochResult:
        """Train one epoch, and look on after the steps that `stops` has."""
        asked = Epochs(data, order, rates[None], epoch, step, progress)
        return self._train_in_parts(asked, stops, look)

    @abstractmethod
    def _train(self, asked: Epochs) -> list[EpochResult]:
        """Train some epochs, as `train_epochs` says."""

    def _train_in_parts(self, asked: Epochs, stops: Sequence[int], look: Look) -> EpochResult:
        """Train one epoch, whose order `orders` is, as `train_epoch_in_parts` says."""
        raise NotImplementedError  # of what trains several networks, which `hides_steps` says

    def _train_together(self, asked: Epochs) -> EpochResult:
        """Train one epoch, as all processes of the group do."""
        raise NotImplementedError  # of what no group is given to
