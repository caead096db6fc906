"""User-defined classes derived from fastnn's callbacks, whose `__call__` has the last word."""

from dataclasses import dataclass, field

import pytest
from trainer_cases import LABELS, X, trainer_of

from fastnn import Dense, EarlyStopping, ReduceOnPlateau


class At(EarlyStopping):
    """Stops after an epoch."""

    def __call__(self, trainer, history):
        """Return whether to stop."""
        return super().__call__(trainer, history) or trainer.epoch >= 20


class Halved(ReduceOnPlateau):
    """Halves the rate once, too."""

    def __call__(self, trainer, history):
        """Reduce the rates that follow."""
        super().__call__(trainer, history)
        if trainer.epoch == 7:
            trainer.rate_factor /= 2


class _Counts:
    def __call__(self, trainer, history):
        self.__dict__.setdefault("seen", []).append(trainer.epoch)
        return super().__call__(trainer, history)


class Counted(_Counts, EarlyStopping):
    """Takes note of the epochs; `__call__` is that of a class beside EarlyStopping."""


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_a_derived_callback_is_called_after_each_epoch(target):
    stopping = At(patience=1000, monitor="loss", restore_best=False)
    halving = Halved(patience=1000, monitor="loss")
    counted = Counted(patience=1000, monitor="loss")
    for callbacks in ([stopping], [stopping, halving], [counted, stopping]):
        trainer = trainer_of([Dense(3)], target=target, threads=1)
        trainer.fit(X, LABELS, 300, callbacks=callbacks)
        assert trainer.epoch == 20
    assert counted.seen == list(range(1, 21))
    trainer = trainer_of([Dense(3)], target=target, threads=1)
    trainer.fit(X, LABELS, 30, callbacks=halving)
    assert trainer.history.learning_rate == [0.1] * 7 + [0.05] * 23


def test_fastnns_own_callbacks_say_which_epochs_they_are_called_after():
    class Named(EarlyStopping):
        """Has a name of its own, and nothing else."""

    assert all(each.foresees_calls() for each in (EarlyStopping(), ReduceOnPlateau(), Named()))
    assert not any(each.foresees_calls() for each in (At(), Halved(), Counted()))


class Limited(EarlyStopping):
    """Takes an argument of its own."""

    def __init__(self, last):
        super().__init__(patience=1000, monitor="loss", restore_best=False)
        self.last = last

    def __call__(self, trainer, history):
        """Return whether to stop."""
        return super().__call__(trainer, history) or trainer.epoch >= self.last


@dataclass
class Listed(EarlyStopping):
    """Keeps a list for each training."""

    seen: list = field(default_factory=list, init=False)

    def __call__(self, trainer, history):
        """Take note of the epoch."""
        self.seen.append(trainer.epoch)
        assert self.seen == list(range(1, trainer.epoch + 1))
        return super().__call__(trainer, history)


class Noting(EarlyStopping):
    """Begins with a list of its own, of which it says nothing."""

    def __post_init__(self):
        """Begin the list."""
        super().__post_init__()
        self.seen = []

    def __call__(self, trainer, history):
        """Take note of the epoch."""
        self.seen.append(trainer.epoch)
        assert self.seen == list(range(1, trainer.epoch + 1))
        return super().__call__(trainer, history)


class NotingLast(Limited):
    """Takes an argument, and begins with a list."""

    def __init__(self, last):
        super().__init__(last)
        self.seen = []

    def __call__(self, trainer, history):
        """Take note of the epoch."""
        self.seen.append(trainer.epoch)
        assert self.seen == list(range(1, trainer.epoch + 1))
        return super().__call__(trainer, history)


def test_each_restart_has_a_derived_callback_of_its_own():
    trainer, limited, listed = trainer_of([Dense(3)]), Limited(4), Listed(monitor="loss")
    noting, last = Noting(monitor="loss"), NotingLast(7)
    trainer.fit(X, LABELS, 9, restarts=3, callbacks=[limited, listed, noting, last])
    assert [each.epochs for each in trainer.history.restarts] == [4, 4, 4]
    assert limited.best is not None and listed.seen == noting.seen == last.seen == []
