"""A target that names one of several devices, wherever a target is given.

The simulator has one, which is made to look like two here: what is asked is who works on which.
`test_host_side` has what the driver is told, where arrays on the wrong device are an error.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from simulator import SIMULATED
from trainer_cases import LABELS, X, state_of, trainer_of

from fastnn import Ensemble, StepCallback, Trainer, sweep
from fastnn.errors import InvalidInput, TargetUnavailable
from fastnn.targets.cuda.host import availability

pytestmark = pytest.mark.usefixtures("running")


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """Have two devices; give those on which kernels are launched."""
    if not SIMULATED:
        pytest.skip("is about the simulator: a device has a driver")
    from fastnn.targets.cuda.block import family, row_orders
    from fastnn.targets.cuda.host import numba_cuda
    from fastnn.targets.cuda.tiled import family as tiled

    used: set[int] = set()
    launch = family.launch

    def noting(*given: object) -> None:
        used.add(numba_cuda.current_device())
        launch(*given)

    for module in (family, row_orders, tiled):
        monkeypatch.setattr(module, "launch", noting)
    monkeypatch.setattr(numba_cuda, "count_devices", lambda: 2)
    monkeypatch.setattr(availability, "_verdict", cache(availability._verdict.__wrapped__))
    yield used
    assert numba_cuda.current_device() == 0


def test_a_trainer_trains_and_predicts_on_the_device_that_it_names(
    two_devices: set[int],
) -> None:
    trainers = [trainer_of(target=name) for name in ("cuda:1", "cuda")]
    for trainer, device in zip(trainers, (1, 0), strict=True):
        history = trainer.fit(X, LABELS, 2, (X[:9], LABELS[:9]))
        trainer.predict(X)
        trainer.gradients(X, LABELS)
        assert two_devices == {device}
        two_devices.clear()
        assert history.where == history.target == trainer.target
        assert f"target={trainer.target!r}" in repr(trainer)
    named, first = map(state_of, trainers)
    assert named[3] == first[3] and named[2]["loss"] == first[2]["loss"]  # type: ignore[index]


def test_a_thread_of_another_device_does_not_change_that(two_devices: set[int]) -> None:
    from fastnn.targets.cuda.host.numba_cuda import on_device

    trainer = trainer_of(target="cuda:1")

    def work() -> None:
        with on_device(0):
            trainer.fit(X, LABELS, 1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with on_device(1):
        trainer_of(target="cuda:0").fit(X, LABELS, 1)
        trainer.fit(X, LABELS, 1)
    assert two_devices == {0, 1} and trainer.epoch == 2


def test_a_file_keeps_the_device_and_another_may_be_given(
    two_devices: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(target="cuda:1")
    trainer.fit(X, LABELS, 1)
    trainer.save(tmp_path / "model")
    Ensemble([trainer]).save(tmp_path / "ensemble")
    assert Trainer.load(tmp_path / "model").target == "cuda:1"
    assert Ensemble.load(tmp_path / "ensemble").members[0].target == "cuda:1"
    two_devices.clear()
    other = Trainer.load(tmp_path / "model", target="cuda:0")
    other.fit(X, LABELS, 1)
    Ensemble.load(tmp_path / "ensemble", target="cuda").predict(X)
    assert two_devices == {0}
    other.target = "cuda:1"
    other.fit(X, LABELS, 1)
    assert two_devices == {0, 1}
    monkeypatch.setattr(availability, "unavailable", lambda *given, **named: "looked for a device")
    for kind, name in ((Trainer, "model"), (Ensemble, "ensemble")):
        with pytest.raises(TargetUnavailable, match="target 'cuda:1' cannot run here"):
            kind.load(tmp_path / name)
        assert kind.load(tmp_path / name, target="cpu") is not None


def test_restarts_and_sweeps_share_launches_on_that_device(two_devices: set[int]) -> None:
    trainer_of(target="cuda:1").fit(X, LABELS, 2, restarts=3)
    assert two_devices == {1}
    two_devices.clear()
    result = sweep(trainer_of(), X, LABELS, 2, grid={"target": ["cuda:1", "cuda"]}, seeds=2)
    assert two_devices == {0, 1}
    losses = np.array([run.training_loss for run in result]).reshape(2, 2)
    assert (losses[0] == losses[1]).all()


def test_without_a_number_it_is_the_device_that_is_current_in_the_callers_thread(
    two_devices: set[int],
) -> None:
    from fastnn.targets.cuda.host.numba_cuda import on_device

    trainer = trainer_of(target="cuda")
    with on_device(1):
        trainer.fit(X, LABELS, 1)
        Ensemble([trainer_of(target="cuda")]).predict(X)
        assert two_devices == {1} and trainer.history.where == "cuda"
        # In threads of fastnn's own, where another device is current: alone and together.
        sweep(trainer_of(), X, LABELS, 1, grid={"target": ["cuda"], "batch_size": [5, 7]})
        sweep(trainer_of(), X, LABELS, 1, grid={"target": ["cuda"]}, seeds=2)
        several = trainer_of(target="cuda")
        several.fit(X, LABELS, 2, restarts=3)
        assert two_devices == {1} and several.history.where == "cuda:1"
        assert several.target == "cuda"
    trainer.fit(X, LABELS, 1)
    trainer.predict(X)
    assert two_devices == {1}, "it stays where it began"
    two_devices.clear()
    trainer_of(target="cuda").fit(X, LABELS, 1)
    assert two_devices == {0}


def test_a_callback_within_an_epoch_is_refused_there_too(two_devices: set[int]) -> None:
    with pytest.raises(InvalidInput, match="target 'cuda', where one launch does many steps"):
        trainer_of(target="cuda:1").fit(X, LABELS, 1, callbacks=StepCallback(print))


def test_estimators_take_the_name_of_a_device(two_devices: set[int]) -> None:
    pytest.importorskip("sklearn")
    from fastnn import MLPClassifier

    model = MLPClassifier((4,), target="cuda:1", batch_size=16)
    model.partial_fit(X, LABELS, classes=[0, 1, 2])
    assert two_devices == {1}


def test_the_simulator_alone_is_one_device() -> None:
    if not SIMULATED:
        pytest.skip("is about the simulator")
    with pytest.raises(TargetUnavailable, match="device 1: there is 1 device, cuda:0"):
        trainer_of(target="cuda:1")
