"""What a process takes before it trains: imports, and kernels compiled or loaded.

Each figure is of a new process, without the start of the interpreter.
"""

from __future__ import annotations

import subprocess
import sys

from workloads import FIRST_TRAINING


class Import:
    """Imports, after NumPy."""

    def timeraw_fastnn(self) -> tuple[str, str]:
        """Seconds of ``import fastnn``."""
        return "import fastnn", "import numpy"

    def timeraw_trainer(self) -> tuple[str, str]:
        """Seconds of ``from fastnn import Trainer``."""
        return "from fastnn import Trainer", "import numpy"


class Warm:
    """The first training of a process on a machine that has trained before."""

    number = 1

    def setup_cache(self) -> None:
        """Compile the kernels."""
        subprocess.run([sys.executable, "-c", FIRST_TRAINING["fastnn"]], check=True)

    def timeraw_training(self) -> str:
        """Seconds of import, kernels from the cache, and an epoch and a prediction."""
        return FIRST_TRAINING["fastnn"]


class Cold:
    """The first training on a machine with the code of this commit, once: it may compile."""

    rounds = repeat = number = min_run_count = 1
    warmup_time = 0

    def timeraw_training(self) -> tuple[str, str]:
        """Seconds of import, kernels shipped or compiled, and an epoch and a prediction."""
        empty = (
            "import os, tempfile; folder = tempfile.TemporaryDirectory(); "
            "os.environ['FASTNN_CACHE_DIR'] = folder.name"
        )
        return FIRST_TRAINING["fastnn"], empty
