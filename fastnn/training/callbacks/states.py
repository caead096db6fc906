"""The state of all callbacks of a training: taken for a file, and handed back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from fastnn.errors import InvalidInput, shown
from fastnn.storage.callback_states import CallbackState
from fastnn.training.callbacks.bundled import Bundled, Callback

if TYPE_CHECKING:
    from fastnn.training.trainer_state import Stateful


class _KeepsState(Protocol):
    """A user-defined callback that has state, by PyTorch's names."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: dict[str, Any]) -> object: ...


def states_of(callbacks: tuple[Callback, ...], trainer: Stateful) -> list[CallbackState]:
    """Return the state of each callback that has one.

    A user-defined one has one if it has the methods ``state_dict()``, which returns a dict of
    plain values and arrays, and ``load_state_dict(state)``.

    Raises
    ------
    InvalidInput
        What `state_dict` returned is no such dict.
    """
    states = []
    for callback in callbacks:
        values: Any = {}
        if isinstance(callback, Bundled):
            values = callback.state(trainer)
        elif _keeps_state(callback):
            values = callback.state_dict()
            if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
                raise InvalidInput(
                    f"state_dict of the callback {_kind(callback)} must return a dict of values "
                    f"by name, not {shown(values):.80}"
                )
        if values:
            states.append(CallbackState(_kind(callback), values))
    return states


def hand_over(
    states: list[CallbackState], callbacks: tuple[Callback, ...], trainer: Stateful
) -> None:
    """Give each callback the state that one of its class had: the first the first, and so on."""
    left = list(states)
    for callback in callbacks:
        take: Callable[[dict[str, Any]], object]
        if isinstance(callback, Bundled):
            take = partial(callback.take_state, trainer=trainer)
        elif _keeps_state(callback):
            take = callback.load_state_dict
        else:
            continue
        kind = _kind(callback)
        state = next((each for each in left if each.kind == kind), None)
        if state is not None:
            left.remove(state)
            take(state.values)


def _keeps_state(callback: Callback) -> TypeGuard[_KeepsState]:
    methods = (getattr(callback, name, None) for name in ("state_dict", "load_state_dict"))
    return all(callable(method) for method in methods)


def _kind(callback: object) -> str:
    kind = type(callback)
    if isinstance(callback, Bundled):
        return kind.__name__  # wherever it is defined in the version that reads the file
    return f"{kind.__module__}.{kind.__qualname__}"
