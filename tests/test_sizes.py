"""Numbers of any size: refused with advice, before memory is taken; and formulas of any length."""

import json
import math
import os

import numpy as np
import pytest

from fastnn import (
    SGD,
    Adam,
    AveragedSGD,
    CorruptFile,
    Dense,
    EarlyStopping,
    FastnnError,
    InvalidInput,
    Network,
    Trainer,
    datasets,
    schedules,
    sweep,
)
from fastnn.graph import maximum, minimize, minimum, sigmoid, sin, tanh, trace, where
from fastnn.graph.nodes import MOST_COMPILED, MOST_TOGETHER
from fastnn.graph.saved import to_plain
from fastnn.inputs import memory
from fastnn.storage import tensor_file

HUGE = [10**12, 2**31, 2**63, 10**30, 10**400, 10**5000]
NAMES = ["1e12", "2^31", "2^63", "1e30", "1e400", "1e5000"]
X = np.random.default_rng(0).normal(size=(40, 4))
LABELS = np.arange(40) % 3


def fit(network=None, sample_weight=None, **settings):
    settings.setdefault("target", "numpy")
    trainer = Trainer(network or Network(4, [Dense(5, "relu"), Dense(3)]), **settings)
    trainer.fit(X, LABELS, epochs=1, sample_weight=sample_weight)
    return trainer


WHERE = {
    "units": lambda n: fit(Network(4, [Dense(n, "relu"), Dense(3)])),
    "outputs": lambda n: fit(Network(4, [Dense(n)]), loss="mse"),
    "inputs": lambda n: fit(Network(n, [Dense(3)])),
    "batch_size": lambda n: fit(batch_size=n),
    "seed": lambda n: fit(seed=n),
    "threads": lambda n: fit(threads=n),
    "l1": lambda n: fit(l1=n),
    "learning_rate": lambda n: fit(optimizer=SGD(n)),
    "the learning rate of a function": lambda n: fit(optimizer=SGD(lambda step: n)),
    "start": lambda n: fit(optimizer=AveragedSGD(0.1, start=n)),
    "epsilon": lambda n: fit(optimizer=Adam(epsilon=n)),
    "alpha": lambda n: fit(Network(4, [Dense(5, "elu", alpha=n), Dense(3)])),
    "max_norm": lambda n: fit(Network(4, [Dense(5, max_norm=n), Dense(3)])),
    "StepDecay": lambda n: fit(optimizer=SGD(schedules.StepDecay(0.1, n))),
    "Cosine": lambda n: fit(optimizer=SGD(schedules.Cosine(0.1, n))),
    "OneCycle": lambda n: fit(optimizer=SGD(schedules.OneCycle(0.1, n))),
    "WarmUp": lambda n: fit(optimizer=SGD(schedules.WarmUp(n, 0.1))),
    "clip_norm": lambda n: fit(clip_norm=n),
    "patience": lambda n: EarlyStopping(n),
    "points": lambda n: datasets.moons(n),
    "seed of points": lambda n: datasets.xor(10, seed=n),
    "sample_weight": lambda n: fit(sample_weight=[n] * 40),
    "X": lambda n: Trainer(Network(1, [Dense(2)]), target="numpy").predict([[n]]),
    "a constant of a formula": lambda n: trace(lambda x: x * n),
    "an exponent of a formula": lambda n: trace(lambda x: x**n),
    "start of minimize": lambda n: minimize(lambda x: x * x, start=n, steps=0),
    "restarts of minimize": lambda n: minimize(lambda x: x * x, bounds=(0, 1), restarts=n),
    "seeds of a sweep": lambda n: sweep(lambda **_: fit(), X, LABELS, grid={"l2": [0]}, seeds=n),
    "a dtype": lambda n: fit(dtype=n),
    "a name": lambda n: Dense(3, n),
    "rate_factor": lambda n: setattr(fit(), "rate_factor", n),
}


def seconds_used():
    """Return the processor's seconds of this process and of those that compiled for it."""
    return sum(os.times()[:4])


@pytest.mark.filterwarnings("ignore::fastnn.TrainingWarning")  # where a number leaves no weight
@pytest.mark.parametrize("size", HUGE, ids=NAMES)
@pytest.mark.parametrize("where", WHERE)
def test_numbers_of_any_size_are_used_or_refused(where, size):
    start = seconds_used()
    try:
        WHERE[where](size)
    except FastnnError as error:
        assert 20 < len(str(error)) < 1000
    assert seconds_used() - start < 10


@pytest.mark.parametrize("shape", [(4, 10**9), (2**31 - 1, 3), (10**6, 10**6)])
def test_memory_that_no_machine_has_is_not_asked_for(shape):
    inputs, units = shape
    with pytest.raises(InvalidInput, match=r"a network of \d+ parameters, .* TiB|GiB.*narrower"):
        Trainer(Network(inputs, [Dense(units, "relu"), Dense(3)]))


def test_a_batch_that_does_not_fit_is_refused_where_it_is_laid_out(monkeypatch):
    from fastnn.targets.cpu.plan import make_plan
    from fastnn.targets.layout import Layout

    problem = Trainer(Network(100, [Dense(100, "relu"), Dense(3)]), batch_size=10**6).problem
    make_plan(problem, 1000, Layout(16, 16), 1)
    monkeypatch.setattr(memory, "machine_bytes", lambda: 100 << 20)
    make_plan(problem, 1000, Layout(16, 16), 1)
    with pytest.raises(InvalidInput, match="batches of 1000000 rows .* make batch_size smaller"):
        make_plan(problem, 10**6, Layout(16, 16), 1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"optimizer": Adam(epsilon=1e-300)}, r"epsilon must be above 0 in float32, not 1e-300"),
        ({"optimizer": SGD(1e300)}, "learning_rate must be finite in float32, not 1e"),
        ({"l2": 1e39}, "l2 must be finite in float32, not 1e.39; make it smaller, or use dtype"),
    ],
)
def test_settings_that_the_dtype_cannot_hold_are_refused(settings, said):
    with pytest.raises(InvalidInput, match=said):
        fit(**settings)


