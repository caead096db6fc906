"""What estimators of tables warn of is said once, in words of what their callers can set."""

import re
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")
import fastnn  # noqa: E402
from fastnn.errors import TrainingWarning  # noqa: E402
from fastnn.estimators.tabular import fitting  # noqa: E402

RANDOM = np.random.default_rng(0)
Y = RANDOM.integers(0, 2, 200)
NOTHING = {
    "constant": np.ones((200, 3)),
    "missing": np.full((200, 2), np.nan),
    "keys": np.array([[f"u{row}"] for row in range(200)], object),
}
# What belongs to trainers and networks, which these estimators have not.
FOREIGN = re.compile(r"learning rate|activation|Trainer|Dense|epoch|batch_size|layer|leaky_relu")


def said_by(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return found


@pytest.mark.parametrize("more", [{}, {"time_limit": 3.0}], ids=["", "time_limit"])
@pytest.mark.parametrize("kind", ["TabularClassifier", "TabularRegressor"])
@pytest.mark.parametrize("X", NOTHING.values(), ids=NOTHING)
def test_columns_that_tell_nothing_are_said_once(X, kind, more):
    model = getattr(fastnn, kind)(n_members=10, max_iter=12, random_state=0, **more)
    found = said_by(lambda: model.fit(X, Y))
    assert len(found) == 1 and "no column is left to learn from" in str(found[0].message)
    assert found[0].filename == __file__ and not FOREIGN.search(str(found[0].message))
    assert np.isfinite(model.forward(X)).all()


@pytest.mark.parametrize("kind", ["TabularClassifier", "TabularRegressor"])
def test_members_that_learn_nothing_are_said_in_words_of_the_estimator(kind, monkeypatch):
    from fastnn.training import population

    monkeypatch.setattr(population, "tell_reason", lambda trainer, data, tell: tell("a layer"))
    model = getattr(fastnn, kind)(n_members=10, max_iter=3, random_state=0)
    found = said_by(lambda: model.fit(RANDOM.normal(size=(200, 3)), Y))
    assert [str(each.message) for each in found] == [fitting._NOTHING_LEARNT]
    assert issubclass(found[0].category, TrainingWarning) and found[0].filename == __file__
    assert not FOREIGN.search(fitting._NOTHING_LEARNT)
    monkeypatch.undo()
    assert not said_by(lambda: model.fit(RANDOM.normal(size=(200, 3)), Y))
