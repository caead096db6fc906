"""Parameters of estimators by scikit-learn's names, and which of them have none of their own."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import is_dataclass, replace
from typing import Any, Self

from sklearn.base import BaseEstimator

from fastnn.errors import InvalidInput, shown


class WithWholeParameters(BaseEstimator):
    """An estimator whose parameters, such as an optimizer, are set as a whole.

    They are values that do not change, and may be shared by many estimators.
    """

    def set_params(self, **params: Any) -> Self:
        """Set parameters, as scikit-learn does.

        Raises
        ------
        InvalidInput
            A setting of one of them, such as ``optimizer__learning_rate``, which also is a
            ValueError as that for unknown names; nothing has been set.
        """
        values = self.get_params(deep=False)
        for name in params:
            key, nested, _ = name.partition("__")
            value = params.get(key, values.get(key))
            if nested and key in values and not hasattr(value, "set_params"):
                begin = f"{key}__"
                every = {
                    each.removeprefix(begin): wanted
                    for each, wanted in params.items()
                    if each.startswith(begin)
                }
                raise InvalidInput(_refusal(name, key, value, every))
        found: Self = super().set_params(**params)
        return found


def _refusal(name: str, key: str, value: Any, wanted: dict[str, Any]) -> str:
    """Return what to write instead of `name`, for a value with such settings."""
    now, other = shown(value), "..."
    if is_dataclass(value) and not isinstance(value, type):
        # One that has no such setting, or refuses it: what is given as a whole says why.
        with suppress(TypeError, ValueError):
            changed = replace(value, **wanted)
            other = shown(changed) if changed != value else other
    return (
        f"{name} cannot be set, since {key} is {now}, which is given as a whole: "
        f"set_params({key}={other}), and to search, {{{key!r}: [{now}, {other}]}} in the place "
        f"of {{{name!r}: [...]}}"
    )
