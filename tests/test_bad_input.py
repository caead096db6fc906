"""What cannot be used is refused with its value, its place and a remedy, and changes nothing."""

import decimal
import fractions
import math

import numpy as np
import pytest
from fake_driver import no_driver
from scipy import sparse
from trainer_cases import BINARY, LABELS, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    AveragedSGD,
    Dense,
    Dropout,
    EarlyStopping,
    FastnnError,
    InvalidInput,
    Lion,
    Nadam,
    Network,
    RMSProp,
    TargetUnavailable,
    Trainer,
)


def changed(array, place, value):
    """Return a copy of `array` with `value` at `place`."""
    copied = array.copy()
    copied[place] = value
    return copied


FEATURES = {
    "NaN": (changed(X, (5, 2), np.nan), "X value nan at row 5, column 2 .*nan_to_num"),
    "infinity": (changed(X, (36, 0), np.inf), "X value inf at row 36, column 0"),
    "minus infinity": (changed(X, (0, 3), -np.inf), "X value -inf at row 0, column 3"),
    "beyond float32": (
        changed(X.astype(np.float64), (1, 1), 1e39),
        'X value 1e\\+39 at row 1, column 1 is too large for float32.*dtype="float64"',
    ),
    "too wide": (np.ones((37, 5)), "X has 5 columns but the network has 4 inputs; .*\\(37, 4\\)"),
    "too narrow": (X[:, :3], "X has 3 columns but the network has 4 inputs"),
    "vector": (X[:, 0], r"X has shape \(37,\) .*two-dimensional.*reshape\(1, -1\)"),
    "scalar": (1.5, r"X has shape \(\)"),
    "cube": (X[:, :, None], r"X has shape \(37, 4, 1\) .*flatten"),
    "no rows": (X[:0], r"X has no rows \(shape \(0, 4\)\)"),
    "empty list": ([], "X has no rows"),
    "None": (None, "X is None and no array of numbers"),
    "a dict": ({"a": X}, "X is of type dict and no array of numbers; pass a NumPy array"),
    "a set": ({1, 2}, "X is of type set and no array"),
    "an iterator": (iter(X), "X is of type iterator and no array"),
    "strings": (X.astype(str), "X has dtype <U.*turn strings into numbers"),
    "bytes": (X.astype(bytes), "X has dtype .S.*turn strings into numbers"),
    "objects": (
        changed(X.astype(object), (5, 1), "one"),
        "X has dtype object, .* value 'one' at row 5, column 1 is no number; turn strings",
    ),
    "an object without a value": (
        changed(X.astype(object), (5, 1), None),
        "X has dtype object, .* value None at row 5, column 1 is no number; fill or drop",
    ),
    "complex": (X.astype(np.complex64), "X has dtype complex64.*real and imaginary"),
    "dates": (X.astype("datetime64[s]"), "X has dtype datetime64.*turn dates into numbers"),
    "ragged": ([[1.0, 2.0, 3.0, 4.0], [1.0]], "X .list. cannot be read as an array"),
    "sparse NaN": (sparse.csr_matrix(changed(X, (5, 2), np.nan)), "X value nan at row 5, column 2"),
    "masked": (np.ma.masked_less(X, 0), "X has masked values"),
}

