"""The short form of what is tried on files; the scripts with ``--long`` are the long one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba import config
from simulator import SIMULATED

HERE = Path(__file__).resolve().parent


def run(script, part):
    """Run a part in a process of its own, since it forks, sets limits and changes the cache."""
    places = [str(HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / script), part],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
    )
    assert part in done.stdout
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("part", ["killed while saving", "mutated model files"])
def test_models_are_never_lost_and_never_misread(part):
    run("model_files.py", part)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no modes of files")
@pytest.mark.skipif(bool(config.DISABLE_JIT or SIMULATED), reason="nothing is compiled")
@pytest.mark.parametrize(
    "part", ["damaged cache files", "caches that others can write", "no room for cache files"]
)
def test_caches_are_compiled_anew_and_let_nobody_in(part):
    run("cache_files.py", part)
