"""The exponential moving average of the weights, with every optimizer."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from simulator import SIMULATED
from trainer_cases import LABELS, REAL, TARGETS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    AveragedSGD,
    BatchNorm,
    Checkpoint,
    Dense,
    Lion,
    Nadam,
    RMSProp,
    Trainer,
    sweep,
)
from fastnn.errors import InvalidInput
from fastnn.inputs.parameters import start_slots
from fastnn.targets import selection
from fastnn.training.plain_values import optimizer_from_dict, optimizer_to_dict

EMA = 0.7
OPTIMIZERS = [
    SGD(0.1, ema=EMA),
    SGD(0.05, 0.9, ema=EMA),
    SGD(0.05, 0.9, nesterov=True, ema=EMA),
    Adam(0.05, ema=EMA),
    AdamW(0.05, weight_decay=0.3, ema=EMA),
    Nadam(0.05, ema=EMA),
    RMSProp(0.01, ema=EMA),
    Adagrad(0.05, ema=EMA),
    Lion(0.01, weight_decay=0.3, ema=EMA),
]
# On CUDA there is the mean of plain SGD's weights alone.
THERE = OPTIMIZERS[:1] if SIMULATED else OPTIMIZERS
LAYERS = [Dense(5, "prelu", max_norm=0.8), Dense(4, "tanh", trainable=False), Dense(1)]
WITH_NORM = [*LAYERS[:2], BatchNorm(0.3), *LAYERS[2:]]
NETWORKS = {
    "deep": {"layers": LAYERS if SIMULATED else WITH_NORM, "clip_norm": 0.7, "l1": 0.01},
    "narrow first layer": {"layers": [Dense(2, "relu", max_norm=0.5), Dense(1)], "l2": 0.1},
    "one output": {"layers": [Dense(1, max_norm=0.7)], "l1": 0.01},
    "row by row": {"layers": [Dense(1)], "batch_size": 1, "l1": 0.01},
    "row by row, several outputs": {"layers": [Dense(2)], "batch_size": 1},
}


def flat(parameters):
    return [array for arrays in parameters for array in arrays]


def without(optimizer):
    """Return the same optimizer without an ema."""
    return type(optimizer)(**{**vars(optimizer), "ema": 0.0})


def pair_of(optimizer, target, network):
    """Return a trainer with an ema, and one that is the same otherwise."""
    settings = {"target": target, "dtype": "float64", "seed": 3, "loss": "mse", **network}
    kinds = optimizer, without(optimizer)
    return [trainer_of(optimizer=each, inputs=4, **settings) for each in kinds]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("optimizer", THERE, ids=str)
def test_parameters_are_the_corrected_mean_of_those_without(optimizer, network, target):
    """An epoch is one update of two rows, or two of one, so that the path of w can be seen."""
    averaged, plain = pair_of(optimizer, target, NETWORKS[network])
    outputs = averaged.network.outputs
    # Two epochs of the same two rows: they differ from those of one row in the last path alone.
    rows, y = X[:1], np.repeat(REAL[:1, None], outputs, axis=1)
    if plain.batch_size > 1:
        rows, y = X[:2], np.repeat(REAL[:2, None], outputs, axis=1)
    path = []
    for _ in range(6):
        averaged.fit(rows, y, epochs=1)
        plain.fit(rows, y, epochs=1)
        path.append(plain.parameters)
        shares = EMA ** np.arange(len(path))[::-1]
        shares /= shares.sum()
        layers = zip(averaged.parameters, averaged.network.parameters, strict=True)
        for layer, (arrays, known) in enumerate(layers):
            for k, (found, each) in enumerate(zip(arrays, known, strict=True)):
                every = [step[layer][k] for step in path]
                expected = sum(s * a for s, a in zip(shares, every, strict=True))
                wanted = expected if each.trained else every[-1]
                assert_allclose(found, wanted, rtol=1e-9, atol=1e-11, err_msg=each.name)
    assert_allclose(averaged.history.loss, plain.history.loss, rtol=1e-9)  # of w, not of the mean
    assert not np.allclose(flat(averaged.parameters)[0], flat(plain.parameters)[0], rtol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("optimizer", THERE[::4], ids=str)
def test_all_that_predicts_predicts_with_the_mean(optimizer, target):
    averaged, plain = pair_of(optimizer, target, NETWORKS["deep"])
    validation = X[:9], REAL[:9]
    averaged.fit(X, REAL, epochs=3, validation_data=validation)
    plain.set_parameters(averaged.parameters)
    assert_allclose(averaged.forward(X), plain.forward(X), rtol=1e-12, atol=1e-14)
    expected = plain.evaluate(*validation)["loss"]
    assert averaged.evaluate(*validation)["loss"] == pytest.approx(expected)
    assert averaged.history.validation_loss[-1] == pytest.approx(expected)


@pytest.mark.skipif(SIMULATED, reason="of the CPU target")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_are_those_of_one_thread_for_every_number_of_threads(dtype):
    layers = [Dense(70, "relu", max_norm=1.0), BatchNorm(), Dense(40, "prelu"), Dense(3)]
    found = []
    for threads in (1, 2, 5):
        trainer = trainer_of(layers, optimizer=AdamW(0.01, ema=0.9), dtype=dtype, threads=threads,
                             target="cpu", clip_norm=0.5)  # fmt: skip
        trainer.fit(X, LABELS, epochs=2)
        found.append([array.tobytes() for array in flat(trainer.parameters)])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("l1", [0.0, 0.01])
@pytest.mark.parametrize("optimizer", [SGD(0.1, ema=EMA), SGD(0.1, 0.5, ema=EMA)], ids=str)
@pytest.mark.skipif(SIMULATED, reason="CUDA does not read sparse rows")
def test_sparse_rows_come_to_what_dense_ones_do(optimizer, l1, outputs, dtype):
    """Few inputs are used by a batch, so those of plain SGD are made good later."""
    random = np.random.default_rng(4)
    rows = sparse.random(60, 400, 0.01, "csr", dtype, random_state=random)
    y = random.normal(size=(60, outputs)).astype(dtype)
    found = []
    for given in (rows, rows.toarray()):
        settings = {"optimizer": optimizer, "loss": "mse", "l1": l1, "l2": 0.01, "batch_size": 3}
        trainer = trainer_of([Dense(outputs)], 400, dtype=dtype, target="cpu", **settings)
        trainer.fit(given, y, epochs=3)
        found.append(trainer.parameters[0])
    assert np.abs(found[1][0]).max() > 0.01
    for one, other in zip(*found, strict=True):
        assert_allclose(one, other, rtol=0, atol=1e-6 if dtype == "float32" else 1e-14)


def test_pytorchs_average_of_the_models_is_the_same_but_for_its_start():
    """Its mean starts as w_1 and is not corrected: ema^t w_1 + (1 - ema^t) times the one here."""
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    trainer = trainer_of(
        [Dense(5, "tanh"), Dense(1)], optimizer=AdamW(0.05, weight_decay=0.0, ema=EMA), loss="mse",
        batch_size=37, dtype="float64",
    )  # fmt: skip
    model = trainer.to_torch()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(EMA))
    rows, y = torch.tensor(X, dtype=torch.float64), torch.tensor(REAL, dtype=torch.float64)
    first, steps = [], 8
    for _ in range(steps):
        optimizer.zero_grad()
        (torch.square(model(rows)[:, 0] - y).mean() / 2).backward()
        optimizer.step()
        averaged.update_parameters(model)
        first = first or [each.detach().numpy().copy() for each in model.parameters()]
    trainer.fit(X, REAL, epochs=steps)
    means = [each.detach().numpy() for each in averaged.module.parameters()]
    for found, mean, start in zip(flat(trainer.parameters), means, first, strict=True):
        expected = (mean - EMA**steps * start) / (1 - EMA**steps)
        assert_allclose(found, expected.T, rtol=1e-9, atol=1e-12)
    # And what is given away is the mean.
    given = trainer.to_torch()(rows).detach().numpy()
    assert_allclose(given, trainer.forward(X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("optimizer", THERE[::4], ids=str)
@pytest.mark.parametrize("between", ["nothing", "file", "pickle", "copy", "checkpoint"])
def test_training_goes_on_to_the_same_bits(between, optimizer, target, tmp_path):
    whole, parts = (trainer_of(optimizer=optimizer, target=target) for _ in range(2))
    whole.fit(X, LABELS, epochs=5)
    parts.fit(X, LABELS, epochs=2, callbacks=Checkpoint(tmp_path / "checkpoints"))
    if between == "file":
        parts.save(tmp_path / "model")
        parts = Trainer.load(tmp_path / "model")
    elif between == "pickle":
        parts = pickle.loads(pickle.dumps(parts))
    elif between == "copy":
        parts = copy.deepcopy(parts)
    elif between == "checkpoint":
        parts = Trainer.resume(tmp_path / "checkpoints")
    parts.fit(X, LABELS, epochs=3)
    assert state_of(parts) == state_of(whole)


@pytest.mark.parametrize("target", TARGETS)
def test_restarts_and_a_sweep_are_what_each_gives_alone(target):
    trainer = trainer_of(optimizer=THERE[-1], target=target)
    history = trainer.fit(X, LABELS, epochs=3, restarts=3)
    alone = trainer_of(optimizer=THERE[-1], target=target, seed=trainer.problem.seed)
    alone.fit(X, LABELS, epochs=3)
    assert history.loss == alone.history.loss
    assert all(map(np.array_equal, flat(trainer.parameters), flat(alone.parameters)))
    swept = sweep(trainer_of(optimizer=SGD(0.1), target=target), X, LABELS, 3,
                  grid={"ema": [0.0, 0.5, 0.9]}, validation_data=(X, LABELS))  # fmt: skip
    for ema, found in zip([0.0, 0.5, 0.9], swept, strict=True):
        alone = trainer_of(optimizer=SGD(0.1, ema=ema), target=target)
        alone.fit(X, LABELS, epochs=3, validation_data=(X, LABELS))
        assert found.validation_loss == alone.history.validation_loss[-1]


def test_another_ema_keeps_the_state_and_none_leaves_the_mean():
    trainer = trainer_of(optimizer=AdamW(0.05, ema=0.9))
    trainer.fit(X, LABELS, epochs=2)
    mean, step = trainer.parameters, trainer.step
    assert "the state is kept" in trainer.set(optimizer=Adam(0.01, ema=0.5))
    assert trainer.step == step
    assert "starts anew" in trainer.set(optimizer=Adam(0.01))
    assert all(map(np.array_equal, flat(trainer.parameters), flat(mean)))
    assert trainer.step == 0
    trainer.set(optimizer=AdamW(0.01, ema=0.3))
    trainer.fit(X, LABELS, epochs=1)
    assert not np.array_equal(flat(trainer.parameters)[0], flat(mean)[0])


def test_widening_and_scaling_the_state_keep_the_mean_in_step():
    trainer = trainer_of([Dense(4, "tanh"), Dense(3)], optimizer=SGD(0.1, 0.9, ema=0.9))
    trainer.fit(X, LABELS, epochs=2)
    mean = flat(trainer.parameters)
    trainer.scale_state(5.0)  # of the velocity
    assert all(map(np.array_equal, flat(trainer.parameters), mean))
    trainer.widen(5)
    assert all(map(np.array_equal, flat(trainer.parameters)[:2], mean[:2]))
    W, b = trainer.parameters[-1]
    assert np.array_equal(W[:, :3], mean[2])
    assert W[:, 3:].all()
    assert not b[3:].any()
    trainer.fit(X, LABELS, epochs=1)


def test_a_trace_shows_the_mean_beside_the_weights():
    trainer = trainer_of([Dense(3)], optimizer=Adam(0.1, ema=EMA), dtype="float64")
    one, two, three = trainer.trace(X, LABELS, steps=3)
    assert np.array_equal(one.after[0].W, two.at[0].W)  # after one update the mean is w
    expected = (EMA * two.at[0].W + three.at[0].W) / (1 + EMA)
    assert_allclose(two.after[0].W, expected, rtol=1e-12)
    assert not np.allclose(expected, three.at[0].W, rtol=1e-3)


def test_the_state_starts_with_a_copy_of_the_parameters_behind_the_slots_of_the_rule():
    trainer = trainer_of(optimizer=Adam(ema=0.9))
    slots = start_slots(trainer.problem, trainer.parameters)
    assert len(slots) == 3
    assert all(map(np.array_equal, flat(slots[2]), flat(trainer.parameters)))
    assert not any(array.any() for slot in slots[:2] for array in flat(slot))


def test_files_from_before_there_was_an_ema_have_none():
    for optimizer in (*map(without, OPTIMIZERS), AveragedSGD(0.1)):
        values = optimizer_to_dict(optimizer)
        assert values.pop("ema") == 0.0
        assert optimizer_from_dict(values) == optimizer
    pickled = pickle.dumps(SGD(0.1))
    old = pickle.loads(pickled)
    del old.__dict__["ema"]
    assert old.ema == 0.0
    assert old.rule == "sgd"


@pytest.mark.parametrize("value", [1.0, 1.5, -0.1, np.nan, np.inf, "0.9", None, True])
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_values_out_of_range_are_refused(kind, value):
    with pytest.raises(InvalidInput, match="ema"):
        kind(0.1, ema=value)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(InvalidInput, match=r"SGD\(0.1, ema=0.9\)"):
        AveragedSGD(0.1, ema=0.9)
    problem = trainer_of(optimizer=SGD(0.1, 0.9, ema=0.9)).problem
    with pytest.raises(InvalidInput, match="the ema of SGD yet.*use target='cpu'"):
        selection.choose("cuda", problem)
    assert selection.choose("auto", problem)[0] == "cpu"


def test_it_is_shown_where_it_is_set():
    assert repr(Adam(ema=0.5)).endswith("epsilon=1e-08, ema=0.5)")
    for optimizer in OPTIMIZERS:
        assert eval(repr(optimizer)) == optimizer
        assert "ema" not in repr(without(optimizer))
