"""Which of fastnn's models a file holds, and what reads it."""

from __future__ import annotations

from typing import Any

from fastnn.errors import CorruptFile

TRAINER, ENSEMBLE = "Trainer", "Ensemble"
TABLES = ("TabularClassifier", "TabularRegressor")
_KINDS = {"ensemble": ENSEMBLE, **{name: name for name in TABLES}}  # by what files call them


class OtherModel(CorruptFile):
    """A file that holds a model of another class than was to be read, whose name is `kind`."""

    def __init__(self, where: str, kind: str = TRAINER) -> None:
        article = "an" if kind == ENSEMBLE else "a"
        super().__init__(f"{where} holds {article} {kind}; fastnn.{kind}.load reads it")
        self.where, self.kind = where, kind

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle which one it is, too."""
        return type(self), (self.where, self.kind)


def check_kind(content: Any, wanted: str, where: str) -> None:
    """Raise `OtherModel` where the settings in a file are those of another class."""
    if not isinstance(content, dict):
        return
    kind = content.get("kind")
    found = _KINDS.get(kind) if isinstance(kind, str) else None
    if kind is None and content.keys() >= {"network", "loss", "optimizer"}:
        found = TRAINER
    if found is not None and found != wanted:
        raise OtherModel(where, found)
