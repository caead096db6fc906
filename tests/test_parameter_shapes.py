"""Parameters of another shape: the message says what mends them, and nothing has changed."""

import re

import numpy as np
import pytest
from trainer_cases import TARGETS, X, state_of, trainer_of

from fastnn import Dense, InvalidInput

LAYERS = [Dense(6, "prelu"), Dense(6, "tanh"), Dense(3)]

# Which array (layer, place in it) is given how, and what mends that.
WRONG = {
    "transposed W": ((0, 0), lambda W: W.T, "pass W.T, of every layer", np.transpose),
    "transposed last W": ((2, 0), lambda W: W.T, "pass W.T", np.transpose),
    "row b": ((0, 1), lambda b: b[None], r"pass numpy.reshape(b, (6,))", np.ravel),
    "column b": ((2, 1), lambda b: b[:, None], r"pass numpy.reshape(b, (3,))", np.ravel),
    "deep b": ((2, 1), lambda b: b[None, :, None], r"pass numpy.reshape(b, (3,))", np.ravel),
    "row slopes": ((0, 2), lambda s: s[None], r"pass numpy.reshape(slopes, (6,))", np.ravel),
}  # fmt: skip


def given(trainer, place, change):
    """Return a trainer's parameters, one of which is changed."""
    layers = [list(arrays) for arrays in trainer.parameters]
    layer, position = place
    layers[layer][position] = change(layers[layer][position])
    return [tuple(arrays) for arrays in layers]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", WRONG)
def test_an_array_in_another_form_is_named_with_what_mends_it(case, target):
    place, change, remedy, mend = WRONG[case]
    trainer, other = (trainer_of(LAYERS, seed=seed, target=target) for seed in (1, 2))
    before = state_of(trainer)
    name = "W b slopes".split()[place[1]]
    message = f"^{name} of Dense layer {place[0]} has shape .* but the network needs .*"
    with pytest.raises(InvalidInput, match=message + re.escape(remedy)):
        trainer.set_parameters(given(other, place, change))
    assert state_of(trainer) == before
    trainer.set_parameters(given(other, place, lambda array: mend(change(array))))
    assert np.array_equal(trainer.forward(X), other.forward(X))


@pytest.mark.parametrize(("units", "shape"), [(1, (4,)), (1, (1, 4, 1))])
def test_the_weights_of_one_unit_may_be_reshaped(units, shape):
    trainer = trainer_of([Dense(units)], loss="mse")
    (W, b), *_ = trainer.parameters
    with pytest.raises(InvalidInput, match=r"pass numpy.reshape\(W, \(4, 1\)\)"):
        trainer.set_parameters([(W.reshape(shape), b)])
    trainer.set_parameters([(np.reshape(W.reshape(shape), (4, 1)), b)])


def test_a_row_of_weights_is_a_transpose():
    trainer = trainer_of([Dense(1)], loss="mse")
    (W, b), *_ = trainer.parameters
    with pytest.raises(InvalidInput, match=r"shape \(1, 4\) .* \(4, 1\), .* pass W.T"):
        trainer.set_parameters([(W.T, b)])


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), [0.5], [[0.5]]])
def test_one_number_for_all_units_may_be_spread(value):
    trainer = trainer_of([Dense(3)])
    (W, _), *_ = trainer.parameters
    with pytest.raises(InvalidInput, match=r"numpy.full\(\(3,\), numpy.ravel\(b\)\)"):
        trainer.set_parameters([(W, value)])
    trainer.set_parameters([(W, np.full((3,), np.ravel(value)))])
    assert trainer.parameters[0][1].tolist() == [0.5] * 3


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 4, 3), (12,), (0,)])
def test_another_size_names_what_is_needed(shape):
    trainer = trainer_of([Dense(3)])
    (_, b), *_ = trainer.parameters
    with pytest.raises(InvalidInput, match=r"needs \(4, 3\), .* as trainer.parameters gives them"):
        trainer.set_parameters([(np.zeros(shape), b)])


def test_the_documentation_says_which_way_round_a_weight_is():
    text = type(trainer_of()).set_parameters.__doc__
    assert "W is (inputs, outputs)" in text and "W.T" in text and "from_torch" in text