CLASSES = {
    "too many": (changed(LABELS, 3, 3), "y has label 3 at row 3, .* 3 outputs: labels are 0..2"),
    "negative": (changed(LABELS, 3, -1), "y has label -1 at row 3.*number the classes from 0"),
    "fractional": (LABELS + 0.5, 'y value .*at row 0 is fractional.*loss="mse"'),
    "NaN": (changed(LABELS * 1.0, 4, np.nan), "y value nan at row 4"),
    "infinity": (changed(LABELS * 1.0, 4, np.inf), "y value inf at row 4"),
    "strings": (np.array(["cat", "dog"])[BINARY], "y has dtype <U3.*return_inverse"),
    "objects": (LABELS.astype(str).astype(object), "y has dtype object, .* value '.' at row 0 is"),
    "complex": (LABELS.astype(complex), "y has dtype complex128"),
    "one-hot": (np.eye(4)[LABELS], r"y has shape \(37, 4\).*y.argmax\(axis=1\)"),
    "no probabilities": (2 * np.eye(3)[LABELS], r"y sums to 2 in row 0.*y / y.sum\(axis=1"),
    "a negative one": (np.eye(3)[LABELS] * 2 - 1 / 3, "y value -0.33.* at row 0.*is negative"),
    "a sum that is short": (changed(np.eye(3)[LABELS], 5, [0, 0.9, 0]), "y sums to 0.9 in row 5"),
    "cube": (LABELS[:, None, None], r"y has shape \(37, 1, 1\)"),
    "too short": (LABELS[:36], "y has 36 rows but there are 37 samples"),
    "too long": (np.append(LABELS, 0), "y has 38 rows but there are 37 samples"),
    "empty": (LABELS[:0], "y has 0 rows"),
    "None": (None, "y is None and no array"),
    "huge": (changed(LABELS * 1.0, 3, 1e300), r"y has label 1e\+300 at row 3"),
}

BINARIES = {
    "-1 and 1": (2 * BINARY - 1, r"takes 0 and 1; .*\(y \+ 1\) / 2"),
    "three classes": (LABELS, 'value 2 at row .*takes 0 and 1; .*"softmax_cross_entropy"'),
    "a half": (changed(BINARY * 1.0, 0, 0.5), "value 0.5 at row 0"),
    "NaN": (changed(BINARY * 1.0, 0, np.nan), "value nan at row 0"),
    "two columns": (np.zeros((37, 2)), r"y has shape \(37, 2\) .*takes \(37,\) or \(37, 1\)"),
}

NUMBERS = {
    "NaN": (changed(REAL, 9, np.nan), "y value nan at row 9"),
    "infinity": (changed(REAL, 9, np.inf), "y value inf at row 9"),
    "beyond float32": (changed(REAL.astype(np.float64), 9, 1e39), "too large for float32"),
    "strings": (REAL.astype(str), "y has dtype <U"),
    "two columns": (np.zeros((37, 2)), r"y has shape \(37, 2\)"),
}

ROW_WEIGHTS = {
    "negative": (changed(WEIGHTS, 7, -0.5), "sample_weight value -0.5 at row 7 is negative"),
    "NaN": (changed(WEIGHTS, 7, np.nan), "sample_weight value nan at row 7"),
    "infinity": (changed(WEIGHTS, 7, np.inf), "sample_weight value inf at row 7"),
    "zeros": (np.zeros(37), "sample_weight is 0 in every row"),
    "too short": (WEIGHTS[:5], r"sample_weight has shape \(5,\) but must be \(37,\)"),
    "two columns": (np.ones((37, 2)), r"sample_weight has shape \(37, 2\) but must be \(37,\)"),
    "one a class": (
        np.ones((37, 3)),
        r"sample_weight has shape .*softmax_cross_entropy is a loss of the whole row",
    ),
    "cube": (WEIGHTS[:, None, None], r"sample_weight has shape \(37, 1, 1\)"),
    "strings": (WEIGHTS.astype(str), "sample_weight has dtype <U"),
}


def cases(table):
    return pytest.mark.parametrize(("value", "message"), table.values(), ids=table)


def refused(trainer, message, call):
    """Check that `call` is refused with `message`, and leaves `trainer` as it was."""
    before = state_of(trainer)
    with pytest.raises(InvalidInput, match=message) as found:
        call()
    assert isinstance(found.value, ValueError) and isinstance(found.value, FastnnError)
    assert state_of(trainer) == before


@pytest.fixture(params=TARGETS, scope="module")
def trained(request):
    trainer = trainer_of(target=request.param, optimizer=Adam(0.01))
    trainer.fit(X, LABELS, epochs=2, validation_data=(X, LABELS))
    return trainer


