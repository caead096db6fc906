"""The rates of a network that is fitted further under other settings."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastnn.training.trainer import Trainer


class Rates(NamedTuple):
    """What decides on the steps of a call.

    Attributes
    ----------
    factor
        What a trainer's rates are multiplied by.
    settings
        The parameters that they follow from.
    """

    factor: float
    settings: tuple[Any, ...]


def go_on_with(
    trainer: Trainer, settings: dict[str, Any], before: Rates | None, now: Rates
) -> None:
    """Have a trainer go on under these settings, after a call that had the rates `before`.

    What "adaptive" or a callback has made of the rate stays while nobody asks for another.
    """
    before, factor = before or now, trainer.rate_factor
    changed = {name for name, new in settings.items() if getattr(trainer, name) != new}
    trainer.set(**{name: settings[name] for name in changed})
    trainer.rate_factor = factor if now == before else now.factor
    if now.factor != before.factor:  # so that a velocity goes on with steps as long as they were
        trainer.scale_state(before.factor / now.factor)
