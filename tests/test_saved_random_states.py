"""A RandomState of an estimator of tables is in its file, or is refused there."""

import json

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnn  # noqa: E402
from fastnn.errors import CorruptFile, InvalidInput  # noqa: E402
from fastnn.storage import tensor_file  # noqa: E402

X = np.random.default_rng(0).normal(size=(60, 2))
KINDS = {
    fastnn.TabularClassifier: np.where(X[:, 0] > 0, "a", "b"),
    fastnn.TabularRegressor: X[:, 0] + X[:, 1] ** 2,
}


def fitted(kind, random_state):
    model = kind(n_members=1, max_iter=2, random_state=random_state, target="numpy")
    return model.fit(X, KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gauss", [False, True], ids=["even", "half of a pair is left"])
def test_a_random_state_goes_through_a_file_as_it_is(kind, gauss, tmp_path):
    random = np.random.RandomState(5)
    model = fitted(kind, random)
    if gauss:
        random.normal()
    model.save(tmp_path / "m")
    again = kind.load(tmp_path / "m")
    assert type(again.random_state) is np.random.RandomState and again.random_state is not random
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.random_state.normal(size=700), random.normal(size=700))
    again.fit(X, KINDS[kind])
    np.testing.assert_array_equal(again.predict(X), model.fit(X, KINDS[kind]).predict(X))


class Derived(np.random.RandomState):
    """Of which nobody knows what it does otherwise."""


@pytest.mark.parametrize("random", [np.random.RandomState(np.random.PCG64(1)), Derived(1)])
def test_a_random_state_that_a_file_cannot_keep_is_refused(random, tmp_path):
    model = fitted(fastnn.TabularClassifier, random)
    with pytest.raises(InvalidInput, match="random_state=.* cannot be saved"):
        model.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())
    model.set_params(random_state=None).save(tmp_path / "m")
    assert fastnn.TabularClassifier.load(tmp_path / "m").random_state is None


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.__setitem__(2, 625),
        lambda state: state.__setitem__(2, -1),
        lambda state: state[1].pop(),
        lambda state: state[1].__setitem__(0, -1),
        lambda state: state.__setitem__(0, "PCG64"),
        lambda state: state.pop(),
    ],
)
def test_a_damaged_state_is_refused(change, tmp_path):
    fitted(fastnn.TabularClassifier, np.random.RandomState(5)).save(tmp_path / "m")
    tensors, content = tensor_file.read(tmp_path / "m")
    content = json.loads(json.dumps(content))
    change(content["parameters"]["random_state"]["state"])
    tensor_file.write(tmp_path / "m", tensors, content)
    with pytest.raises(CorruptFile, match="is damaged"):
        fastnn.TabularClassifier.load(tmp_path / "m")
