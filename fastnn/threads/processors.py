"""How many processors this process may keep busy, as whoever runs it has set."""

from __future__ import annotations

import math
import os
import re
import time
import warnings
from functools import lru_cache

from fastnn.errors import EnvironmentWarning

GROUPS = "/sys/fs/cgroup"
OWN_GROUPS = "/proc/self/cgroup"
# Joblib's workers have these, among others, so that all of them together fit the machine.
LIMITS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
# Whole numbers above 0, with commas between them.
_NUMBER = r"\s*\+?0*[1-9][0-9]*\s*"
_NUMBERS = re.compile(f"{_NUMBER}(,{_NUMBER})*", re.ASCII)
_MANY_DIGITS = 10  # no machine has so many processors
_warned: set[tuple[str, str]] = set()


def available_threads() -> int:
    """Return how many processors this process may use now, at least 1.

    The least of the processors that it may run on, the share of them that its control groups give
    it, rounded up, read once a second, and the environment's OMP_NUM_THREADS, NUMBA_NUM_THREADS and
    LOKY_MAX_CPU_COUNT. Of these, a value that is no number of threads is ignored with an
    `EnvironmentWarning`, as OpenMP's runtimes do.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min(count, *(_limit(name, count) for name in LIMITS), _share(count)))


def _limit(name: str, count: int) -> int:
    """Return the number in a variable of the environment, at most `count`, which it is without."""
    text = os.environ.get(name, "")
    if not text.strip():  # how a shell takes a variable away from one command
        return count
    if not _NUMBERS.fullmatch(text):
        _warn(name, text)
        return count
    first = text.split(",")[0].strip().lstrip("+0")  # OpenMP lists one for each level of nesting
    return int(first) if len(first) < _MANY_DIGITS else count


def _warn(name: str, text: str) -> None:
    """Warn, once a process, of what a variable of the environment says."""
    if (name, text) not in _warned:
        _warned.add((name, text))
        warnings.warn(
            EnvironmentWarning(
                f"{name} is {text!r:.80} and is ignored; it must be a whole number of threads, at "
                "least 1, or be empty"
            ),
            stacklevel=2,
        )


def _share(count: int) -> int:
    """Return how many processors' time the control groups of this process may use."""
    return -int(-min(count, _least_quota(GROUPS, OWN_GROUPS, int(time.monotonic()))) // 1)


@lru_cache(maxsize=1)
def _least_quota(groups: str, own_groups: str, second: int) -> float:
    """Return what `_share` does for any count, as it was in that second, or infinity.

    Reading the files takes longer than a small fit, which asks a dozen times.
    """
    shares = [math.inf]
    for line in _read(own_groups).splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            shares += _quotas(groups, group, "cpu.max")
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", controllers):
                shares += _quotas(f"{groups}/{mount}", group, "cpu.cfs_quota_us")
    return min(shares)


def _quotas(mount: str, group: str, name: str) -> list[float]:
    """Return the processors that a group and those around it allow, where they set a limit.

    In a container the group may be that outside of it, and the mount the group itself.
    """
    found, group = [], group.rstrip("/")
    while True:
        words = _read(f"{mount}{group}/{name}").split()
        if words and name != "cpu.max":
            words += _read(f"{mount}{group}/cpu.cfs_period_us").split()
        if len(words) == 2 and words[0].isdecimal() and int(words[0]) and int(words[1]):
            found.append(int(words[0]) / int(words[1]))  # else "max", -1, or no such file
        if not group:
            return found
        group = group.rpartition("/")[0]


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
