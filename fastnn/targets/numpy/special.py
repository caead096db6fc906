"""`scipy.special`, imported when something of it is first used: importing it takes 0.15 s."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from fastnn.threads.pool import uninterrupted

_NAME = "scipy.special"


def __getattr__(name: str) -> Any:
    module = sys.modules.get(_NAME)
    # One that another thread is about to import is there already, with half of its functions.
    if module is None or getattr(module.__spec__, "_initializing", False):
        # What is imported by half, for it was interrupted, cannot be imported again.
        module = uninterrupted(lambda: import_module(_NAME))
    return getattr(module, name)
