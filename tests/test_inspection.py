"""What a trainer shows of itself: gradients, hidden values, layers; against independent numbers."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import expit
from trainer_cases import TARGETS, WEIGHTS, spread, state_of, trainer_of
from trainer_cases import X as FLOATS

from fastnn import (
    AveragedSGD,
    BatchNorm,
    Dense,
    Dropout,
    InvalidInput,
    LayerNorm,
    Network,
    Trainer,
)
from fastnn import losses as parametric
from fastnn.graph import logsumexp, tanh, where
from fastnn.rules.table import ACTIVATIONS, LOSSES, loss_row

X = FLOATS[:9].astype(np.float64)
RANDOM = np.random.default_rng(5)
OF_KIND = {
    "classes": RANDOM.integers(0, 3, 9),
    "binary": RANDOM.integers(0, 2, (9, 3)),
    "counts": RANDOM.integers(0, 4, (9, 3)),
    "real": RANDOM.normal(size=(9, 3)),
}
STEP = 1e-4


def targets_of(loss):
    row = loss_row(loss)
    return OF_KIND[row.targets]


def slopes_of(function, parameters):
    """Return the derivative of a function of parameters by each, by differences of fourth order."""
    found = []
    for layer, arrays in enumerate(parameters):
        found.append([])
        for number, array in enumerate(arrays):
            slope = np.zeros_like(array)
            for place in np.ndindex(array.shape):
                values = []
                for shift in (-2, -1, 1, 2):
                    moved = [[each.copy() for each in own] for own in parameters]
                    moved[layer][number][place] += shift * STEP
                    values.append(function([tuple(own) for own in moved]))
                slope[place] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * STEP)
            found[-1].append(slope)
    return found


def loss_by_evaluate(trainer, y, weights=None, X=X):
    other = copy.copy(trainer)

    def loss(parameters):
        other.set_parameters(parameters)
        return other.evaluate(X, y, weights)["loss"]

    return loss


def assert_gradients(found, expected, tolerance=1e-9):
    for arrays, wanted in zip(found.layers, expected, strict=True):
        assert len(arrays) == len(wanted) == len(arrays.names)
        for array, slope in zip(arrays, wanted, strict=True):
            assert_allclose(array, slope, rtol=tolerance, atol=tolerance)


SMOOTH = [name for name, row in ACTIVATIONS.items() if not row.flat]
PAIRS = [(SMOOTH[at % len(SMOOTH)], loss) for at, loss in enumerate(LOSSES)]
PAIRS += [(name, "mse") for name in SMOOTH]
PAIRS += [("tanh", parametric.Huber(0.7)), ("gelu", parametric.Quantile(0.3))]
PAIRS += [(lambda z: tanh(z) * z, lambda o, t: logsumexp(o) - o[t[0]] + (o**2).sum())]


@pytest.mark.parametrize(
    ("activation", "loss"), PAIRS, ids=lambda each: getattr(each, "__name__", str(each))
)
def test_gradients_are_those_of_central_differences(activation, loss):
    layers = [Dense(4, activation), LayerNorm(), Dropout(0.4), Dense(3)]
    trainer = spread(trainer_of(layers, 4, loss=loss, dtype="float64"))
    y = targets_of(trainer.problem.loss)
    if loss_row(trainer.problem.loss).columns:
        y = RANDOM.integers(0, 3, 9)
    found = trainer.gradients(X, y, inputs=True)
    evaluate = loss_by_evaluate(trainer, y)
    assert found.loss == pytest.approx(evaluate(trainer.parameters), rel=1e-14)
    assert_gradients(found, slopes_of(evaluate, trainer.parameters))

    def by_inputs(rows):
        return trainer.evaluate(rows[0][0], y)["loss"]

    assert_allclose(found.inputs, slopes_of(by_inputs, [(X,)])[0][0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("weights", [None, "rows", "targets"])
@pytest.mark.parametrize("layers", [[Dense(1)], [Dense(2, "prelu"), BatchNorm(), Dense(1)]])
def test_gradients_have_l2_and_weights_and_neither_l1_nor_clipping(layers, weights):
    settings = {"l2": 0.3, "l1": 0.2, "clip_value": 1e-3, "dtype": "float64", "loss": "mse"}
    layers = [*layers[:-1], Dense(1, bias=False, trainable=len(layers) == 1, l2=0.1)]
    trainer = spread(trainer_of(layers, 4, **settings))
    y = OF_KIND["real"][:, 0]
    weights = {"rows": WEIGHTS[:9], "targets": WEIGHTS[:9, None]}.get(weights)
    found = trainer.gradients(X, y, weights)
    other, l2 = copy.copy(trainer), [0.3, 0, 0.1] if len(layers) > 1 else [0.1]

    def objective(parameters):
        other.set_parameters(parameters)
        penalty = sum(
            factor / 2 * float(np.square(own[0]).sum())
            for factor, own in zip(l2, parameters, strict=True)
            if factor
        )
        return other.gradients(X, y, weights).loss + penalty

    last = objective(trainer.parameters) - found.loss
    assert last > 0.001
    parameters = trainer.parameters
    # A bias that does not exist cannot be moved, and running statistics are no function of these.
    for layer, own in enumerate(parameters):
        for number, name in enumerate(trainer.network.parameter_shapes[layer]):
            array = found.layers[layer][number]
            missing = name == "bias" and not trainer.network.parametric[layer].bias
            if missing or name in ("mean", "variance"):
                assert not array.any()
                continue

            def moved(part, layer=layer, number=number):
                arrays = [*parameters[layer]]
                arrays[number] = part[0][0]
                return objective([*parameters[:layer], tuple(arrays), *parameters[layer + 1 :]])

            slope = slopes_of(moved, [(own[number],)])[0][0]
            assert_allclose(array, slope, rtol=1e-9, atol=1e-9)
    sizes = sum(np.abs(own[0]).sum() for own, f in zip(parameters, l2, strict=True) if f)
    assert found.penalty == pytest.approx(last + 0.2 * sizes, rel=1e-9)


def test_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    pytest.importorskip("fastnn.interchange.to_torch")
    layers = [BatchNorm(), Dense(5, "tanh"), BatchNorm(), Dense(4, "relu"), LayerNorm(), Dense(3)]
    trainer = spread(trainer_of(layers, 4, dtype="float64"))
    y = OF_KIND["classes"]
    found = trainer.gradients(X, y, inputs=True)
    module = trainer.to_torch().double().train()
    rows = torch.tensor(X, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(module(rows), torch.tensor(y))
    loss.backward()
    expected = [each.grad.numpy().T for each in module.parameters()]
    arrays = [each for own in found.layers for each in own[:2]]
    assert found.loss == pytest.approx(loss.item(), rel=1e-12)
    for array, wanted in zip(arrays, expected, strict=True):
        assert_allclose(array, wanted, rtol=1e-9, atol=1e-12)
    assert_allclose(found.inputs, rows.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_a_network_of_course_notes_by_hand():
    W1, b1 = np.array([[0.1, -0.2], [0.4, 0.3]]), np.array([0.1, 0.0])
    W2, b2 = np.array([[0.5], [-0.3]]), np.array([0.2])
    layers = [Dense(2, "sigmoid"), Dense(1)]
    trainer = trainer_of(layers, 2, loss="binary_cross_entropy", dtype="float64")
    trainer.set_parameters([(W1, b1), (W2, b2)])
    x, y = np.array([[1.0, 2.0]]), np.array([1])
    z1 = x @ W1 + b1
    a1 = expit(z1)
    z2 = a1 @ W2 + b2
    dz2 = expit(z2) - 1
    dz1 = dz2 @ W2.T * a1 * (1 - a1)
    first, second = trainer.activations(x)
    for found, wanted in ((first.z, z1), (first.a, a1), (second.z, z2), (second.a, z2)):
        assert_allclose(found, wanted, rtol=1e-15)
    assert (first.name, second.name) == ("Dense layer 0", "Dense layer 1")
    found = trainer.gradients(x, y, inputs=True)
    assert found.loss == pytest.approx(-np.log(expit(z2)).item(), rel=1e-15)
    assert found.penalty == 0
    assert found.layers[0].names == ("dW", "db")
    assert_allclose(found.layers[0].dW, x.T @ dz1, rtol=1e-14)
    assert_allclose(found.layers[1].dW, a1.T @ dz2, rtol=1e-14)
    for place, dz in enumerate((dz1, dz2)):
        assert_allclose(found.dz[place], dz, rtol=1e-14)
        assert_allclose(found.layers[place].db, dz[0], rtol=1e-14)
    assert_allclose(found.inputs, dz1 @ W1.T, rtol=1e-14)
    assert trainer.gradients(x, y).inputs is None
    with pytest.raises(AttributeError, match="only dW, db"):
        _ = found.layers[0].dV
    again = pickle.loads(pickle.dumps(found))
    assert_array_equal(again.layers[1].dW, found.layers[1].dW)
    assert repr(again) == repr(found)


@pytest.mark.parametrize("target", TARGETS)
def test_activations_are_those_of_prediction(target):
    norm = [] if target == "cuda" else [BatchNorm(), LayerNorm()]
    layers = [Dropout(0.5), Dense(5, "rrelu"), *norm, Dropout(0.2), Dropout(0.1), Dense(3)]
    trainer = trainer_of(
        layers, optimizer=AveragedSGD(0.1), dtype="float64", target=target, batch_size=5
    )
    trainer.fit(X, OF_KIND["classes"], 2)
    before = state_of(trainer)
    found = trainer.activations(X)
    assert [each.name.split()[0] for each in found] == [type(each).__name__ for each in layers]
    A = X
    for values, layer in zip(found, layers, strict=True):
        if isinstance(layer, Dropout):
            assert_array_equal(values.z, A)
            assert_array_equal(values.a, A)
        A = values.a
    assert found.outputs is found[-1].a and found[-1] is list(found)[-1]
    assert_allclose(found.outputs, trainer.forward(X), rtol=1e-12, atol=1e-14)
    W, b = trainer.parameters[0]
    assert_allclose(found[1].z, X @ W + b, rtol=1e-13, atol=1e-15)
    assert_allclose(found[1].a, np.where(found[1].z > 0, 1, 11 / 48) * found[1].z, rtol=1e-13)
    if norm:
        gamma, beta, mean, variance = trainer.parameters[1]
        x_hat = (found[1].a - mean) / np.sqrt(variance + layers[2].epsilon)
        assert_allclose(found[2].z, gamma * x_hat + beta, rtol=1e-12, atol=1e-14)
    assert state_of(trainer) == before
    assert "Dropout" in repr(found) and "<th>Dropout</th>" in found._repr_html_()


@pytest.mark.parametrize("target", TARGETS)
def test_gradients_are_at_the_parameters_that_training_left(target):
    trainer = trainer_of([Dense(3, "tanh"), Dense(3)], dtype="float64", target=target)
    trainer.fit(X, OF_KIND["classes"], 3)
    evaluate = loss_by_evaluate(
        trainer_of([Dense(3, "tanh"), Dense(3)], dtype="float64"), OF_KIND["classes"]
    )
    found = trainer.gradients(X, OF_KIND["classes"])
    assert_gradients(found, slopes_of(evaluate, trainer.parameters))
    seen = []
    trainer.fit(
        X,
        OF_KIND["classes"],
        1,
        callbacks=lambda t, h: seen.append(t.gradients(X, OF_KIND["classes"]).loss),
    )
    assert seen == [trainer.gradients(X, OF_KIND["classes"]).loss]


FORMS = {
    "list": lambda array: array.tolist(),
    "fortran": np.asfortranarray,
    "csr": sparse.csr_matrix,
    "coo": sparse.coo_array,
    "integers": lambda array: (array * 4).astype(np.int64),
    "float32": lambda array: array.astype(np.float32),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_X_that_fit_takes_is_looked_at(form):
    given = FORMS[form](X)
    plain = X if form not in ("integers", "float32") else np.asarray(given, np.float64)
    trainer = trainer_of([Dense(3, "tanh"), Dense(3)], dtype="float64")
    y = OF_KIND["classes"]
    for one, other in (
        (trainer.activations(given)[0].z, trainer.activations(plain)[0].z),
        (trainer.gradients(given, y).layers[0].dW, trainer.gradients(plain, y).layers[0].dW),
        (trainer.trace(given, y, 2)[1].after[0].W, trainer.trace(plain, y, 2)[1].after[0].W),
    ):
        assert_allclose(one, other, rtol=1e-13, atol=1e-15)


def test_frames_and_files_are_looked_at_by_their_names(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    trainer = trainer_of([Dense(3)], dtype="float64")
    trainer.fit(frame, OF_KIND["classes"], 1)
    np.save(tmp_path / "X.npy", X)
    y = OF_KIND["classes"]
    first = trainer.gradients(frame, y).layers[0].dW
    assert_array_equal(first, trainer.gradients(tmp_path / "X.npy", y).layers[0].dW)
    swapped = frame[list("badc")]
    for look in (
        lambda: trainer.activations(swapped),
        lambda: trainer.gradients(swapped, y),
        lambda: trainer.trace(swapped, y),
    ):
        with pytest.raises(InvalidInput, match="column"):
            look()


def test_what_is_missing_or_wrong_is_explained():
    trainer, y = trainer_of(), OF_KIND["classes"]
    unknown = Trainer(Network(None, [Dense(3)]), target="numpy")
    for message, look in {
        "takes its number of inputs": lambda: unknown.summary(),
        "cannot have activations": lambda: unknown.activations(X),
        "cannot have gradients": lambda: unknown.gradients(X, y),
        "has 3 columns": lambda: trainer.activations(X[:, :3]),
        "has 2 columns": lambda: trainer.gradients(X[:, :2], y),
        "there are 9 samples": lambda: trainer.gradients(X, y[:4]),
        "has label": lambda: trainer.gradients(X, y + 5 * (y == y[0])),
        "steps must be": lambda: trainer.trace(X, y, 0),
        "sample_weight": lambda: trainer.trace(X, y, 2, [1.0]),
        "at least 2 rows": lambda: trainer_of([Dense(2), BatchNorm(), Dense(3)]).gradients(
            X[:1], y[:1]
        ),
        "would take": lambda: trainer.trace(X, y, 10**15),
    }.items():
        with pytest.raises(InvalidInput, match=message):
            look()
    assert unknown.trace(X, y, 1)[0].before[0].W.shape == (4, 3)
    assert unknown.network.inputs is None
    assert "Network(None" not in unknown._repr_html_() and "?-3" in unknown._repr_html_()


def test_a_loss_that_is_not_finite_has_gradients_that_are_not():
    trainer = trainer_of([Dense(1)], 1, loss="mse", dtype="float64")
    trainer.set_parameters([([[1e200]], [0.0])])
    found = trainer.gradients([[1.0]], [0.0])
    assert found.loss == np.inf and np.isfinite(found.layers[0].dW).all()
    assert found.layers[0].dW.item() == pytest.approx(1e200)


def test_a_summary_counts_what_there_is():
    layers = [
        Dense(5, "prelu"), Dropout(0.25), BatchNorm(), Dense(4, "tanh", bias=False),
        LayerNorm(), Dense(3, trainable=False),
    ]  # fmt: skip
    found = trainer_of(layers).summary()
    counts = [(each.parameters, each.trainable) for each in found.layers]
    assert counts == [(0, 0), (30, 30), (0, 0), (20, 10), (20, 20), (8, 8), (15, 0)]
    assert (found.parameters, found.trainable) == (93, 68)
    shapes = [each.output_shape for each in found.layers]
    assert shapes == [(None, 4), *[(None, 5)] * 3, (None, 4), (None, 4), (None, 3)]
    assert found.layers[1].shapes == {"W": (4, 5), "b": (5,), "slopes": (5,)}
    assert found.layers[4].shapes == {"W": (5, 4)}
    lines = str(found).splitlines()
    assert lines[-1].split() == ["total", "93", "68"]
    assert "Dropout 0.25" in lines[3]
    html = trainer_of([Dense(2, lambda z: where(z < 1, tanh(z), 1)), Dense(3)])._repr_html_()
    assert "<table>" in html and "z &lt; 1" in html and "z < 1" not in html
