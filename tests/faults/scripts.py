"""What is tried by scripts of their own, which print a row for each thing that they try."""

from __future__ import annotations

import re
import subprocess
import sys

from fault_table import FOLDER, Count, environment, part

# A name, the script, the part of it, and how many tries the short and the long form make.
SCRIPTS = (
    ("killed while saving", "model_files.py", "killed while saving", 60, 300),
    ("mutated model files", "model_files.py", "mutated model files", 600, 5000),
    ("damaged cache files", "cache_files.py", "damaged cache files", 18, 500),
    ("caches that others can write", "cache_files.py", "caches that others can write", 14, 200),
    ("no room for cache files", "cache_files.py", "no room for cache files", 3, 60),
    ("resumed after a kill", "resuming.py", "", 0, 360),
    ("stray accesses planted in kernels", "stray_accesses.py", "", 0, 9),
)
ROW = re.compile(r"^(\S.*?) +(\d+) +(\d+)(?: +[\d.]+ s)?$", re.M)


def _enter(name: str, script: str, which: str, short: int, long: int) -> None:
    @part(name, short, long)
    def run(tries: int) -> Count:
        options = [*(["--long"] if tries == long else []), *([which] if which else [])]
        done = subprocess.run(
            [sys.executable, "-W", "error", str(FOLDER / script), *options],
            env=environment(),
            capture_output=True,
            text=True,
        )
        count = Count()
        for what, made, broken in ROW.findall(done.stdout):
            count.add(int(made), [f"{what}\n{done.stdout}"] * int(broken))
        if done.returncode and not count.broken or not count.tries:
            count.add(1, [f"{script}: exit code {done.returncode}\n{done.stderr}"])
        return count


for each in SCRIPTS:
    _enter(*each)
