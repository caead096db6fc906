"""What a Trainer learns and reports, and what it hands out."""

import copy
import inspect
import io
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose
from simulator import needs_speed
from trainer_cases import (
    LABELS,
    LAYERS,
    REAL,
    TARGETS,
    WEIGHTS,
    X,
    state_of,
    trainer_of,
)

from fastnn import SGD, Adam, Dense, InvalidInput, Network, Trainer, datasets
from fastnn.inputs.parameters import initial_parameters
from fastnn.random.row_orders import epoch_order
from fastnn.schedules import Cosine


@needs_speed
@pytest.mark.parametrize("target", TARGETS)
def test_a_trainer_learns_the_digits(target):
    X, y = datasets.digits()
    trainer = Trainer(
        Network(64, [Dense(32, "relu"), Dense(10)]), optimizer=SGD(0.1), target=target
    )
    history = trainer.fit(X[:1400], y[:1400], epochs=15, validation_data=(X[1400:], y[1400:]))
    assert history.loss[-1] < history.loss[0] / 5
    assert history.validation_accuracy[-1] > 0.85  # written by others
    found = trainer.evaluate(X[1400:], y[1400:])
    assert found["loss"] == history.validation_loss[-1]
    assert found["accuracy"] == history.validation_accuracy[-1]
    assert np.mean(trainer.predict(X[1400:]) == y[1400:]) == pytest.approx(found["accuracy"])


def test_parameters_are_there_at_once_and_are_the_initial_ones():
    trainer = trainer_of(seed=3)
    expected = initial_parameters(trainer.problem.network, 3, np.dtype(np.float32))
    for pair, other in zip(trainer.parameters, expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(pair, other, strict=True))


@pytest.mark.parametrize("target", TARGETS)
def test_a_trainer_predicts_before_it_is_trained(target):
    trainer = trainer_of([Dense(3)], target=target)
    ((W, b),) = trainer.parameters
    assert_allclose(trainer.forward(X), X @ W + b, rtol=1e-5, atol=1e-6)
    assert np.array_equal(trainer.predict(X), (X @ W + b).argmax(axis=1))
    assert (trainer.epoch, trainer.step, len(trainer.history)) == (0, 0, 0)


@pytest.mark.parametrize("target", TARGETS)
def test_epochs_and_updates_are_counted_and_history_has_an_entry_an_epoch(target):
    trainer = trainer_of(target=target, optimizer=SGD(0.05))
    history = trainer.fit(X, LABELS, epochs=2)
    assert history is trainer.history
    assert trainer.fit(X, LABELS, epochs=1, validation_data=(X, LABELS)) is history
    assert (trainer.epoch, trainer.step) == (3, 3 * 5)
    assert len(history) == 3
    assert history.learning_rate == [0.05] * 3
    assert all(seconds > 0 for seconds in history.seconds)
    assert history.validation_loss[:2] == [None, None]
    assert history.validation_loss[2] == trainer.evaluate(X, LABELS)["loss"]
    assert (history.target, history.reason, history.first_epoch) == (target, "", 0)
    assert history.threads >= 1


def test_the_history_says_what_auto_chose():
    trainer = trainer_of(target="auto")
    assert trainer.target == "auto"
    assert trainer.history.target == "cpu"
    assert trainer.history.reason.startswith("auto chose cpu")


def test_no_epochs_change_nothing():
    trainer = trainer_of()
    before = state_of(trainer)
    assert len(trainer.fit(X, LABELS, epochs=0)) == 0
    assert state_of(trainer) == before


@pytest.mark.parametrize("target", TARGETS)
def test_an_epoch_goes_through_the_rows_in_the_order_of_seed_and_epoch(target):
    shuffled = trainer_of(target=target, seed=5)
    ordered = trainer_of(target=target, seed=5, shuffle=False)
    for epoch in range(2):
        order = epoch_order(5, epoch, len(X))
        shuffled.fit(X, LABELS, epochs=1, sample_weight=WEIGHTS)
        ordered.fit(X[order], LABELS[order], epochs=1, sample_weight=WEIGHTS[order])
        assert state_of(shuffled) == state_of(ordered)


