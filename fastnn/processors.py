"""How many processors this process may keep busy, as whoever runs it has set."""

from __future__ import annotations

import os

GROUPS = "/sys/fs/cgroup"
OWN_GROUPS = "/proc/self/cgroup"
# Joblib's workers have these, among others, so that all of them together fit the machine.
LIMITS = ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT")


def available_threads() -> int:
    """Return how many processors this process may use now, at least 1.

    The least of the processors that it may run on, the share of them that its control groups give
    it, rounded up, and the environment's OMP_NUM_THREADS and LOKY_MAX_CPU_COUNT.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min(count, *(_limit(name, count) for name in LIMITS), _share(count)))


def _limit(name: str, count: int) -> int:
    """Return the number in a variable of the environment, or `count` where there is none."""
    text = os.environ.get(name, "").split(",")[0].strip()  # OpenMP lists one for each level
    return int(text) if text.isdecimal() and int(text) > 0 else count


def _share(count: int) -> int:
    """Return how many processors' time the control groups of this process may use."""
    shares = [float(count)]
    for line in _read(OWN_GROUPS).splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            shares += _quotas(GROUPS, group, "cpu.max")
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", controllers):
                shares += _quotas(f"{GROUPS}/{mount}", group, "cpu.cfs_quota_us")
    return -int(-min(shares) // 1)


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