@cases(FEATURES)
def test_features_that_no_network_takes_are_refused_everywhere(trained, value, message):
    refused(trained, message, lambda: trained.fit(value, LABELS))
    refused(trained, message, lambda: trained.evaluate(value, LABELS))
    refused(trained, message, lambda: trained.predict(value))
    refused(trained, message, lambda: trained.predict_proba(value))
    refused(trained, message, lambda: trained.forward(value))
    within = f"in validation_data, {message}"
    refused(trained, within, lambda: trained.fit(X, LABELS, validation_data=(value, LABELS)))


@cases(CLASSES)
def test_labels_that_are_no_classes_are_refused(trained, value, message):
    refused(trained, message, lambda: trained.fit(X, value))
    refused(trained, message, lambda: trained.evaluate(X, value))
    within = f"in validation_data, {message}"
    refused(trained, within, lambda: trained.fit(X, LABELS, validation_data=[X, value]))


@cases(ROW_WEIGHTS)
def test_weights_that_weigh_nothing_are_refused(trained, value, message):
    refused(trained, message, lambda: trained.fit(X, LABELS, sample_weight=value))
    refused(trained, message, lambda: trained.evaluate(X, LABELS, value))
    within = f"in validation_data, {message}"
    refused(trained, within, lambda: trained.fit(X, LABELS, validation_data=(X, LABELS, value)))


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "perceptron", "hinge", "squared_hinge"])
@cases(BINARIES)
def test_labels_that_are_not_0_and_1_are_refused(loss, value, message):
    trainer = trainer_of([Dense(1)], loss=loss)
    refused(trainer, message, lambda: trainer.fit(X, value))
    refused(trainer, message, lambda: trainer.evaluate(X, value))


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
@cases(NUMBERS)
def test_targets_that_are_no_numbers_are_refused(loss, value, message):
    trainer = trainer_of([Dense(1)], loss=loss)
    refused(trainer, message, lambda: trainer.fit(X, value))
    refused(trainer, message, lambda: trainer.evaluate(X, value))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": -1}, "epochs must be a whole number of at least 0, not -1"),
        ({"epochs": 2.0}, "epochs must be a whole number"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"epochs": "3"}, "epochs must be a whole number of at least 0, not '3'"),
        ({"epochs": None}, "epochs must be a whole number"),
        ({"validation_data": X}, r"must be \(X, y\) or \(X, y, sample_weight\), not a ndarray"),
        ({"validation_data": (X,)}, "validation_data must be .* not a tuple of 1"),
        ({"validation_data": (X, LABELS, WEIGHTS, 1)}, "validation_data must be .* tuple of 4"),
        ({"validation_data": 0.1}, "validation_data must be .* not a float"),
        ({"callbacks": 3}, "callbacks must be a function .*, or a list of such, not 3"),
        ({"callbacks": [EarlyStopping]}, r"callbacks\[0\] is the class .*EarlyStopping\(\)"),
        ({"callbacks": [print, "stop"]}, r"callbacks\[1\] must be a function .*, not 'stop'"),
        ({"callbacks": "stop"}, r"callbacks\[0\] must be a function .*, not 's'"),
    ],
)
def test_arguments_of_fit_that_make_no_sense_are_refused(trained, arguments, message):
    refused(trained, message, lambda: trained.fit(X, LABELS, **arguments))