FORMS = {
    "float64": X.astype(np.float64),
    "Fortran order": np.asfortranarray(X),
    "every other row": np.repeat(X, 2, axis=0)[::2],
    "every other column": np.repeat(X, 2, axis=1)[:, ::2],
    "reversed": X[::-1, ::-1].copy()[::-1, ::-1],
    "foreign byte order": X.astype(X.dtype.newbyteorder()),
    "read-only": np.broadcast_to(X, X.shape),
    "list": X.tolist(),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_features_changes_no_bit(form, target):
    plain, other = trainer_of(target=target), trainer_of(target=target)
    plain.fit(X, LABELS, epochs=2, validation_data=(X, LABELS))
    other.fit(FORMS[form], LABELS, epochs=2, validation_data=(FORMS[form], LABELS))
    assert state_of(plain) == state_of(other)
    assert np.array_equal(plain.forward(X), other.forward(FORMS[form]))


@pytest.mark.parametrize("target", TARGETS)
def test_a_column_of_targets_is_the_same_as_a_vector(target):
    layers = [Dense(5, "tanh"), Dense(1)]
    vector, column = (trainer_of(layers, loss="mse", target=target) for _ in range(2))
    vector.fit(X, REAL, epochs=2)
    column.fit(X, REAL[:, None], epochs=2)
    assert state_of(vector) == state_of(column)


@pytest.mark.parametrize("target", TARGETS)
def test_validation_data_may_have_weights(target):
    trainer = trainer_of(target=target)
    history = trainer.fit(X, LABELS, epochs=1, validation_data=(X, LABELS, WEIGHTS))
    assert history.validation_loss == [trainer.evaluate(X, LABELS, WEIGHTS)["loss"]]
    assert history.validation_loss != [trainer.evaluate(X, LABELS)["loss"]]


def test_callbacks_see_each_epoch_done():
    seen = []

    def note(trainer, history):
        seen.append((trainer.epoch, trainer.step, len(history), history.validation_loss[-1]))
        assert trainer.evaluate(X, LABELS)["loss"] == history.validation_loss[-1]

    history = trainer_of().fit(X, LABELS, 3, validation_data=(X, LABELS), callbacks=[note])
    assert seen == [(k, 5 * k, k, history.validation_loss[k - 1]) for k in (1, 2, 3)]


@pytest.mark.parametrize(
    "answer", [True, np.True_, np.array(True), np.array([True]), np.array([[3.0]]) > 2], ids=repr
)
def test_a_callback_that_answers_true_stops_training_after_all_were_called(answer):
    seen = []
    trainer = trainer_of()
    stop_and_note = [lambda trainer, history: answer, lambda trainer, history: seen.append(1)]
    assert len(trainer.fit(X, LABELS, epochs=5, callbacks=stop_and_note)) == 1
    assert trainer.epoch == len(seen) == 1


@pytest.mark.parametrize(
    "answer",
    [None, False, 1, "stop", np.ones(3), np.array(1), np.array(False), np.array([True, True])],
    ids=repr,
)
def test_other_answers_of_callbacks_mean_nothing(answer):
    trainer = trainer_of()
    trainer.fit(X, LABELS, epochs=2, callbacks=(each for each in [lambda *_: answer]))
    assert trainer.epoch == 2


@pytest.mark.parametrize("target", TARGETS)
def test_a_callback_may_change_the_parameters(target):
    def clear(trainer, history):
        trainer.set_parameters(
            [(np.zeros_like(W), np.zeros_like(b)) for W, b in trainer.parameters]
        )

    trainer = trainer_of(target=target)
    trainer.fit(X, LABELS, epochs=2, callbacks=[clear])
    assert not any(array.any() for pair in trainer.parameters for array in pair)
    assert (trainer.epoch, trainer.step) == (2, 0)


@pytest.mark.parametrize("target", TARGETS)
def test_parameters_given_back_are_copies_and_go_in_as_copies(target):
    trainer = trainer_of(target=target)
    for _ in range(2):
        before = state_of(trainer)
        for W, b in trainer.parameters:
            W[:], b[:] = 7, 7
        assert state_of(trainer) == before
        given = trainer.parameters
        trainer.set_parameters(given)
        given[0][0][:] = 7
        assert state_of(trainer) == before
        trainer.predict(X)  # from now on the engine has them


@pytest.mark.parametrize("target", TARGETS)
def test_other_parameters_are_predicted_with_at_once(target):
    trainer = trainer_of([Dense(3)], target=target)
    for factor in (1, 2):
        W, b = factor * np.arange(12.0).reshape(4, 3), factor * np.arange(3)
        trainer.set_parameters([(W, b)])
        assert_allclose(trainer.forward(X), X @ W + b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_other_parameters_start_the_optimizer_anew(target):
    used, fresh = (trainer_of(target=target, optimizer=Adam(0.01), shuffle=False) for _ in range(2))
    used.fit(X, LABELS, epochs=2)
    used.set_parameters(fresh.parameters)
    assert (used.epoch, used.step, len(used.history)) == (2, 0, 2)
    model = used.__getstate__()
    assert not any(array.any() for slot in model.slots for pair in slot for array in pair)


@pytest.mark.parametrize("dense", [Dense(3, bias=False), Dense(3)])
def test_a_bias_stays_zero_where_there_is_none(dense):
    trainer = trainer_of([dense])
    trainer.fit(X, LABELS, epochs=1)
    ((W, b),) = trainer.parameters
    assert b.any() == dense.bias
    trainer.set_parameters([(W, np.zeros(3))])


COPIES = {
    "pickle": lambda trainer: pickle.loads(pickle.dumps(trainer)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_trains_on_by_itself_and_to_the_same_bits(way, target):
    trainer = trainer_of(target=target, optimizer=Adam(0.01))
    for _ in range(2):  # as arrays at first, then with an engine
        other = COPIES[way](trainer)
        before = state_of(trainer)
        other.fit(X, LABELS, epochs=1)
        assert state_of(trainer) == before
        trainer.fit(X, LABELS, epochs=1)
        assert state_of(trainer) == state_of(other)


def test_a_trainer_is_shown_on_one_line_with_its_widths_and_epoch():
    trainer = trainer_of(LAYERS)
    trainer.fit(X, LABELS, epochs=2)
    text = repr(trainer)
    assert text.startswith("Trainer(4-6-3, loss='softmax_cross_entropy', optimizer=SGD(")
    assert text.endswith("batch_size=8, target='numpy', epoch=2)")
    assert "\n" not in text


@pytest.mark.parametrize("target", TARGETS)
def test_several_threads_may_predict_at_once(target):
    trainer = trainer_of(target=target)
    expected = trainer_of(target=target).forward(X)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: trainer.forward(X), range(20)))
    assert all(np.array_equal(each, expected) for each in found)


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and keeps what was drawn on it."""

    def isatty(self) -> bool:
        """Return True, as a terminal does."""
        return True


def test_a_terminal_shows_epochs_counted_over_calls_and_nothing_else_shows_any(monkeypatch):
    screen, file = Terminal(), io.StringIO()
    trainer = trainer_of()
    monkeypatch.setattr(sys, "stderr", file)
    trainer.fit(X, LABELS, epochs=2)
    assert file.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", screen)
    history = trainer.fit(X, LABELS, epochs=3, validation_data=(X, LABELS))
    last = screen.getvalue().split("\r")[-1]
    assert "epoch 5/5" in last and "100%" in last
    assert f"loss {history.loss[-1]:.4g}, validation loss {history.validation_loss[-1]:.4g}" in last
    with pytest.raises(ZeroDivisionError):
        trainer.fit(X, LABELS, epochs=3, callbacks=[lambda *_: 1 / 0])
    assert screen.getvalue().endswith("\n")  # the bar is closed


def test_weights_of_rows_count_as_repeated_rows_do():
    repeated = trainer_of([Dense(3)], shuffle=False, batch_size=1000)
    weighted = trainer_of([Dense(3)], shuffle=False, batch_size=1000)
    counts = 1 + LABELS
    repeated.fit(np.repeat(X, counts, axis=0), np.repeat(LABELS, counts), epochs=5)
    weighted.fit(X, LABELS, epochs=5, sample_weight=counts)
    assert_allclose(weighted.history.loss, repeated.history.loss, rtol=1e-5)
    assert_allclose(weighted.parameters[0][0], repeated.parameters[0][0], rtol=1e-3, atol=1e-6)


def test_l1_and_l2_together_come_to_the_elastic_net_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    alpha, share = 0.3, 0.6
    slopes = np.array([1.0, -0.8, 0.05, 0.0])
    expected = linear_model.ElasticNet(alpha=alpha, l1_ratio=share).fit(X, X @ slopes + 2)
    trainer = trainer_of(
        [Dense(1)],
        loss="mse",
        optimizer=SGD(Cosine(0.5, steps=500)),
        batch_size=len(X),
        l1=alpha * share,
        l2=alpha * (1 - share),
    )
    trainer.fit(X, X @ slopes + 2, epochs=500)
    ((W, b),) = trainer.parameters
    assert_allclose(W[:, 0], expected.coef_, atol=1e-3)
    assert_allclose(b, expected.intercept_, atol=1e-3)
    assert (np.abs(expected.coef_) > 0.1).tolist() == [True, True, False, False]


def test_a_boolean_tensor_of_torch_stops_training():
    torch = pytest.importorskip("torch", reason="there is no torch: pip install torch")
    trainer = trainer_of()
    trainer.fit(X, LABELS, epochs=3, callbacks=lambda *_: torch.tensor(1.0) > 0)
    assert trainer.epoch == 1


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (np.nan, "float32", r"W of Dense layer 0 has nan at \[2, 1\].*must be finite"),
        (-np.inf, "float64", r"W of Dense layer 0 has -inf at \[2, 1\].*an earlier epoch"),
        (
            1e300,
            "float32",
            r"1e\+300 at \[2, 1\], which is too large for float32; .*dtype=\"float64\"",
        ),
    ],
)
def test_parameters_that_are_not_finite_are_refused_by_their_place(value, dtype, text):
    trainer = Trainer(Network(4, [Dense(3)]), dtype=dtype, target="numpy")
    before = trainer.parameters[0][0].copy()
    W, b = np.ones((4, 3)), np.zeros(3)
    W[2, 1] = value
    with pytest.raises(InvalidInput, match=text):
        trainer.set_parameters([(W, b)])
    np.testing.assert_array_equal(trainer.parameters[0][0], before)


@pytest.mark.parametrize("value", [np.nan, np.inf, np.float32("inf")])
def test_a_bias_that_is_not_finite_is_refused_by_its_place(value):
    trainer = Trainer(Network(4, [Dense(3)]), target="numpy")
    with pytest.raises(InvalidInput, match=r"b of Dense layer 0 has (nan|inf) at \[1\]"):
        trainer.set_parameters([(np.ones((4, 3)), np.array([0, value, 0]))])


@pytest.mark.parametrize("setting", [{"dtype": "float64"}, {"seed": 3}, {"batch_size": 2}], ids=str)
@pytest.mark.parametrize("method", ["load", "resume"])
def test_a_setting_that_a_file_has_is_not_taken_by_who_reads_it(tmp_path, setting, method):
    path = tmp_path / "model.fastnn"
    trainer_of(target="numpy").save(path)
    [name] = setting
    with pytest.raises(
        InvalidInput, match=rf"Trainer.{method} takes .*, not {name}, .*trainer.set"
    ):
        getattr(Trainer, method)(path, **setting)


def test_fit_has_its_defaults_in_one_place():
    own = inspect.signature(Trainer._fit).parameters.values()
    assert all(each.default is each.empty for each in own)
