"""`scipy.special`, imported when something of it is first used: importing it takes 0.15 s."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from fastnn.threads.pool import uninterrupted

_NAME = "scipy.special"


def __getattr__(name: str) -> Any:
    # What is imported by half cannot be imported again.
    module = sys.modules.get(_NAME) or uninterrupted(lambda: import_module(_NAME))
    return getattr(module, name)