W0, B0, W1, B1 = np.ones((4, 6)), np.ones(6), np.ones((6, 3)), np.ones(3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (None, r"parameters must be a list of 2 pairs \(W, b\).*not a NoneType"),
        ([(W0, B0)], "parameters must be a list of 2 pairs .* not a list of 1"),
        ([(W0, B0), (W1, B1), (W1, B1)], "not a list of 3"),
        (np.ones((2, 2)), "not a ndarray"),
        ([W0, W1], r"of Dense layer 0 must be a pair \(W, b\) .*shapes \(4, 6\) and \(6,\)"),
        ([(W0, B0), (W1,)], "of Dense layer 1 must be a pair"),
        ([(W0.T, B0), (W1, B1)], r"W of Dense layer 0 has shape \(6, 4\) but .* needs \(4, 6\)"),
        ([(W0, B0), (W1, B1[:, None])], r"b of Dense layer 1 has shape \(3, 1\) .* needs \(3,\)"),
        ([(W0, B0), (W1, 1.0)], r"b of Dense layer 1 has shape \(\)"),
        (
            [(changed(W0, (2, 5), np.nan), B0), (W1, B1)],
            "W of Dense layer 0 has nan at .2, 5.",
        ),
        ([(W0, B0), (W1, changed(B1, 1, np.inf))], "b of Dense layer 1 has inf"),
        ([(W0 * 1e39, B0), (W1, B1)], "too large for float32"),
        ([(W0.astype(str), B0), (W1, B1)], "W of Dense layer 0 has dtype <U"),
        ([(W0, B0), (W1 * 1j, B1)], "W of Dense layer 1 has dtype complex128"),
        ([(W0, B0), (None, B1)], "W of Dense layer 1 is None and no array"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(trained, parameters, message):
    refused(trained, message, lambda: trained.set_parameters(parameters))


def test_a_bias_for_a_layer_without_one_is_refused():
    trainer = trainer_of([Dense(3, bias=False)])
    bias = np.array([0.0, 0.0, 0.25])
    message = "b of Dense layer 0 must be zeros, .*bias=False; its value at 2 is 0.25"
    refused(trainer, message, lambda: trainer.set_parameters([(np.ones((4, 3)), bias)]))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ((W0[:, :3], B1), r"a triple \(W, b, slopes\) of .*shapes \(4, 3\) and \(3,\) and \(3,\)"),
        ((W0[:, :3], B1, B0), r"slopes of Dense layer 0 has shape \(6,\) but .* needs \(3,\)"),
        ((W0[:, :3], B1, B1 * np.nan), "slopes of Dense layer 0 has nan"),
    ],
)
def test_slopes_that_do_not_fit_are_refused(layer, message):
    trainer = trainer_of([Dense(3, "prelu")], loss="mse")
    refused(trainer, message, lambda: trainer.set_parameters([layer]))


NETWORK = Network(4, [Dense(3)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "BCE"}, "unknown loss 'BCE'; did you mean 'binary_cross_entropy'"),
        ({"loss": "softmax"}, "unknown loss 'softmax'; did you mean 'softmax_cross_entropy'"),
        ({"optimizer": "sgd"}, "optimizer must be one of SGD, Adam, AdamW, .*'sgd'"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, not 0"),
        ({"batch_size": 32.0}, "batch_size must be a whole number"),
        ({"l1": -1e-9}, "l1 must be a finite number"),
        ({"l2": math.inf}, "l2 must be a finite number"),
        ({"l2": 10**400}, "l2 must be a finite number"),
        ({"target": "gpu"}, "unknown target 'gpu'; did you mean 'cuda'"),
        ({"target": None}, "unknown target None"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64', not 'float16'"),
        ({"dtype": int}, "dtype must be"),
        ({"precision": "tf32", "target": "cpu"}, "precision 'tf32' needs target 'cuda'"),
        ({"precision": "single"}, "unknown precision 'single'"),
        ({"threads": 0}, "threads must be a whole number of at least 1, not 0"),
        ({"threads": -2}, "threads must be .* not -2"),
        ({"threads": 1.5}, "threads must be .* not 1.5"),
        ({"threads": True}, "threads must be .* not True"),
        ({"threads": "all"}, "threads must be .* not 'all'"),
        ({"threads": 10**6}, "threads must be at most 1024, not 1000000; leave threads=None"),
        ({"shuffle": 1}, "shuffle must be True, False, or a whole number of at least 2.* not 1"),
        ({"shuffle": None}, "shuffle must be True, False, or .* not None"),
        ({"shuffle": 2.5}, "shuffle must be True, False, or .* not 2.5"),
        ({"shuffle": 2**60}, "shuffle must be at most"),
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ({"seed": 2**63}, r"seed must be below 2\*\*63"),
    ],
)
@pytest.mark.parametrize("target", TARGETS)
def test_settings_of_a_trainer_out_of_range_are_refused(settings, message, target):
    with pytest.raises(InvalidInput, match=message):
        Trainer(NETWORK, **({"target": target} | settings))


