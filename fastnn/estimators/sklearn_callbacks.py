"""scikit-learn's own callbacks, `sklearn.callback` since 1.9: an estimator's fit as they see it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastnn.inputs.sparse_rows import ChosenRows, ReadRows
from fastnn.training.callbacks import Bundled

if TYPE_CHECKING:
    from fastnn.estimators.base import Rows

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this scikit-learn has no callbacks."""


class Hooks:
    """A fit as a task of so many epochs, each of them one of its subtasks.

    It does nothing where the estimator has been given no callbacks, by `set_callbacks` or through a
    meta-estimator.
    """

    def __init__(self, estimator: Any, rows: Rows, epochs: int) -> None:
        self._estimator, self._rows = estimator, rows
        self._context: Any = None
        if getattr(estimator, "_skl_callbacks", None) or hasattr(estimator, "_parent_callback_ctx"):
            self._context = estimator._init_callback_context(max_subtasks=epochs)
            weights = rows.sample_weight
            self._data: dict[str, Any] = {
                "estimator": estimator,
                "X": _plain(rows.X),
                "y": rows.y,
                "metadata": None if weights is None else {"sample_weight": weights},
            }

    def __enter__(self) -> Hooks:
        """Tell that the fit begins."""
        if self._context is not None:
            self._context.call_on_fit_task_begin(**self._data)
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        """Tell that it has ended, unless by an error."""
        if self._context is not None and kind is None:
            self._context.call_on_fit_task_end(**self._data, reconstruction_attributes={})

    def callbacks(self, shown: Callable[[Any], dict[str, Any]]) -> list[Bundled]:
        """Return what a Trainer has to call after each epoch: one callback, or none.

        `shown` gives the attributes by which the estimator predicts as a trainer does.
        """
        return [] if self._context is None else [_Epochs(self._context, self._data, shown)]


class _Epochs(Bundled):
    """Tells that an epoch ends, and that the next begins, if there is one."""

    turn = 3  # when it is known whether the epoch is the last

    def __init__(self, context: Any, data: Any, shown: Callable[[Any], dict[str, Any]]) -> None:
        self._context, self._data, self._shown = context, data, shown
        self._task: Any = None

    def begin(self, trainer: Any, callbacks: Any) -> None:
        """Tell that the first epoch begins."""
        self._task = self._context.subcontext(task_name="epoch")
        self._task.call_on_fit_task_begin(
            **self._data, reconstruction_attributes=lambda: self._shown(copy.copy(trainer))
        )

    def __call__(self, trainer: Any, history: Any) -> bool:
        """Tell that an epoch has ended, and return whether a callback wants no more."""
        stop = self._task.call_on_fit_task_end(
            **self._data, reconstruction_attributes=lambda: self._shown(copy.copy(trainer))
        )
        if trainer.remaining and not stop:
            self.begin(trainer, ())
        return bool(stop)


def _plain(X: Any) -> Any:
    """Return X as those that know nothing of fastnn read it."""
    if isinstance(X, ChosenRows):
        return X.taken()
    return X.tocsr() if isinstance(X, ReadRows) else X
