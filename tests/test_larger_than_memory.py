"""A file five times the memory that a process may have: it is trained on, and predicted.

RLIMIT_DATA bounds what a process has of its own (heap, stacks of threads, private maps) and no
pages of files, which the system may take back at any time: so that nothing copies the file is what
it proves. A control group's limit counts those pages too, as far as they cannot be taken back: a
process that holds more than that is killed.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="RLIMIT_DATA and /proc/self/status are Linux's"
)
MEGABYTE = 1 << 20
ROWS, COLUMNS, LIMIT = 600_000, 128, 60 * MEGABYTE
GROUPS = Path("/sys/fs/cgroup/memory")  # of version 1

CODE = """
import resource, sys
import numpy as np
from fastnn import Dense, Network, Trainer

path, limit, shuffle = sys.argv[1], int(sys.argv[2]), eval(sys.argv[3])

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

def trainer():
    layers = [Dense(4, "relu"), Dense(3)]
    return Trainer(Network(128, layers), shuffle=shuffle, batch_size=512, threads=1)

rows = np.load(path, mmap_mode="r")
trainer().fit(rows[:2000], np.zeros(2000, int), epochs=1)
trainer().evaluate(rows[:2000], np.zeros(2000, int))  # all libraries are there from here on
before = status("VmData")
resource.setrlimit(resource.RLIMIT_DATA, (before + limit, before + limit))
try:
    np.load(path)
except MemoryError:
    print("too large to be loaded")
labels = np.zeros(len(rows), np.int8)
labels[::3], labels[::7] = 1, 2
model = trainer()
model.fit(path, labels, epochs=1, validation_data=(path, labels))
model.predict(path), model.evaluate(path, labels)
print(model.step)
"""


@pytest.mark.parametrize("shuffle", [10_000, False])
def test_a_file_of_five_times_the_memory_trains_and_predicts(shuffle, tmp_path):
    file = np.lib.format.open_memmap(
        tmp_path / "rows.npy", "w+", np.float32, (ROWS, COLUMNS)
    )  # a hole, which takes no room on the disk
    assert file.nbytes > 4.8 * LIMIT
    file[:: ROWS // 50] = 1.0
    del file
    arguments = str(tmp_path / "rows.npy"), str(LIMIT), repr(shuffle)
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    loaded, steps = done.stdout.splitlines()
    assert loaded == "too large to be loaded" and int(steps) == -(-ROWS // 512)


IN_GROUP = """
import os, sys
from pathlib import Path
import numpy as np
from fastnn import Dense, Network, Trainer

path, limit, groups = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
labels = np.arange(600_000, dtype=np.int32) % 3
trainer = Trainer(Network(128, [Dense(4, "relu"), Dense(3)]), shuffle=20_000, batch_size=512)
rows = np.load(path, mmap_mode="r")
trainer.fit(rows[:2000], labels[:2000], epochs=1)  # all libraries are there from here on
group = groups / f"fastnn-{os.getpid()}"
group.mkdir()
try:
    (group / "memory.limit_in_bytes").write_text(str(limit))
    (group / "cgroup.procs").write_text("0")
    trainer.fit(path, labels, epochs=1)
    trainer.predict(path), trainer.evaluate(path, labels)
    print(int((group / "memory.max_usage_in_bytes").read_text()), trainer.step)
finally:
    (groups / "cgroup.procs").write_text("0")
    group.rmdir()
"""


@pytest.mark.skipif(
    not os.access(GROUPS / "cgroup.procs", os.W_OK), reason="nobody may make control groups here"
)
def test_a_control_group_of_a_fifth_of_the_file_is_enough(tmp_path):
    file = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float32, (ROWS, COLUMNS))
    file[:: ROWS // 50] = 1.0
    del file
    arguments = str(tmp_path / "rows.npy"), str(LIMIT), str(GROUPS)
    command = [sys.executable, "-W", "ignore", "-c", IN_GROUP, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    most, steps = map(int, done.stdout.split())
    assert most <= LIMIT and steps == -(-ROWS // 512) + 4
