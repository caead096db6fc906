"""One model over processes that mpiexec starts; `test_ranks` has what needs no MPI."""

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastnn

SCRIPT = Path(__file__).with_name("mpi_ranks.py")
HERE = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
MPIEXEC = shutil.which("mpiexec", path=HERE)
lacking = [
    name
    for name, there in (("mpi4py", importlib.util.find_spec("mpi4py")), ("mpiexec", MPIEXEC))
    if not there
]
pytestmark = pytest.mark.skipif(bool(lacking), reason=f"{' and '.join(lacking)} not installed")
SECONDS = 60  # of which most is for kernels that have to be compiled


@functools.cache
def launcher():
    """Return which mpiexec there is, in its own words."""
    done = subprocess.run([MPIEXEC, "--version"], capture_output=True, text=True, check=False)
    return done.stdout


def run(*arguments, processes=2, options=(), folder=None, stdin=None):
    """Return what the processes print, by rank, how they ended, and how long it took."""
    if "Open MPI" in launcher() or "OpenRTE" in launcher():
        options = *options, "--map-by", ":OVERSUBSCRIBE"  # more processes than cores
    environment = os.environ | {"PYTHONPATH": str(Path(fastnn.__file__).parents[1])}
    if os.geteuid() == 0:  # which Open MPI refuses otherwise
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = [MPIEXEC, *options, "-n", str(processes), sys.executable, *map(str, arguments)]
    start = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False,
        cwd=folder, stdin=stdin,
    )  # fmt: skip
    said: dict[int, list[str]] = {rank: [] for rank in range(processes)}
    for line in done.stdout.splitlines():
        rank, _, words = line.partition(" ")
        if rank.isdigit() and int(rank) in said:
            said[int(rank)].append(words)
    return said, done, time.monotonic() - start


def test_processes_come_to_the_same_bits_each_time_and_to_what_one_comes_to():
    said, done, _ = run(SCRIPT, "same")
    assert done.returncode == 0, done.stderr
    assert said[0] == said[1]
    first, again, cut, own = said[0]
    assert first == again and first.endswith("True") and own.startswith("own")
    assert cut.split()[1] == first.split()[1]


PAGES = [
    Path(fastnn.__file__).parent / "guide" / "many_machines.md",
    SCRIPT.parents[1] / "README.md",
]


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_lines_of_a_page_train_with_two_processes(tmp_path, page):
    blocks = re.findall(r"^```py\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (text,) = (each for each in blocks if "communicator=" in each)
    (tmp_path / "train.py").write_text(text)
    _, done, _ = run("-m", "mpi4py", "train.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    if page.name == "README.md":
        assert 0.0 < float(done.stdout) < 1.0
        return
    model = fastnn.Trainer.load(tmp_path / "model.safetensors")
    assert model.history.validation_accuracy[-1] > 0.8 and model.communicator is None


def test_the_command_line_trains_with_two_processes(tmp_path):
    x = np.random.default_rng(0).normal(size=(300, 2)).round(3)
    rows = [f"{a},{b},{'yes' if a + b > 0 else 'no'}" for a, b in x.tolist()]
    (tmp_path / "data.csv").write_text("\n".join(["a,b,label", *rows]))
    train = "-m", "fastnn", "train", "data.csv", "--mpi", "--label"
    _, done, _ = run(*train, "label", "--epochs", "2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("task") == 1 and done.stderr.count("epoch 2/2") == 1
    _, done, _ = run(*train, "labl", folder=tmp_path)
    assert done.returncode == 2 and done.stderr.count("there is no column 'labl'") == 1
    _, done, _ = run(*train, "label", "--epochs", "-1", folder=tmp_path)
    assert done.returncode == 2 and done.stderr.count("--epochs must be") == 1


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_table_that_can_be_read_once_is_refused_by_one_of_the_processes(name):
    """The standard input stays open meanwhile: nothing reads it."""
    reading, writing = os.pipe()
    try:
        os.write(writing, b"a,label\n1,yes\n")
        command = "-m", "fastnn", "train", name, "--mpi", "--label", "label"
        _, done, _ = run(*command, stdin=reading)
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("can be read once; write the table to a file") == 1


def test_processes_refuse_and_fail_together():
    said, done, _ = run(SCRIPT, "refused", processes=3)
    assert done.returncode == 0, done.stderr
    assert said[0][:2] == said[1][:2] == said[2][:2]
    assert "batch_size: rank 0 has 32, rank 1 has 33" in said[0][0]
    assert "the rows of X and y" in said[0][1]
    assert said[0][2] == "ValueError of the callback"
    assert said[1][2] == said[2][2]
    assert said[1][2].startswith("RankFailed rank 0 stopped the training of all: ValueError: of")


def test_ctrl_c_in_one_process_ends_all_with_the_same_state():
    said, done, _ = run(SCRIPT, "SIGINT")
    assert said[0] == said[1] and said[0][1].startswith("interrupted True"), done.stderr


def test_a_process_that_is_killed_ends_the_others():
    """The launcher is told not to see to that, where it can be."""
    options = ["-disable-auto-cleanup"] * ("HYDRA" in launcher())
    start = time.monotonic()
    said, done, _ = run(SCRIPT, "SIGKILL", processes=3, options=options)
    assert done.returncode != 0 and said[0] == ["begins"]
    assert time.monotonic() - start < 15  # of which 5 are for starting