@pytest.mark.parametrize("weight", [5e-324, 1e-310, 1e-200, 1e200, 1e306])
def test_only_ratios_of_sample_weights_matter(weight):
    ratios = np.array([1.0, 2.0, 0.0, 1.0] * 10)
    expected, found = fit(sample_weight=ratios), fit(sample_weight=ratios * weight)
    assert found.history.loss == pytest.approx(expected.history.loss, rel=1e-6)
    for a, b in zip(expected.parameters, found.parameters, strict=True):
        assert all(np.allclose(x, y, rtol=1e-5) for x, y in zip(a, b, strict=True))
    alone = np.zeros(40)
    alone[3] = weight
    assert math.isfinite(fit(sample_weight=alone).history.loss[0])


def chain(link, count):
    def formula(x):
        z = x
        for i in range(count):
            z = link(z, x, i + 0.5)
        return z

    return formula


LINKS = {
    "tanh": lambda z, x, i: tanh(z),
    "maximum": lambda z, x, i: maximum(z, x * i),
    "minimum and maximum": lambda z, x, i: maximum(minimum(z * x, i), minimum(x * i, z)),
    "where": lambda z, x, i: where(z > i, z * 2, z + 1),
    "a guard": lambda z, x, i: where(x > i, z, 0) * z,
    "conditions": lambda z, x, i: where((z > i) & (x < i) | (z * x > 2), z * 2, tanh(z)),
    "powers": lambda z, x, i: z**z,
    "whole powers": lambda z, x, i: z**16,
    "products": lambda z, x, i: z * (z + i),
    "doubling": lambda z, x, i: z + z * i,
    "quotients": lambda z, x, i: 1 / (z + 1 / (z + 2)),
    "sums": lambda z, x, i: z + sin(x * i),
    "gates": lambda z, x, i: z * sigmoid(z),
}


@pytest.mark.parametrize("link", LINKS)
def test_formulas_that_would_take_minutes_to_compile_are_refused(link):
    start = seconds_used()
    formula = chain(LINKS[link], 1500)
    for use in (
        lambda: Dense(3, formula),
        lambda: Trainer(Network(2, [Dense(1)]), loss=lambda z, y: formula(z) - y),
        lambda: minimize(formula, start=0.5, steps=1),
    ):
        with pytest.raises(InvalidInput, match=rf"operations, .* at most {MOST_COMPILED} are"):
            use()
    assert seconds_used() - start < 10


@pytest.mark.parametrize("link", LINKS)
def test_such_formulas_in_a_file_are_refused_at_once(tmp_path, link):
    path = tmp_path / "model"
    Trainer(Network(4, [Dense(3, lambda z: tanh(z) * 0.5)]), loss="mse", target="numpy").save(path)
    tensors, content = tensor_file.read(path)
    for count in (200, 5000 if link in ("conditions", "doubling", "sums") else 1500):
        plain = to_plain(trace(chain(LINKS[link], count)))
        content["network"]["layers"][0]["activation"] = json.loads(json.dumps(plain))
        tensor_file.write(path, tensors, content)
        start = seconds_used()
        if count > 200 or len(plain["nodes"]) > MOST_COMPILED:
            with pytest.raises(CorruptFile, match="operations"):
                Trainer.load(path)
        assert seconds_used() - start < 2


def test_the_longest_formula_is_used():
    count = MOST_COMPILED // 4 - 1  # tanh(z) and 1 - a^2 and a product each
    network = Network(2, [Dense(3, chain(LINKS["tanh"], count))])
    assert np.isfinite(Trainer(network, loss="mse", target="numpy").forward(X[:, :2])).all()


def test_formulas_of_all_layers_are_limited_together(tmp_path):
    part = MOST_COMPILED // 5
    layers = [Dense(1, chain(LINKS["tanh"], part)) for _ in range(6)]
    with pytest.raises(InvalidInput, match=rf"operations together, .* at most {MOST_TOGETHER}"):
        Trainer(Network(1, layers), loss="mse")
    path = tmp_path / "model"
    Trainer(Network(4, [Dense(1)]), loss="mse", target="numpy").save(path)
    tensors, content = tensor_file.read(path)
    layer = content["network"]["layers"][0]
    layer["activation"] = to_plain(trace(chain(LINKS["tanh"], part)))
    content["network"]["layers"] = [layer] * 1000
    tensor_file.write(path, tensors, content)
    with pytest.raises(CorruptFile, match=f"more than {MOST_TOGETHER} operations"):
        Trainer.load(path)


def test_derivatives_of_derivatives_end_in_an_error():
    formula = trace(lambda x: tanh(x) * sin(x) / (1 + x**2))
    with pytest.raises(InvalidInput, match="differentiate it fewer times"):
        for _ in range(40):
            formula = formula.derivative("x")


@pytest.mark.parametrize("name", ["z" * 256, "z" * 10**6])
def test_names_have_a_length(name):
    with pytest.raises(InvalidInput, match="longer than 255"):
        trace(lambda z: z, name)
