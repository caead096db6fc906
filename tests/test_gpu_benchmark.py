"""What benchmarks/gpu.py does without a device: arguments, time, table, what it calls failed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import gpu
import gpu_checks
import gpu_table
import gpu_tasks
import gpu_workloads
import numpy as np
import pytest
from fake_driver import no_driver, with_device
from gpu_limits import floor_seconds
from gpu_tasks import Budget, Outcome
from gpu_workloads import ROWS, TASKS, Task

from fastnn import InvalidInput
from fastnn.inputs.problem import Problem
from fastnn.network import SGD, Dense, Network
from fastnn.targets import numpy as reference
from fastnn.targets.cuda.host import worthwhile


def figure(row, way, seconds, **more):
    return {"kind": "figure", "row": row, "way": way, "seconds": seconds, **more}


def test_without_a_device_it_says_why_and_ends_with_2(monkeypatch, capsys):
    no_driver(monkeypatch)
    assert gpu.main([]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("gpu.py needs a CUDA device: looked for NVIDIA's driver")
    assert not said.out


def test_the_simulator_is_no_device(monkeypatch, capsys):
    with_device(monkeypatch)
    monkeypatch.setattr("fastnn.targets.cuda.host.availability.simulated", lambda: True)
    assert gpu.main(["--parts", "check"]) == 2
    assert "the simulator is no device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--parts", "A,E"], "'E' is not one of check, limits, A, B, C, D"),
        (["--seconds", "0"], "0 is not above 0"),
        (["--json", "/no/such/folder/file"], "there is no folder"),
        (["--device", "tpu"], "unknown target 'tpu'"),
        (["--device", "cuda:x"], "named by its number"),
        (["--device", "numpy"], "cuda, cuda:N or cpu"),
        (["--device", "cuda:2"], "CUDA_VISIBLE_DEVICES=4,6 shows 2"),
    ],
)
def test_arguments_that_cannot_be_used_end_with_2(arguments, complaint, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    with pytest.raises(SystemExit) as stop:
        gpu.main(arguments)
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(("shown", "number"), [("", "1"), ("4,6", "6")])
def test_a_device_with_a_number_is_the_only_one_that_all_tasks_see(monkeypatch, shown, number):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert gpu.parse(["--device", "cuda"]).device == "cuda"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == shown
    assert gpu.parse(["--device", "cuda:1"]).device == "cuda"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == number


def test_all_parts_together_end_before_eight_minutes():
    assert sum(task.seconds for task in TASKS) <= gpu_workloads.TOTAL_SECONDS <= 460
    assert len(set(TASKS)) == len(TASKS)
    assert {task.part for task in TASKS} == {row.part for row in ROWS.values()} | {
        "check",
        "limits",
    }


def test_a_task_has_its_share_and_what_those_before_it_left():
    now = 100.0
    tasks = Task("A", "fastnn", 10), Task("B", "fastnn", 20), Task("C", "fastnn", 30)
    budget = Budget(tasks, 120.0, lambda: now)
    assert budget.left(tasks[0]) == pytest.approx(20)  # stretched to fill the total
    now = 105.0
    assert budget.left(tasks[1]) == pytest.approx(55)
    now = 160.0
    assert [budget.left(task) for task in tasks] == pytest.approx([0, 0, 60])


def test_without_pytorch_only_fastnn_is_timed():
    assert {task.contender for task in gpu.tasks_of(["A", "limits"], torch=False)} == {"fastnn"}
    assert gpu.tasks_of(["D"], torch=True) == [task for task in TASKS if task.part == "D"]


def child(tmp_path, code):
    script = tmp_path / "child.py"
    script.write_text(f"import os, sys, time, subprocess\nrecords = sys.argv[-1]\n{code}")
    return str(script)


RECORD = "open(records, 'a').write('{\"kind\": \"limit\"}\\n')"


def test_what_a_task_told_of_is_kept_when_it_fails(tmp_path):
    code = f"{RECORD}; open(records, 'a').write('torn'); raise ValueError('lost device')"
    outcome = gpu_tasks.run([child(tmp_path, code)], 60)
    assert outcome.records == [{"kind": "limit"}]
    assert outcome.error == "ValueError: lost device"


def test_a_task_that_a_signal_ends_is_told_of(tmp_path):
    outcome = gpu_tasks.run([child(tmp_path, f"{RECORD}; os.abort()")], 60)
    assert len(outcome.records) == 1 and "ended by signal 6" in outcome.error


def test_a_task_that_hangs_ends_in_time_with_its_own_children(tmp_path):
    code = (
        f"{RECORD}\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'other')!r}, 'w').write(str(other.pid))\n"
        "time.sleep(60)"
    )
    start = time.monotonic()
    outcome = gpu_tasks.run([child(tmp_path, code)], 5)
    assert outcome.error == "not done after 5 s" and len(outcome.records) == 1
    other = int((tmp_path / "other").read_text())
    while running(other) and time.monotonic() - start < 50:
        time.sleep(0.05)
    assert not running(other)


def running(process):
    """Return whether a process still runs; one that has ended may wait for its parent to notice."""
    try:
        with open(f"/proc/{process}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_task_without_time_is_not_begun():
    outcome = gpu_tasks.run_task(Task("A", "fastnn", 10), "cpu", 0.5)
    assert outcome.error == "no time was left for it"


RECORDS = [
    figure("A64", "fastnn", 5e-6),
    figure("A64", "graphs", 30e-6),
    figure("A64", "compiled graphs", 10e-6),
    figure("B", "graphs", 20e-6),
    figure("B1024", "fastnn", 0.05e-6),
    figure("B1024", "graphs", 0.5e-6),
    figure("C-float32", "fastnn", 3e-3),
    figure("C-float32", "eager", 2.4e-3),
    figure("C-float32", "compiled", 2.7e-3),
    {"kind": "limit", "name": "GEMM float32, FLOP/s", "value": 50e12},
    {"kind": "limit", "name": "grid barrier, s", "value": 1.5e-6},
]


@pytest.mark.parametrize(
    ("key", "expected"), [("A64", 6), ("B1024", 400), ("C-float32", 0.8), ("B", None), ("D", None)]
)
def test_ratios_are_to_the_pytorch_that_each_row_is_measured_by(key, expected):
    found = gpu_table.ratio(key, gpu_table.figures(RECORDS))
    assert found is None if expected is None else found == pytest.approx(expected)


def test_the_table_has_a_row_for_each_figure_with_what_it_has_to_reach():
    lines = gpu_table.table(RECORDS, 132, ["A", "B", "C", "D"])
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    cells = [each.strip() for each in rows["A: 784-128-10, batch 64"].split("|")[2:-1]]
    assert cells == ["5", "-", "30", "-", "-", "10", "3", "6", "5 x graphs, met"]
    assert "500 x graphs, missed" in rows["B: 1024 at once, time of one"]
    assert "0.85 x the best, missed" in rows["C: 2048-2048-2048-10, batch 4096"]
    assert "| 0.6 x the best " in rows["C: tf32"]
    assert len(rows) == len(ROWS) + 1


def test_a_part_that_was_not_measured_has_no_rows():
    lines = gpu_table.table(RECORDS, 132, ["A"])
    assert sum("784-128-10" in line for line in lines) == 2
    assert not any("2048" in line for line in lines)


def test_the_limit_of_a_step_is_barriers_or_products():
    limits = gpu_table.limits_of(RECORDS)
    assert floor_seconds(ROWS["A64"], limits, 132) == pytest.approx(3e-6)
    products = gpu_workloads.step_operations(ROWS["B"].workload) / 50e12
    assert floor_seconds(ROWS["B"], limits, 132) == pytest.approx(132 * products)
    assert floor_seconds(ROWS["B1024"], limits, 132) == pytest.approx(products)
    assert floor_seconds(ROWS["C-tf32"], limits, 132) is None
    assert floor_seconds(ROWS["D"], limits, 132) is None


@pytest.mark.parametrize("key", ["A64", "B", "C-float32"])
def test_operations_of_a_step_are_those_that_fastnn_chooses_targets_by(key):
    workload = ROWS[key].workload
    network = Network(workload.widths[0], [Dense(n) for n in workload.widths[1:]])
    problem = Problem(network, "mse", SGD(0.1), workload.batch, 0.0, 0.0, "float32", 0)
    assert gpu_workloads.step_operations(workload) == worthwhile.step_operations(problem)


def case_record(**more):
    return {"kind": "check", "family": "grid", "dtype": "float32", "case": "l2", **more}


def test_checks_are_counted_by_family_and_failures_are_named():
    records = [
        case_record(error=1e-6, failure=""),
        case_record(error=None, failure="differs by inf"),
        case_record(left_out="too large"),
        {"kind": "checked", "without_time": 2, "unseen": ["tiled, tf32"]},
    ]
    lines = list(gpu_table.check_lines(records))
    assert lines[0].startswith(
        "Checks: grid, float32: 1 of 2 as the NumPy target has it, 1 it does"
    )
    assert lines[1] == "FAILED: grid, float32, l2: differs by inf"
    assert list(gpu_table.failures(records, True)) == [
        "grid, float32, l2: differs by inf",
        "tiled, tf32: no case had time",
    ]
    assert next(gpu_table.warnings(records)).startswith("2 cases of the checks had no time")


def test_a_family_that_takes_nothing_and_checks_without_an_end_are_failures():
    found = list(gpu_table.failures([case_record(left_out="too large")], True))
    assert found == ["grid: takes none of the cases", "the checks did not come to their end"]
    assert not list(gpu_table.failures([], False))


def test_notes_and_losses_that_are_apart_are_told_of():
    records = [
        figure("A64", "fastnn", 1.0, loss=0.5),
        figure("A64", "graphs", 1.0, loss=0.7),
        figure("A512", "fastnn", 1.0, loss=0.5),
        figure("A512", "graphs", 1.0, loss=0.51),
        {"kind": "note", "row": "D", "note": "left out"},
    ]
    notes = list(gpu_table.warnings(records))
    assert len(notes) == 2
    assert "left out" in notes[0] and "are apart: fastnn 0.5, graphs 0.7" in notes[1]


@pytest.mark.parametrize("failing", [False, True])
def test_one_part_that_fails_leaves_the_others_and_ends_with_1(
    failing, tmp_path, monkeypatch, capsys
):
    def run_task(task, device, seconds):
        assert 0 < seconds <= 460
        if failing and task.contender == "fastnn":
            return Outcome([], 1.0, "an illegal access in grid_epoch")
        return Outcome([figure("A64", task.contender, 1e-5)], 1.0)

    monkeypatch.setattr(gpu, "run_task", run_task)
    monkeypatch.setattr(gpu, "is_installed", lambda library: True)
    file = tmp_path / "gpu.json"
    arguments = ["--device", "cpu", "--parts", "A", "--json", str(file)]
    assert gpu.main(arguments) == int(failing)
    said = capsys.readouterr().out
    assert ("FAILED: A fastnn: an illegal access in grid_epoch" in said) == failing
    assert "| A: 784-128-10, batch 64 " in said
    content = json.loads(file.read_text())
    assert content["records"] and bool(content["failures"]) == failing


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_cases_of_the_checks_train_and_agree_with_themselves(dtype):
    names = set()
    for case in gpu_checks.cases(dtype):
        assert (case.name, case.kind) not in names
        names.add((case.name, case.kind))
        if case.rows <= 41:
            found = gpu_checks.trained(reference.Engine(case.problem, None), case)
            assert all(np.isfinite(array).all() for array in found), case.name
            assert gpu_checks.worst(found, found) == 0.0
    assert len(names) > 60


def test_a_check_tells_of_errors_refusals_and_differences():
    case = next(gpu_checks.cases("float64"))

    def engine_class(change):
        def make(problem, threads, family):
            if family == "block":
                raise InvalidInput("too large for one block")
            engine = reference.Engine(problem, threads)
            forward = engine.forward
            engine.forward = lambda X: change(forward(X))
            return engine

        return make

    def broken(outputs):
        raise RuntimeError("an illegal access")

    assert gpu_checks.check(engine_class(abs), case, "block")["left_out"].startswith("too large")
    assert gpu_checks.check(engine_class(lambda p: p), case, "grid")["failure"] == ""
    differing = gpu_checks.check(engine_class(lambda p: p * 1.001), case, "grid")
    assert differing["failure"] == "differs by 0.001"
    assert "illegal access" in gpu_checks.check(engine_class(broken), case, "grid")["failure"]
    without = gpu_checks.check(engine_class(lambda p: p * np.nan), case, "grid")
    assert (without["error"], without["failure"]) == (None, "differs by inf")


def test_trainers_of_the_processor_pass_the_checks_of_trainers():
    records = {each["case"]: each for each in gpu_checks.check_trainers("cpu")}
    assert [each["failure"] for each in records.values()] == [""] * 3


BARRIERS_OF_ONE_BLOCK = """
from types import SimpleNamespace
import gpu_limits
from fastnn.targets.cuda.host import availability as found
found.devices = lambda: [SimpleNamespace(multiprocessors=1)]
gpu_limits.BARRIERS = 4
print(type(gpu_limits.barrier_seconds(threads=1)))
"""


def test_the_kernel_of_barriers_runs_in_the_simulator():
    pytest.importorskip("numba_cuda")
    places = [*map(str, {Path(gpu.__file__).parent, Path(worthwhile.__file__).parents[4]})]
    changes = {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-c", BARRIERS_OF_ONE_BLOCK]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | changes)
    assert done.stdout == "<class 'float'>\n", done.stderr
