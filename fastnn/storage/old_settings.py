"""Settings under their names of version 0.1, which are accepted for one version more."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from fastnn.errors import InvalidInput

T = TypeVar("T")


def renamed(**old_names: str) -> Callable[[type[T]], type[T]]:
    """Return a decorator of a dataclass whose fields had other names: ``new_name="old_name"``.

    An object of it is made with a setting's old name as keyword too, with a `DeprecationWarning`,
    and has the setting under its old name as attribute; older pickles of it are read.

    Raises
    ------
    InvalidInput
        When an object is made: a setting is given by both of its names.
    """

    def decorate(kind: type[T]) -> type[T]:
        made: Any = kind  # to which the type checker lets nothing be added
        made._new_names = {old: new for new, old in old_names.items()}
        made.__init__ = _takes_old_names(made)
        made.__setstate__ = _take_state
        for new, old in old_names.items():
            setattr(made, old, _alias(kind.__name__, old, new))
        return kind

    return decorate


def by_new_names(kind: type, settings: dict[str, Any]) -> dict[str, Any]:
    """Return `settings` of a class, with the names of version 0.1 replaced by those of today."""
    names = getattr(kind, "_new_names", {})
    if any(names.get(name) in settings for name in settings):
        return settings  # both names of one setting, which nothing has written
    return {names.get(name, name): value for name, value in settings.items()}


def _takes_old_names(kind: Any) -> Callable[..., None]:
    """Return the `__init__` of a class, with old names accepted as keywords."""
    plain = kind.__init__
    order = list(inspect.signature(plain).parameters)

    @functools.wraps(plain)
    def init(self: Any, *args: Any, **settings: Any) -> None:
        for old in settings.keys() & kind._new_names.keys():
            new = kind._new_names[old]
            if new in settings or order.index(new) <= len(args):
                raise InvalidInput(
                    f"{old} and {new} of {kind.__name__} are one setting; give {new} only"
                )
            _warn(kind.__name__, old, new)
            settings[new] = settings.pop(old)
        plain(self, *args, **settings)

    return init


def _take_state(self: Any, state: dict[str, Any]) -> None:
    """Take what a pickle has."""
    self.__dict__.update(by_new_names(type(self), state))


def _alias(kind: str, old: str, new: str) -> property:
    """Return what reads and sets a field under its old name."""

    def read(self: Any) -> Any:
        _warn(kind, old, new)
        return getattr(self, new)

    def write(self: Any, value: Any) -> None:
        _warn(kind, old, new)
        setattr(self, new, value)

    return property(read, write, doc=f"The old name of `{new}`.")


def _warn(kind: str, old: str, new: str) -> None:
    """Warn whoever called what calls this."""
    warnings.warn(
        f"{old} of {kind} is now called {new}; the old name goes with the next version",
        DeprecationWarning,
        stacklevel=3,
    )
