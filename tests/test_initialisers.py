"""Initial weights: their distributions, their keys, and what a user-defined rule may return."""

import math
import pickle

import numpy as np
import pytest

from fastnn.errors import InvalidInput
from fastnn.initializers import INITIALISERS, constant
from fastnn.inputs.parameters import initial_parameters
from fastnn.network import Dense, Network
from fastnn.rules.table import ACTIVATIONS

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

VARIANCE = {
    "xavier_uniform": 2 / (200 + 300),
    "xavier_normal": 2 / (200 + 300),
    "he_uniform": 2 / 200,
    "he_normal": 2 / 200,
    "lecun_uniform": 1 / 200,
    "lecun_normal": 1 / 200,
    "orthogonal": 1 / 300,
    "normal": 0.01**2,
    "zeros": 0.0,
}


def draw(name: str, n_in: int = 200, n_out: int = 300) -> np.ndarray:
    return INITIALISERS[name](np.random.Generator(np.random.PCG64(1)), n_in, n_out)


def weights(init, *, seed: int = 0, dtype=FLOAT64) -> np.ndarray:
    return initial_parameters(Network(3, [Dense(2, init=init)]), seed, dtype)[0][0]


def test_every_initialiser_has_a_variance_here():
    assert set(INITIALISERS) == set(VARIANCE)


@pytest.mark.parametrize("name", VARIANCE)
def test_initialiser_has_mean_zero_and_the_stated_variance(name):
    values = draw(name)
    assert values.shape == (200, 300)
    assert values.dtype == FLOAT64
    # 60,000 draws: the standard error is 0.4 % of a deviation for the mean, 0.6 % for the variance.
    assert abs(values.mean()) <= 0.02 * math.sqrt(VARIANCE[name])
    assert values.var() == pytest.approx(VARIANCE[name], rel=0.03)


@pytest.mark.parametrize("name", ["xavier_uniform", "he_uniform", "lecun_uniform"])
def test_uniform_initialiser_fills_its_interval_and_stays_inside(name):
    limit = math.sqrt(3 * VARIANCE[name])
    values = draw(name)
    assert 0.999 * limit < values.max() <= limit
    assert -limit <= values.min() < -0.999 * limit


@pytest.mark.parametrize("name", ["xavier_normal", "he_normal", "lecun_normal", "normal"])
def test_normal_initialiser_has_normal_tails(name):
    beyond_two = np.abs(draw(name)) > 2 * math.sqrt(VARIANCE[name])
    assert beyond_two.mean() == pytest.approx(0.0455, abs=0.005)


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (7, 7), (9, 4), (4, 9), (1, 5), (5, 1)])
def test_orthogonal_weights_are_orthonormal_along_the_shorter_side(n_in, n_out):
    W = draw("orthogonal", n_in, n_out)
    product = W.T @ W if n_in >= n_out else W @ W.T
    np.testing.assert_allclose(product, np.eye(min(n_in, n_out)), atol=1e-14)


def test_orthogonal_weights_have_no_preferred_sign():
    # LAPACK's own Q has the sign of its first reflection: without the correction all are -1.
    signs = [weights("orthogonal", seed=seed)[0, 0] > 0 for seed in range(400)]
    assert np.mean(signs) == pytest.approx(0.5, abs=0.1)


def test_constant_fills_the_weights_with_its_number():
    W = weights(constant(0.25))
    assert W.shape == (3, 2) and np.all(W == 0.25)
    assert np.all(weights(pickle.loads(pickle.dumps(constant(0.25)))) == 0.25)


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.1", None])
def test_a_constant_that_is_no_finite_number_is_refused(value):
    with pytest.raises(InvalidInput, match="constant must be a finite number"):
        constant(value)


def test_initial_parameters_have_the_shapes_of_the_network_and_zero_biases():
    network = Network(5, [Dense(4, "relu"), Dense(3, "tanh"), Dense(1)])
    for (W, b), shape in zip(initial_parameters(network, 0, FLOAT32), network.shapes, strict=True):
        assert W.shape == shape and b.shape == shape[1:]
        assert W.dtype == b.dtype == FLOAT32
        assert W.flags.c_contiguous and W.flags.owndata
        assert not b.any()