def test_a_target_that_cannot_run_here_is_unavailable(monkeypatch):
    no_driver(monkeypatch)
    with pytest.raises(TargetUnavailable, match="use target='cpu'"):
        Trainer(NETWORK, target="cuda")


@pytest.mark.parametrize("network", [None, [Dense(3)], Dense(3), "4-3"])
def test_what_is_no_network_is_refused(network):
    with pytest.raises(InvalidInput, match="network must be a Network, not"):
        Trainer(network)


def test_weights_that_an_initialiser_gets_wrong_are_refused():
    network = Network(4, [Dense(3, init=lambda generator, k, n: np.ones((n, k)))])
    with pytest.raises(InvalidInput, match=r"init of Dense layer 0 must return shape \(4, 3\)"):
        Trainer(network)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Network(0, [Dense(1)]), "inputs of a Network must be .* at least 1, not 0"),
        (lambda: Network(4, []), "must end in a Dense"),
        (lambda: Network(4, [Dense(2), Dropout(0.5)]), "must end in a Dense"),
        (
            lambda: Network(4, [Dense(2), 3]),
            "layer 1 must be a Dense, Dropout, LayerNorm, BatchNorm or Periodic, not 3",
        ),
        (lambda: Network(4, Dense(2)), "layers must be a list"),
        (lambda: Network(4, 3), "layers must be a list"),
        (lambda: Dense(0), "units of a Dense layer must be .* at least 1, not 0"),
        (lambda: Dense(2.0), "units of a Dense layer must be a whole number"),
        (lambda: Dense(2, "ReLU"), "unknown activation 'ReLU'; did you mean 'relu'"),
        (lambda: Dense(2, "swish"), "unknown activation 'swish'; did you mean 'silu'"),
        (lambda: Dense(2, init="glorot_normal"), "; did you mean 'xavier_normal'"),
        (lambda: Dense(2, "rely"), "unknown activation 'rely'; did you mean 'relu'"),
        (lambda: Dense(2, init="he"), "unknown initialiser 'he'"),
        (lambda: Dense(2, bias=1), "bias must be True or False, not 1"),
        (lambda: Dense(2, trainable=0), "trainable must be True or False, not 0"),
        (lambda: Dense(2, trainable=None), "trainable must be True or False, not None"),
        (lambda: Dense(2, rate_factor=0), r"above 0, not 0; .* Dense\(..., trainable=False\)"),
        (
            lambda: Dense(2, bias_rate_factor=-0.5),
            "bias_rate_factor of a Dense layer must be .* not -0.5",
        ),
        (lambda: Dense(2, bias_rate_factor="x"), "bias_rate_factor of a Dense layer must .* 'x'"),
        (
            lambda: Dense(2, bias=False, bias_rate_factor=0.5),
            "bias_rate_factor=0.5 says how fast b learns, but with bias=False there is no b",
        ),
        (lambda: Dense(2, rate_factor=-1.0), "rate_factor of a Dense layer must be .* not -1.0"),
        (lambda: Dense(2, rate_factor=math.inf), "rate_factor of a Dense layer must .* not inf"),
        (lambda: Dense(2, rate_factor=math.nan), "rate_factor of a Dense layer must .* not nan"),
        (lambda: Dense(2, rate_factor=None), "rate_factor of a Dense layer must .* not None"),
        (lambda: Dense(2, "relu", alpha=0.1), "activation 'relu' has no alpha"),
        (lambda: Dense(2, "elu", alpha=-1), "alpha must be a finite number"),
        (lambda: Dense(2, "prelu", alpha=np.nan), "alpha must be a finite number"),
        (
            lambda: Trainer(Network(3, [Dense(2), Dense(2, "prelu", alpha=1e39), Dense(2)])),
            r"alpha of Dense layer 1 must be finite in float32, not 1e\+39",
        ),
        (
            lambda: Dense(2, l1=-1),
            r"l1 of a Dense layer, if not None, must be a finite number in \[0, inf\), not -1",
        ),
        (lambda: Dense(2, l2="0.1"), "l2 of a Dense layer, .* not '0.1'"),
        (lambda: Dense(2, l2=math.nan), "l2 of a Dense layer, .* not nan"),
        (lambda: Dense(2, max_norm=0), r"max_norm of a Dense layer, .* in \(0, inf\), not 0"),
        (lambda: Dense(2, max_norm=-3.0), "max_norm of a Dense layer, .* not -3.0"),
        (lambda: Dense(2, max_norm=math.inf), "max_norm of a Dense layer, .* not inf"),
        (lambda: Dense(2, max_norm=math.nan), "max_norm of a Dense layer, .* not nan"),
        (lambda: Dense(2, max_norm="3"), "max_norm of a Dense layer, .* not '3'"),
        (lambda: Dropout(1.0), r"dropout rate must be a finite number in \[0, 1\), not 1.0"),
        (lambda: Dropout(-0.1), "dropout rate must be"),
        (lambda: Dropout(math.nan), "dropout rate must be .* not nan"),
        (lambda: SGD(-0.1), r"learning_rate must be a finite number in \[0, inf\), not -0.1"),
        (lambda: SGD(math.inf), "learning_rate must be"),
        (lambda: SGD("fast"), "learning_rate must be .* not 'fast'"),
        (lambda: SGD(None), "learning_rate must be .* not None"),
        (lambda: SGD(True), "learning_rate must be .* not True"),
        (lambda: SGD(1j), "learning_rate must be .* not 1j"),
        (lambda: SGD(decimal.Decimal(1)), "learning_rate must be"),
        (lambda: SGD(10**400), "learning_rate must be a finite number"),
        (lambda: SGD(fractions.Fraction(10**400)), "learning_rate must be a finite number"),
        (lambda: SGD(0.1, 1.0), r"momentum must be a finite number in \[0, 1\), not 1.0"),
        (lambda: SGD(0.1, -0.5), "momentum must be"),
        (lambda: SGD(0.1, 0.5, 1), "nesterov must be True or False, not 1"),
        (lambda: SGD(0.1, nesterov=True), "nesterov=True needs a momentum above 0"),
        (lambda: Adam(beta1=1.0), "beta1 must be"),
        (lambda: Adam(beta2=-0.1), "beta2 must be"),
        (lambda: Adam(epsilon=0.0), r"epsilon must be a finite number in \(0, inf\), not 0.0"),
        (lambda: AdamW(weight_decay=-1.0), "weight_decay must be"),
        (lambda: Nadam(beta1=1.0), "beta1 must be"),
        (lambda: RMSProp(decay=1.0), r"decay must be a finite number in \[0, 1\), not 1.0"),
        (lambda: RMSProp("slow"), "learning_rate must be"),
        (lambda: Adagrad(epsilon=0.0), "epsilon must be"),
        (lambda: Lion(beta2=-0.1), "beta2 must be"),
        (lambda: Lion(weight_decay=math.inf), "weight_decay must be"),
        (lambda: AveragedSGD(0.1, -1), "start must be a whole number of at least 0, not -1"),
        (lambda: AveragedSGD(0.1, 2.0), "start must be a whole number of at least 0, not 2.0"),
        (lambda: AveragedSGD(0.1, "late"), "start must be .* not 'late'"),
        (lambda: AveragedSGD(0.1, 10**400), r"start must be .* in \[0, 2\*\*53\], not 1"),
    ],
)
def test_layers_and_optimizers_out_of_range_are_refused(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


@pytest.mark.parametrize(
    ("y", "remedy"),
    [
        ([2, 1, 1, 2], "labels 1 and 2 into 0 and 1 with y - 1"),
        ([0.25, 1, 0, 0.5], r"two outputs, .*column_stack\(\(1 - y, y\)\)"),
        ([-1, 1, 1, -1], r"\(y \+ 1\) / 2"),
        ([0, 1, 2, 3], "more than two classes"),
    ],
)
def test_labels_that_are_not_binary_are_told_how_to_be(y, remedy):
    trainer = Trainer(Network(1, [Dense(1)]), loss="binary_cross_entropy", target="numpy")
    with pytest.raises(InvalidInput, match=remedy):
        trainer.fit(np.ones((4, 1)), y)
