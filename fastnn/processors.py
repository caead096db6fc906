"""How many processors this process may keep busy, as whoever runs it has set."""

from __future__ import annotations

import os
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
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
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:
        return count
    shares = [float(count)]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            shares += _quotas(GROUPS, path, "cpu.max")
        elif "cpu" in controllers.split(","):
            for mount in (GROUPS / "cpu", GROUPS / controllers):
                shares += _quotas(mount, path, "cpu.cfs_quota_us")
    return -int(-min(shares) // 1)


def _quotas(mount: Path, path: str, name: str) -> list[float]:
    """Return the processors that a group and those around it allow, where they set a limit."""
    found = []
    group = Path(path.lstrip("/"))
    # In a container the path may be that outside of it, and the mount the group itself.
    for folder in (group, *group.parents, Path()):
        try:
            words = (mount / folder / name).read_text().split()
            if name != "cpu.max":
                words += (mount / folder / "cpu.cfs_period_us").read_text().split()
            quota, period = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):
            continue  # "max", or no such file: no limit here
        if quota > 0 and period > 0:
            found.append(quota / period)
    return found