def test_float32_starts_from_the_rounded_float64_numbers():
    assert np.array_equal(
        weights("he_normal", dtype=FLOAT32), weights("he_normal").astype(np.float32)
    )


def test_draws_follow_from_seed_and_layer_alone():
    short = Network(4, [Dense(4, init="normal"), Dense(4, init="normal")])
    long = Network(4, [Dense(4, init="zeros"), Dense(4, init="normal"), Dense(9)])
    first, second = (W for W, _ in initial_parameters(short, 7, FLOAT64))
    assert np.array_equal(second, initial_parameters(long, 7, FLOAT64)[1][0])
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, initial_parameters(short, 8, FLOAT64)[0][0])
    assert np.array_equal(first, initial_parameters(short, 7, FLOAT64)[0][0])


def test_draws_are_those_of_the_documented_stream():
    generator = np.random.Generator(np.random.PCG64([5, 0x696E6974, 0]))
    assert np.array_equal(weights("normal", seed=5), generator.normal(0, 0.01, (3, 2)))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_default_initialiser_is_the_activations_own(activation):
    default = initial_parameters(Network(3, [Dense(2, activation)]), 0, FLOAT64)[0][0]
    assert np.array_equal(default, weights(ACTIVATIONS[activation].initialiser))


@pytest.mark.parametrize(("alpha", "start"), [(None, 0.25), (0.0, 0.0), (-0.4, -0.4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slopes_of_prelu_start_at_alpha(alpha, start, dtype):
    layers = [Dense(2, "prelu", alpha=alpha), Dense(3)]
    first, second = initial_parameters(Network(4, layers), 0, np.dtype(dtype))
    assert len(second) == 2
    assert first[2].dtype == dtype and first[2].tolist() == [dtype(start)] * 2


def test_a_callable_is_given_generator_and_shape_and_its_array_is_copied():
    mine = np.arange(6, dtype=np.float64).reshape(3, 2)

    def init(generator, n_in, n_out):
        assert isinstance(generator, np.random.Generator)
        assert (n_in, n_out) == (3, 2)
        return mine

    W = weights(init)
    assert np.array_equal(W, mine)
    W[:] = -1
    assert mine[0, 0] == 0


@pytest.mark.parametrize("values", [[[1, 2], [3, 4], [5, 6]], np.ones((2, 3), np.float16).T])
def test_a_callable_may_return_any_real_numbers_in_any_layout(values):
    W = weights(lambda generator, n_in, n_out: values)
    assert W.dtype == FLOAT64 and W.flags.c_contiguous
    assert np.array_equal(W, np.asarray(values))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (np.zeros((2, 3)), r"Dense layer 0 must return shape \(3, 2\).*not \(2, 3\)"),
        (np.zeros((3, 2), complex), "real numbers, not dtype complex128"),
        ([["a", "b"]] * 3, "real numbers, not dtype"),
        ([[1], [2, 3]], "must return an array, not list"),
        (None, "real numbers, not dtype object"),
        ([[0, 1], [2, math.nan], [4, 5]], r"finite in float64; at \(1, 1\) it returned .*nan"),
        ([[0, 1], [2, 3], [-math.inf, 5]], r"at \(2, 0\) it returned .*inf"),
    ],
)
def test_a_callable_that_returns_something_else_is_refused(values, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        weights(lambda generator, n_in, n_out: values)


def test_a_weight_that_float32_cannot_hold_is_refused():
    def init(generator, n_in, n_out):
        return np.full((n_in, n_out), 1e300)

    assert np.all(weights(init) == 1e300)
    with pytest.raises(InvalidInput, match="finite in float32"):
        weights(init, dtype=FLOAT32)


def first_bias(bias_init, *, seed=0, dtype=FLOAT64, **settings):
    return initial_parameters(Network(3, [Dense(4, bias_init=bias_init, **settings)]), seed, dtype)[
        0
    ][1]


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
def test_biases_start_as_asked_and_leave_the_weights_alone(dtype):
    def ramp(generator, n_in, n_out):
        return np.arange(n_out) + generator.uniform(size=n_out) * n_in

    key = [5, 0x696E6974, 0, 0x62696173]
    drawn = {
        None: np.zeros(4),
        0.25: np.full(4, 0.25),
        -1: np.full(4, -1.0),
        "normal": np.random.Generator(np.random.PCG64(key)).normal(0, 0.01, (3, 4))[0],
        ramp: ramp(np.random.Generator(np.random.PCG64(key)), 3, 4),
    }
    W = initial_parameters(Network(3, [Dense(4)]), 5, dtype)[0][0]
    for bias_init, expected in drawn.items():
        layers = [Dense(4, bias_init=bias_init), Dense(2, "prelu", bias_init=0.5)]
        first, second = initial_parameters(Network(3, layers), 5, dtype)
        assert first[1].dtype == dtype and np.array_equal(first[1], expected.astype(dtype))
        assert np.array_equal(first[0], W)
        assert [array.tolist() for array in second[1:]] == [[0.5] * 2, [0.25] * 2]


@pytest.mark.parametrize(("name", "variance"), VARIANCE.items())
def test_a_name_draws_biases_as_it_draws_weights(name, variance):
    if name == "orthogonal":
        with pytest.raises(InvalidInput, match="unknown bias_init 'orthogonal'"):
            Dense(2, bias_init=name)
        return
    network = Network(200, [Dense(300, init="zeros", bias_init=name)])
    b = np.concatenate([initial_parameters(network, seed, FLOAT64)[0][1] for seed in range(10)])
    assert b.var() == pytest.approx(variance, rel=0.1)
    assert len(np.unique(b)) == (1 if name == "zeros" else 3000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bias_init": "nromal"}, "did you mean 'normal'"),
        ({"bias_init": math.nan}, "bias_init, .* must be a finite number"),
        ({"bias_init": True}, "bias_init, .* must be a finite number"),
        ({"bias_init": [0.1]}, "bias_init, .* must be a finite number"),
        ({"bias_init": 0.1, "bias": False}, "with bias=False there is no b"),
    ],
)
def test_a_first_bias_that_cannot_be_is_refused_by_the_layer(settings, message):
    with pytest.raises(InvalidInput, match=message):
        Dense(4, **settings)


def test_a_first_bias_that_does_not_fit_is_refused_when_it_is_drawn():
    with pytest.raises(InvalidInput, match=r"bias_init of Dense layer 0 must return shape \(4,\)"):
        first_bias(constant(0.5))
    with pytest.raises(InvalidInput, match="bias_init of Dense layer 0 .* finite in float32"):
        first_bias(1e300, dtype=FLOAT32)


def test_files_keep_how_biases_start_and_earlier_ones_have_zeros():
    from fastnn.training.plain_values import network_from_dict, network_to_dict

    layers = [Dense(4, bias_init="normal"), Dense(3, bias_init=0.5), Dense(2)]
    kept = network_to_dict(Network(3, layers))
    assert network_from_dict(kept) == Network(3, layers)
    for layer in kept["layers"]:
        del layer["bias_init"]
    assert network_from_dict(kept) == Network(3, [Dense(4), Dense(3), Dense(2)])


def masked(generator, n_in, n_out):
    return np.ma.masked_less(generator.normal(size=(n_in, n_out)), 0.5)


@pytest.mark.parametrize("init", [masked, lambda *shape: [*masked(*shape)]])
def test_masked_first_weights_are_refused(init):
    with pytest.raises(InvalidInput, match="init of Dense layer 0 must return .* masked"):
        weights(init)
    with pytest.raises(InvalidInput, match="bias_init of Dense layer 0 .* masked"):
        first_bias(lambda generator, k, n: masked(generator, 1, n)[0])
    unmasked = weights(lambda *shape: np.ma.array(np.ones(shape[1:])))
    assert np.array_equal(unmasked, np.ones((3, 2)))
