"""What a picture is of: a trainer, and nothing else."""

from __future__ import annotations

from typing import Any

from fastnn.errors import InvalidInput


def check_trainer(value: Any, picture: str) -> None:
    """Raise `InvalidInput` where what `picture` is to draw is no `fastnn.Trainer`."""
    from fastnn.training.trainer import Trainer

    if not isinstance(value, Trainer):
        what = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise InvalidInput(f"{picture} needs a fastnn.Trainer, not {what}")
