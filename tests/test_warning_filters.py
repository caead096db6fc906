"""Python's warning filters are those of the process: what trains in a thread leaves them alone."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.metrics import get_scorer_names  # noqa: E402

import fastnn  # noqa: E402
from fastnn import InvalidInput, TrainingWarning  # noqa: E402
from fastnn.estimators.tabular.scorers import check_task  # noqa: E402
from fastnn.estimators.tabular.splitting import split  # noqa: E402

TASKS = (None, np.arange(2), np.arange(3), np.array(["a", "b"]), np.array([False, True]))


def test_what_fits_and_draws_does_not_filter():
    folder = Path(fastnn.__file__).parent
    rooms = ("estimators", "tabular", "plots", "inputs", "interchange")
    files = [path for room in rooms for path in (folder / room).rglob("*.py")]
    filtering = [path.name for path in files if "catch_warnings" in path.read_text("utf-8")]
    assert len(files) > 50 and not filtering


def test_scorers_are_tried_without_a_warning():
    suited = {}
    for name in get_scorer_names():
        for place, task in enumerate(TASKS):
            try:
                check_task(name, [task], "--scoring")
                suited.setdefault(name, set()).add(place)
            except InvalidInput as error:
                assert f"{name} is not for" in str(error)
    assert suited["accuracy"] == {1, 2, 3, 4} and suited["r2"] == {0}
    assert suited["rand_score"] == {1, 2, 3, 4} and suited["positive_likelihood_ratio"] == {1, 3, 4}
    assert suited["top_k_accuracy"] == {2} and suited["f1"] == {1, 4}


@pytest.mark.parametrize("rare", [(7,), (7, 8, 9), (7, 20, 33, 46, 59)])
def test_rare_classes_of_groups_are_split_without_a_warning(rare):
    groups, y = np.repeat(np.arange(20), 5), np.arange(100) % 2
    y[[*rare]] = np.arange(len(rare)) % 3 + 2
    classes = int(y.max()) + 1
    training, validation = split(y, classes, 0.2, groups, np.random.RandomState(0))
    assert not {*groups[training]} & {*groups[validation]}
    assert {*y[training]} == {*range(classes)}


@pytest.mark.filterwarnings("error")
def test_pictures_of_what_has_not_learnt_say_nothing_of_it():
    pytest.importorskip("matplotlib").use("agg")
    X = np.linspace(-1, 1, 40)[:, None]
    network = fastnn.Network(1, [fastnn.Dense(4, "relu", init="zeros"), fastnn.Dense(1)])
    trainer = fastnn.Trainer(network, "mse", target="numpy")
    (W, b), last = trainer.parameters
    trainer.set_parameters([(W, b - 1), last])  # all units are dead
    places = [(0, "W", 0, 0), (0, "b", 0)]
    fastnn.plots.loss_surface(trainer, X, X[:, 0], epochs=9, parameters=places)
    fastnn.plots.animate(trainer, X, X[:, 0], frames=2, every=9).to_jshtml()
    with pytest.raises(TrainingWarning):
        trainer.fit(X, X[:, 0], 9)
