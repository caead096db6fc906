"""Modules under the names that they had in version 0.1, which pickles of that version hold.

A pickled `Trainer` names the modules of its class, its network, its history and all that they hold.
Here each of those names leads to the module that it has become, and to no second copy of it. Files
that `Trainer.save` writes name no module and need none of this.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

MOVED = {
    "fastnn.callbacks": "fastnn.training.callbacks",  # and the modules in it
    "fastnn.custom": "fastnn.graph.custom",
    "fastnn.history": "fastnn.training.history",
    "fastnn.initialisers": "fastnn.initializers",
    "fastnn.model": "fastnn.training.saved_trainer",
    "fastnn.problem": "fastnn.inputs.problem",
    "fastnn.restarts": "fastnn.training.restart_results",
    "fastnn.spec": "fastnn.network",
    "fastnn.sweep_result": "fastnn.training.sweep_result",
    "fastnn.sweeps": "fastnn.training.sweep",
    "fastnn.trainer": "fastnn.training.trainer",
}


class _OldNames:
    """Finds and loads modules by their old names, as a member of `sys.meta_path`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to import a module by its old name, None for any other name."""
        return ModuleSpec(name, cast("Loader", self)) if self._new_name(name) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module under its new name."""
        module = import_module(self._new_name(spec.name))
        spec.loader_state = module.__spec__  # which the import system is about to replace
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it was: it has been executed."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state

    @staticmethod
    def _new_name(name: str) -> str:
        old = ".".join(name.split(".", 2)[:2])
        return f"{MOVED[old]}{name.removeprefix(old)}" if old in MOVED else ""


def find_old_names() -> None:
    """Have modules imported by their old names too, from now on."""
    # First: other finders would load files of a package that has moved under its old name.
    sys.meta_path.insert(0, _OldNames())
