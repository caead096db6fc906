"""What benchmarks/gpu.py times, tried on the processor with small problems."""

from functools import partial

import gpu_part
import gpu_tasks
import numpy as np
import pytest
from gpu_workloads import Row, Task
from workloads import Workload, initial_parameters, synthetic


def test_small_problems_go_through_a_task_from_end_to_end(monkeypatch):
    monkeypatch.setattr(gpu_tasks, "LEAST_SECONDS", 0.0)
    outcome = gpu_tasks.run_task(Task("B", "fastnn", 10), "cpu", 240)
    assert outcome.error == ""
    assert [(each["row"], each["way"]) for each in outcome.records] == [
        ("B", "fastnn"),
        ("B1024", "fastnn"),
    ]
    assert all(each["seconds"] > 0 for each in outcome.records if each["row"] == "B")


@pytest.mark.parametrize("aim", [0.7, 1.01])
@pytest.mark.parametrize("contender", ["fastnn", "torch"])
def test_training_up_to_an_accuracy_tells_of_the_seconds_or_that_it_failed(
    contender, aim, monkeypatch, request
):
    if contender == "torch":
        torch = pytest.importorskip("torch")
        # Its threads spin: on cores that others use too, two of them take a minute.
        request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
        torch.set_num_threads(1)

    monkeypatch.setattr(gpu_part, "AIM", aim)
    monkeypatch.setitem(gpu_part.EPOCHS_AT_MOST, "accuracy", 6)
    row = Row("D: small", "D", Workload("small", (20, 32, 2), 16, 2000, 0.1))
    make = next(iter(gpu_part.makers(contender, "cpu").values()))
    found = gpu_part.until(make, row, synthetic(row.workload))
    assert len(found["runs"]) == 3
    assert found.get("seconds", 0) > 0 if aim < 1 else "did not come to" in found["failure"]


def test_mnist_is_left_out_where_there_is_none(monkeypatch):
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    told = []
    gpu_part.train_part("D", "fastnn", "cpu", lambda **record: told.append(record))
    assert [each["kind"] for each in told] == ["note"]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_pytorch_in_functions_follows_pytorch_in_modules(momentum):
    pytest.importorskip("torch")
    from contenders.torch_gpu_ import Eager, Graphs

    workload = Workload("small", (20, 32, 2), 600, 600, 0.05, momentum)  # a batch has all rows
    data, start = synthetic(workload), initial_parameters(workload)
    contenders = [kind(workload, data, start, "cpu") for kind in (Eager, Graphs)]
    for each in contenders:
        each.train(4)
    found, expected = (each.parameters() for each in contenders)
    for pair, other in zip(found, expected, strict=True):
        for array, own in zip(pair, other, strict=True):
            np.testing.assert_allclose(array, own, rtol=0, atol=1e-5)


def test_an_epoch_goes_through_every_row_in_graphs_of_many_steps_too():
    pytest.importorskip("torch")
    from contenders.torch_gpu_ import Functions, Graphs, LongGraphs

    workload = Workload("small", (20, 32, 2), 8, 8 * 70 + 3, 0.05)
    data, start = synthetic(workload), initial_parameters(workload)
    calls = {Functions: 71, Graphs: 71, LongGraphs: 2 + 6 + 1}
    for kind, count in calls.items():
        contender = kind(workload, data, start, "cpu")
        assert len(contender.sequence) == count
        (seconds,) = contender.train(1)
        assert seconds > 0 and int(contender.place) == 8 * 70 + 3
        assert sorted(contender.order[0].tolist()) == list(range(8 * 70 + 3))


def test_pytorch_trains_many_models_each_from_its_own_start():
    pytest.importorskip("torch")
    from contenders.torch_gpu_ import Graphs

    workload = Workload("small", (20, 32, 2), 600, 600, 0.05)  # a batch has all rows
    data, start = synthetic(workload), initial_parameters(workload)
    one = Graphs(workload, data, start, "cpu")
    many = Graphs(workload, data, start, "cpu", models=3)
    assert many.tensors[0].shape == (3, 20, 32)
    for each in (one, many):
        each.train(3)
    for pair, other in zip(one.parameters(), many.parameters(), strict=True):
        for array, expected in zip(pair, other, strict=True):
            np.testing.assert_allclose(array, expected, rtol=0, atol=1e-5)
