"""What a Problem accepts, and what it says of what it refuses."""

import math

import numpy as np
import pytest

from fastnn.errors import InvalidInput
from fastnn.inputs.problem import PRECISIONS, Problem
from fastnn.network import SGD, Dense, Network
from fastnn.optimizers import OPTIMIZERS
from fastnn.rules.table import ACTIVATIONS, LOSSES


def problem(network=None, **changes):
    settings = {
        "network": network or Network(3, [Dense(2)]),
        "loss": "mse",
        "optimizer": SGD(0.1),
        "batch_size": 4,
        "l1": 0.0,
        "l2": 0.0,
        "dtype": "float32",
        "seed": 0,
    }
    return Problem(**(settings | changes))


@pytest.mark.parametrize(
    "dtype", ["float32", np.float32, np.dtype(np.float32), "f4", "float64", np.float64, float]
)
def test_dtype_becomes_one_of_the_two_dtypes(dtype):
    assert problem(dtype=dtype).dtype == np.dtype(dtype)
    assert isinstance(problem(dtype=dtype).dtype, np.dtype)


def test_numbers_become_plain_python_numbers():
    found = problem(batch_size=np.int32(8), l1=np.float32(0.5), l2=1, seed=np.uint8(3))
    kinds = [type(value) for value in (found.batch_size, found.l1, found.l2, found.seed)]
    assert kinds == [int, float, float, int]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", [kind(learning_rate=0.1) for kind in OPTIMIZERS])
def test_every_loss_goes_with_every_optimizer(loss, optimizer):
    assert problem(loss=loss, optimizer=optimizer).loss == loss


def test_limits_of_the_gradient_are_kept_as_floats_or_none():
    found = problem(clip_value=np.float32(0.5), clip_norm=2)
    assert (found.clip_value, found.clip_norm, found.clips) == (0.5, 2.0, True)
    assert (type(found.clip_value), type(found.clip_norm)) == (float, float)
    assert (problem().clip_value, problem().clip_norm, problem().clips) == (None, None, False)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_is_one_of_float32_and_float32_is_the_default(precision):
    assert problem(precision=precision).precision == precision
    assert problem(dtype="float64").precision == "float32"


def test_the_largest_seed_is_taken():
    assert problem(seed=2**63 - 1).seed == 2**63 - 1


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"network": "784-10"}, "network must be a Network, not '784-10'"),
        ({"loss": "msee"}, "unknown loss 'msee'; did you mean 'mse'"),
        ({"loss": None}, "unknown loss None"),
        ({"loss": ["mse"]}, r"unknown loss \['mse'\]"),
        ({"optimizer": 0.1}, r"optimizer must be .* such as SGD\(0.1\) .*, not 0.1"),
        ({"optimizer": SGD}, "optimizer must be"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, not 0"),
        ({"batch_size": 2.0}, "batch_size must be a whole number"),
        ({"batch_size": True}, "batch_size must be a whole number"),
        ({"l1": -0.1}, r"l1 must be a finite number in \[0, inf\), not -0.1"),
        ({"l2": math.nan}, "l2 must be a finite number"),
        ({"l2": math.inf}, "l2 must be a finite number"),
        ({"l2": "0"}, "l2 must be a finite number"),
        ({"clip_value": 0.0}, r"clip_value, .* must be a finite number in \(0, inf\), not 0.0"),
        ({"clip_value": -1}, r"clip_value, .* in \(0, inf\), not -1"),
        ({"clip_value": math.inf}, "clip_value, .* a finite number .* not inf"),
        ({"clip_value": "1"}, "clip_value, .* not '1'"),
        ({"clip_value": True}, "clip_value, .* not True"),
        ({"clip_norm": 0}, r"clip_norm, if not None, must be a finite number in \(0, inf\), not 0"),
        ({"clip_norm": math.nan}, "clip_norm, .* not nan"),
        ({"clip_norm": [1.0]}, r"clip_norm, .* not \[1.0\]"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64', not 'float16'"),
        ({"dtype": "complex64"}, "dtype must be"),
        ({"dtype": ">f4"}, "dtype must be"),
        ({"dtype": "flaot32"}, "dtype must be .* not 'flaot32'"),
        ({"dtype": None}, "dtype must be .* not None"),
        ({"precision": "tf23"}, "unknown precision 'tf23'; did you mean 'tf32'"),
        ({"precision": "bf16"}, "unknown precision 'bf16'; did you mean 'bfloat16'"),
        ({"precision": None}, "unknown precision None"),
        (
            {"precision": "tf32", "dtype": "float64"},
            "precision 'tf32' is for dtype 'float32', not 'float64'",
        ),
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"seed": None}, "seed must be a whole number"),
        ({"seed": 2**63}, r"seed must be below 2\*\*63, not 9223372036854775808"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_name_and_value(changes, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        problem(**changes)


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "identity"])
@pytest.mark.parametrize("loss", [name for name, row in LOSSES.items() if row.from_logits])
def test_a_loss_of_raw_outputs_wants_no_activation_and_says_what_to_write(loss, activation):
    network = Network(3, [Dense(2, activation)])
    with pytest.raises(InvalidInput, match=rf"activation '{activation}'; make it Dense\(2\)"):
        problem(network, loss=loss)
    hidden = Network(3, [Dense(2, activation), Dense(2)])
    assert problem(hidden, loss=loss).network is hidden


def test_softmax_cross_entropy_on_one_output_names_the_loss_to_use():
    network = Network(3, [Dense(1)])
    with pytest.raises(InvalidInput, match="at least 2.* has 1; .*'binary_cross_entropy'"):
        problem(network, loss="softmax_cross_entropy")
    assert problem(network, loss="binary_cross_entropy").network.outputs == 1


def test_a_problem_cannot_be_changed():
    with pytest.raises(AttributeError):
        problem().batch_size = 8


def test_a_batch_size_that_is_a_word_says_how_to_take_all_rows():
    with pytest.raises(InvalidInput, match=r"not 'full'; for one update an epoch .* give len\(X\)"):
        Problem(Network(2, [Dense(1)]), "mse", SGD(0.1), "full", 0.0, 0.0, np.dtype("float32"), 0)
