"""Kernels that benchmarks/gpu.py compiles for a device that is not at hand."""

import os
import subprocess
import sys
from pathlib import Path

import gpu
import gpu_compile
import pytest
from gpu_check_jobs import jobs_of
from gpu_compile import compile_for, jobs_for, limits_of
from gpu_workloads import ROWS
from simulator import SIMULATED

BENCHMARKS = Path(gpu.__file__).parent
H200 = "9.0,132,232448"


def has_compilers():
    pytest.importorskip("numba_cuda")
    if SIMULATED:
        pytest.skip("the simulator compiles nothing")


def test_all_that_is_timed_and_checked_is_compiled():
    has_compilers()
    names = [job.name for job in jobs_for(gpu.PARTS)]
    timed = [name for name in names if not name.startswith("check")]
    assert sorted(timed) == sorted(ROWS)
    assert len(names) - len(timed) == len(jobs_of("cuda")) - 1
    checked = next(job for job in jobs_for(["check"]) if job.family == "tiled")
    assert {rule for _, rule in checked.problems} == {"sgd", "gradient"}


@pytest.mark.parametrize("text", ["9.0", "9,132,232448", "9.0,132", "9.0,132,x"])
def test_a_device_is_three_numbers(text, capsys):
    has_compilers()
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--compile-for", text])
    assert ended.value.code == 2
    assert "such as 9.0,132,232448" in capsys.readouterr().err


def test_a_process_with_such_a_device_finds_the_kernels(tmp_path):
    has_compilers()
    code = f"""
import sys
sys.path.insert(0, {str(BENCHMARKS)!r})
from unittest.mock import patch
import gpu_compile
limits = gpu_compile.limits_of({H200!r})
(job,) = [job for job in gpu_compile.jobs_for(["B"]) if job.networks == 1]
from numba.cuda import dispatcher
with patch.object(dispatcher, "compile_cuda", side_effect=AssertionError("compiled")):
    gpu_compile.compile_job(job, limits)
"""
    environment = os.environ | {"FASTNN_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "AssertionError: compiled" in done.stderr
    script = str(BENCHMARKS / "gpu.py")
    command = [sys.executable, script, "--compile-for", H200, "--parts", "B"]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert "B: compiled (" in made.stdout and "B1024: compiled (" in made.stdout
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_job_that_fails_or_has_no_time_is_told_of(monkeypatch):
    has_compilers()

    class Failed:
        def __init__(self, begun):
            self.begun = begun

        def cancel(self):
            return not self.begun

        def result(self):
            raise RuntimeError("no such device")

    class Pool:
        def __init__(self, *given, **more):
            self.jobs = 0

        def __enter__(self):
            return self

        def __exit__(self, *given):
            return None

        def submit(self, *given):
            self.jobs += 1
            return Failed(self.jobs == 1)

    monkeypatch.setattr(gpu_compile, "ProcessPoolExecutor", Pool)
    failed = compile_for(limits_of(H200), ["B"], -1.0)
    assert failed == ["B: RuntimeError: no such device", "B1024: no time was left for it"]
