"""Settings of a trainer: read as attributes, changed by `set`, and never accepted in vain."""

import copy
import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest
from trainer_cases import BINARY, LABELS, LAYERS, REAL, TARGETS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    AveragedSGD,
    Checkpoint,
    Dense,
    Dropout,
    EarlyStopping,
    LayerNorm,
    Lion,
    Nadam,
    Network,
    RMSProp,
    Trainer,
    TrainerBusy,
    sweep,
)
from fastnn.errors import FastnnError, InvalidInput, NotAssignable
from fastnn.inputs.problem import Problem
from fastnn.schedules import Constant
from fastnn.training.settings import SETTINGS

OPTIMIZERS = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.1, 0.9),
    "nesterov": SGD(0.1, 0.9, nesterov=True),
    "adam": Adam(0.01),
    "adamw": AdamW(0.01),
    "nadam": Nadam(0.01),
    "rmsprop": RMSProp(0.01),
    "adagrad": Adagrad(0.01),
    "lion": Lion(0.01),
    "averaged": AveragedSGD(0.1),
}
SAME_STATE = [{"momentum", "nesterov"}, {"adam", "adamw", "nadam"}]


def everything(trainer):
    """Return all that there is, to the bit, settings included."""
    model = trainer.__getstate__()
    others = model.target, model.threads, model.shuffle, model.on_divergence, model.max_restores
    return state_of(trainer), model.problem, others, model.rate_factor


def slots_of(trainer):
    return trainer.__getstate__().slots


def same(layers, others):
    return all(
        np.array_equal(one, other)
        for layer, its in zip(layers, others, strict=True)
        for one, other in zip(layer, its, strict=True)
    )


@pytest.mark.parametrize("name", [*Problem.__dataclass_fields__, "target", "threads", "shuffle"])
def test_every_setting_is_an_attribute(name):
    trainer = trainer_of(batch_size=5, l2=0.1, clip_norm=2.0, seed=3, threads=2, shuffle=False)
    expected = trainer.__getstate__()
    holder = expected.problem if hasattr(expected.problem, name) else expected
    assert getattr(trainer, name) == getattr(holder, name)


ASSIGNED = {
    "optimizer": (Adam(), r"trainer\.set\(optimizer=\.\.\.\)"),
    "loss": ("mse", r"trainer\.set\(loss=\.\.\.\)"),
    "network": (Network(4, LAYERS), r"trainer\.set\(network=\.\.\.\)"),
    "batch_size": (16, r"trainer\.set\(batch_size=\.\.\.\)"),
    "l1": (0.1, r"trainer\.set\(l1=\.\.\.\)"),
    "l2": (0.1, r"trainer\.set\(l2=\.\.\.\)"),
    "dtype": ("float64", r"trainer\.set\(dtype=\.\.\.\)"),
    "clip_value": (1.0, r"trainer\.set\(clip_value=\.\.\.\)"),
    "clip_norm": (1.0, r"trainer\.set\(clip_norm=\.\.\.\)"),
    "precision": ("tf32", r"trainer\.set\(precision=\.\.\.\)"),
    "learning_rate": (0.1, r"trainer\.set\(learning_rate=\.\.\.\)"),
    "lr": (0.1, r"trainer\.set\(learning_rate=\.\.\.\)"),
    "momentum": (0.9, r"trainer\.set\(optimizer=\.\.\.\).* another momentum"),
    "bathc_size": (16, r"did you mean trainer\.set\(batch_size=\.\.\.\)"),
    "seed": (1, r"make a new Trainer\(\.\.\., seed=\.\.\.\)"),
    "parameters": ([], r"trainer\.set_parameters\(\.\.\.\)"),
    "problem": (None, r"trainer\.set\("),
    "history": (None, "fit enters epochs"),
    "epoch": (3, r"trainer\.restore\(copy\)"),
    "step": (3, r"trainer\.set_parameters"),
    "remaining": (3, "pass fit the epochs"),
    "note": (3, "derived from Trainer"),
}


@pytest.mark.parametrize("name", ASSIGNED)
def test_what_cannot_be_assigned_is_an_error_that_names_the_way(name):
    value, way = ASSIGNED[name]
    trainer = trainer_of()
    trainer.fit(X, LABELS, epochs=1)
    before, attributes = everything(trainer), set(vars(trainer))
    for each in (trainer, copy.copy(trainer), pickle.loads(pickle.dumps(trainer))):
        with pytest.raises(NotAssignable, match=rf"'?{name}'?.*{way}") as found:
            setattr(each, name, value)
        assert isinstance(found.value, (FastnnError, AttributeError))
        assert everything(each) == before and set(vars(each)) == attributes


class Mine(Trainer):
    """A trainer of a user, with attributes of its own."""

    declared = None
    lr = None

    def __init__(self, *args, note, **settings):
        self.early = "before"
        super().__init__(*args, **settings)
        self.note = note


def test_a_class_of_ones_own_has_attributes_of_its_own_but_no_settings_by_accident():
    mine = Mine(Network(4, LAYERS), note="mine", target="numpy", batch_size=8)
    mine.note += "!"
    mine.declared, mine.lr, mine.later = 1, 2, 3
    assert (mine.early, mine.note, mine.declared, mine.lr, mine.later) == (
        "before",
        "mine!",
        1,
        2,
        3,
    )
    for name in ("learning_rate", "batch_size", "momentum", "epoch"):
        with pytest.raises(NotAssignable):
            setattr(mine, name, 1)
    mine.fit(X, LABELS, epochs=1)
    assert isinstance(copy.copy(mine), Mine) and mine.set(batch_size=4) == "batch_size 8 -> 4"
    again = pickle.loads(pickle.dumps(mine))
    again.note = "again"
    assert again.batch_size == 4 and state_of(again) == state_of(mine)


@pytest.mark.parametrize("target", TARGETS)
def test_another_rate_is_what_a_schedule_with_that_rate_from_there_is(target):
    """Momentum, and Adam's moments with the correction of their bias, go on to the bit."""
    for kind in (lambda rate: SGD(rate, 0.9), Adam, AveragedSGD):
        trainer = trainer_of(optimizer=kind(0.1), target=target)
        whole = trainer_of(optimizer=kind(lambda step: 0.1 if step < 10 else 0.02), target=target)
        trainer.fit(X, LABELS, epochs=2)
        said = trainer.set(learning_rate=0.02)
        assert said == "learning_rate 0.1 -> 0.02, the state is kept (step 10)"
        trainer.fit(X, LABELS, epochs=2)
        whole.fit(X, LABELS, epochs=4)
        assert state_of(trainer) == state_of(whole)
        assert trainer.history.learning_rate == [0.1, 0.1, 0.02, 0.02]


@pytest.mark.parametrize("target", TARGETS)
def test_adam_goes_on_as_adamw_without_decay(target):
    trainer, whole = (trainer_of(optimizer=Adam(0.05), target=target) for _ in range(2))
    trainer.fit(X, LABELS, epochs=2)
    trainer.set(optimizer=AdamW(0.05, weight_decay=0.0))
    assert trainer.step == 10
    trainer.fit(X, LABELS, epochs=1)
    whole.fit(X, LABELS, epochs=3)
    for layer, other in zip(trainer.parameters, whole.parameters, strict=True):
        for array, expected in zip(layer, other, strict=True):
            np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-7)


def test_momentum_goes_on_as_nesterovs_as_pytorch_has_it():
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    trainer = trainer_of([Dense(1)], loss="mse", optimizer=SGD(0.1, 0.8), dtype="float64",
                         batch_size=37, shuffle=False)  # fmt: skip
    layer = torch.nn.Linear(4, 1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(trainer.parameters[0][0].T))
        layer.bias.zero_()
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, 0.8)
    features, targets = (
        torch.from_numpy(X.astype(np.float64)),
        torch.from_numpy(REAL.reshape(-1, 1)),
    )
    for step in range(8):
        if step == 4:
            for group in optimizer.param_groups:
                group.update(nesterov=True, momentum=0.6)
            trainer.set(optimizer=SGD(0.1, 0.6, nesterov=True))
        optimizer.zero_grad()
        (0.5 * (layer(features) - targets) ** 2).mean().backward()
        optimizer.step()
        trainer.fit(X, REAL, epochs=1)
    expected = layer.weight.detach().numpy().T
    np.testing.assert_allclose(trainer.parameters[0][0], expected, rtol=1e-7)


@pytest.mark.parametrize("before", OPTIMIZERS)
@pytest.mark.parametrize("after", OPTIMIZERS)
def test_state_is_kept_where_it_means_the_same_and_else_starts_anew(before, after):
    trainer = trainer_of(optimizer=OPTIMIZERS[before])
    trainer.fit(X, LABELS, epochs=2)
    outputs, slots, parameters = trainer.forward(X), slots_of(trainer), trainer.parameters
    trainer.rate_factor = 0.5
    said = trainer.set(optimizer=replace(OPTIMIZERS[after], learning_rate=0.03))
    kept = before == after or any({before, after} <= group for group in SAME_STATE)
    assert f"the state {'is kept (step 10)' if kept else 'starts anew (step 0)'}" in said
    assert "rate_factor 0.5 -> 1.0" in said and trainer.rate_factor == 1.0
    assert trainer.step == (10 if kept else 0) and trainer.epoch == len(trainer.history) == 2
    assert np.array_equal(trainer.forward(X), outputs) and same(trainer.parameters, parameters)
    if kept:
        assert all(same(*pair) for pair in zip(slots_of(trainer), slots, strict=True))
        return
    other = trainer_of(optimizer=trainer.optimizer, shuffle=False)
    other.set_parameters(parameters)
    # Both do without dropout and order, which depend on the epoch.
    still = Network(4, [LAYERS[0], LAYERS[2]])
    trainer.set(network=still, shuffle=False), other.set(network=still)
    trainer.fit(X, LABELS, epochs=2), other.fit(X, LABELS, epochs=2)
    assert same(trainer.parameters, other.parameters)


CHANGES = [
    {"batch_size": 5},
    {"l1": 0.01, "l2": 0.1},
    {"clip_norm": 0.1},
    {"clip_value": 0.01},
    {"loss": lambda z, y: (z - y) ** 2},
    {"network": Network(4, [Dropout(0.2), Dense(6, "relu", max_norm=0.5), Dense(3, l2=0.3)])},
    {"shuffle": False},
    {"dtype": "float64"},
    {"optimizer": Adam(0.01), "batch_size": 3},
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: ",".join(changes))
def test_what_is_set_is_what_trains(changes, target):
    """The same bits as of a trainer that was made with these settings and taken that far."""
    y = LABELS if "loss" not in changes else np.eye(3)[LABELS]
    trainer = trainer_of(target=target)
    trainer.fit(X, LABELS, epochs=2)
    engine = trainer._open()
    trainer.set(**changes)
    made = trainer_of(**({"layers": trainer.network.layers, "target": target} | {
        name: value for name, value in changes.items() if name != "network"}))  # fmt: skip
    made.set_parameters(trainer.parameters)
    model = made.__getstate__()
    made.__setstate__(replace(model, epoch=2, step=trainer.step, history=trainer.history.copy()))
    assert trainer.problem == made.problem and trainer.shuffle == made.shuffle
    assert (trainer._open() is engine) == (changes == {"shuffle": False})
    trainer.fit(X, y, epochs=2), made.fit(X, y, epochs=2)
    assert state_of(trainer) == state_of(made)
    assert trainer.set() == ""


def test_target_and_threads_are_set_or_assigned_and_the_history_tells():
    trainer = trainer_of()
    trainer.fit(X, LABELS, epochs=1)
    assert trainer.set(target="auto", threads=2) == "target 'numpy' -> 'auto'; threads None -> 2"
    trainer.threads = 3
    trainer.target, trainer.shuffle, trainer.max_restores = "numpy", False, 2
    trainer.on_divergence = "restore"
    assert trainer.fit(X, LABELS, epochs=1).target == "numpy"
    assert everything(trainer)[2] == ("numpy", 3, False, "restore", 2)
    other = trainer_of()
    other.fit(X, LABELS, epochs=1)
    other.set(shuffle=False)
    other.fit(X, LABELS, epochs=1)
    assert same(trainer.parameters, other.parameters)


def test_parameters_and_state_are_converted_to_another_dtype_or_it_is_refused():
    trainer = trainer_of(optimizer=SGD(0.1, 0.9))
    trainer.fit(X, LABELS, epochs=2)
    before = state_of(trainer)
    trainer.set(dtype=np.float64)
    assert {array.dtype.name for layer in trainer.parameters for array in layer} == {"float64"}
    assert trainer.step == 10
    trainer.set(dtype="float32")
    assert state_of(trainer) == before
    large = trainer_of([Dense(1)], loss="mse", dtype="float64")
    large.set_parameters([(np.full((4, 1), 1e200), np.zeros(1))])
    with pytest.raises(InvalidInput, match="parameters cannot become float32.*infinite"):
        large.set(dtype="float32")
    assert large.dtype == np.float64 and large.parameters[0][0][0] == 1e200


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"batch_size": 4, "l2": -1.0}, "l2 must be"),
        ({"l2": 0.1, "batch_size": 0}, "batch_size must be"),
        ({"threads": 2, "target": "gpu"}, "did you mean 'cuda'"),
        ({"target": "numpy", "threads": 0}, "threads must be"),
        ({"batch_size": 4, "shuffle": 1}, "shuffle must be True, False, or a whole number"),
        ({"batch_size": 4, "max_restores": 0}, "max_restores must be"),
        ({"batch_size": 4, "on_divergence": "x"}, "unknown on_divergence"),
        ({"batch_size": 4, "optimizer": "adam"}, "optimizer must be one of"),
        ({"batch_size": 4, "optimizer": "adam", "learning_rate": 0.1}, "optimizer must be one of"),
        ({"batch_size": 4, "learning_rate": -0.1}, "learning_rate must be"),
        ({"batch_size": 4, "learning_rate": Constant}, "not the class Constant"),
        ({"batch_size": 4, "lr": 0.1}, r"does not change lr; trainer\.set\(learning_rate"),
        ({"batch_size": 4, "momentum": 0.1}, "momentum is a setting of an optimizer"),
        ({"batch_size": 4, "seed": 1}, r"does not change seed; .*make a new Trainer"),
        ({"batch_size": 4, "loss": "hinged"}, "unknown loss 'hinged'; did you mean 'hinge'"),
        ({"precision": "tf32", "target": "cpu", "batch_size": 4}, "needs target 'cuda'"),
        ({"dtype": "float16", "batch_size": 4}, "dtype must be"),
        ({"network": "4-6-3", "batch_size": 4}, "network must be a Network"),
        (
            {"network": Network(4, [Dense(6), Dense(3, "relu")]), "loss": "hinge"},
            "'relu', whose outputs are 0 or more.*make it",
        ),
        ({"network": Network(5, LAYERS)}, "takes 5 inputs, not 4; make a new Trainer"),
        (
            {"network": Network(4, [Dense(3)])},
            "has Dense layer 0, not Dense layer 0, Dense layer 1; make a new",
        ),
        (
            {"network": Network(4, [Dense(7), Dense(3)])},
            r"has weights \(4, 7\), bias \(7,\) in Dense layer 0, not .*make a new Trainer",
        ),
        ({"network": Network(4, [Dense(6), Dense(2)])}, "in Dense layer 1.*make a new Trainer"),
        ({"network": Network(4, [Dense(6, "prelu"), Dense(3)])}, r"slopes \(6,\) in Dense layer 0"),
        ({"network": Network(4, [Dense(6), Dense(5)])}, r"trainer\.widen\(outputs=5\) gives"),
        ({"network": Network(4, [Dense(6, bias=False), Dense(3)])}, "bias=False in Dense layer 0"),
    ],
)
def test_settings_are_changed_all_together_or_not_at_all(settings, complaint):
    trainer = trainer_of(optimizer=SGD(0.1, 0.9))
    trainer.fit(X, LABELS, epochs=1)
    before, state = everything(trainer), trainer._state
    with pytest.raises(InvalidInput, match=complaint):
        trainer.set(**settings)
    assert trainer._state is state and everything(trainer) == before
    other = trainer_of(optimizer=SGD(0.1, 0.9))
    other.fit(X, LABELS, epochs=2)
    trainer.fit(X, LABELS, epochs=1)
    assert state_of(trainer) == state_of(other)


def test_learning_rate_goes_with_a_new_optimizer_and_with_schedules():
    trainer = trainer_of()
    trainer.set(optimizer=Adam(), learning_rate=Constant(0.02))
    assert trainer.optimizer == Adam(Constant(0.02))


def change(trainer, way):
    return {
        "set": lambda: trainer.set(batch_size=4),
        "assign": lambda: setattr(trainer, "threads", 1),
        "widen": lambda: trainer.widen(outputs=4),
    }[way]()


@pytest.mark.parametrize("way", ["set", "assign", "widen"])
def test_nothing_is_set_during_fit(way):
    seen = []

    def callback(trainer, history):
        with pytest.raises(TrainerBusy, match="between two calls of fit"):
            change(trainer, way)
        seen.append(trainer.epoch)

    trainer, other = trainer_of(), trainer_of()
    trainer.fit(X, LABELS, epochs=2, callbacks=callback)
    other.fit(X, LABELS, epochs=2)
    assert everything(trainer) == everything(other) and seen == [1, 2]
    trainer_of().fit(X, LABELS, epochs=2, callbacks=callback, restarts=2)
    sweep(trainer_of(), X, LABELS, 2, grid={"batch_size": [8]}, callbacks=callback)
    assert len(seen) == 8
    change(trainer, way)


def test_nor_from_another_thread_and_fit_waits_for_no_one():
    trainer, inside, go = trainer_of(), threading.Event(), threading.Event()

    def callback(trainer, history):
        inside.set()
        go.wait(60)

    worker = threading.Thread(
        target=trainer.fit, args=(X, LABELS, 1), kwargs={"callbacks": callback}
    )
    worker.start()
    inside.wait(60)
    with pytest.raises(TrainerBusy):
        trainer.set(batch_size=4)
    go.set()
    worker.join()
    assert trainer.set(batch_size=4) == "batch_size 8 -> 4"


def test_restore_takes_settings_back_too():
    trainer = trainer_of(optimizer=SGD(0.1, 0.9))
    start = copy.copy(trainer)
    trainer.fit(X, LABELS, epochs=1)
    one = copy.copy(trainer)
    trainer.set(optimizer=Adam(), batch_size=4, dtype="float64")
    trainer.fit(X, LABELS, epochs=1)
    two = copy.copy(trainer)
    trainer.set(loss="mse", network=Network(4, [Dense(6, "relu"), Dense(3)]))
    trainer.widen(outputs=5)
    trainer.fit(X, np.eye(5)[LABELS], epochs=1)
    for earlier in (two, one, start, two, pickle.loads(pickle.dumps(one))):
        trainer.restore(earlier)
        found, expected = trainer.__getstate__(), earlier.__getstate__()
        assert found.problem == expected.problem and found.epoch == expected.epoch
        assert found.step == expected.step and same(found.parameters, expected.parameters)
        assert all(same(*pair) for pair in zip(found.slots, expected.slots, strict=True))
    trainer.fit(X, LABELS, epochs=1)
    again = copy.copy(one)
    again.fit(X, LABELS, epochs=1)
    assert same(trainer.parameters, again.parameters)


def test_restore_refuses_other_trainers_whatever_their_settings():
    trainer, other = trainer_of(), trainer_of(optimizer=Adam())
    with pytest.raises(InvalidInput, match="restore takes an earlier"):
        trainer.restore(other)
    trainer.fit(X, LABELS, epochs=1), other.fit(X, LABELS, epochs=1)
    with pytest.raises(InvalidInput, match="restore takes an earlier"):
        trainer.restore(other)


def test_restore_to_other_settings_waits_for_the_end_of_fit_where_data_are_not_for_them():
    trainer = trainer_of()
    trainer.fit(X, LABELS, epochs=1)
    narrow, slower = copy.copy(trainer), copy.copy(trainer)
    trainer.set(batch_size=4)
    caught = []

    def back(trainer, history):
        try:
            trainer.restore(narrow if trainer.network.outputs == 4 else slower)
        except TrainerBusy as error:
            caught.append(str(error))

    trainer.fit(X, LABELS, epochs=1, callbacks=back)
    assert trainer.batch_size == 8 and trainer.epoch == 1 and not caught
    trainer.widen(outputs=4)
    trainer.fit(X, LABELS, epochs=1, callbacks=back)
    assert len(caught) == 1 and "when that has returned" in caught[0] and trainer.epoch == 2
    trainer.restore(narrow)
    assert trainer.network.outputs == 3


def losses_of(trainer, epochs, stopping, *more):
    return trainer.fit(X, LABELS, epochs, callbacks=[stopping, *more])


def test_early_stopping_goes_back_behind_a_change_of_settings(tmp_path):
    for resumed in (False, True):
        path = tmp_path / f"{resumed}.safetensors"
        trainer, stopping = trainer_of(), EarlyStopping(1, "loss", min_delta=10.0)
        losses_of(trainer, 1, stopping, Checkpoint(path, keep=1))
        expected = trainer.__getstate__()
        if resumed:  # with the best epoch under the settings that it had
            trainer.set(optimizer=Adam(0.5), batch_size=3)
            losses_of(trainer, 1, stopping, Checkpoint(path, keep=1))
            trainer, stopping = Trainer.resume(path), EarlyStopping(1, "loss", min_delta=10.0)
            assert trainer.optimizer == Adam(0.5)
        else:
            trainer.set(optimizer=Adam(0.5), batch_size=3)
        losses_of(trainer, 5, stopping)
        assert len(trainer.history) == 3 and trainer.epoch == 1
        assert trainer.problem == expected.problem and same(trainer.parameters, expected.parameters)


@pytest.mark.parametrize("changes", [{"loss": "mse"}, {"dtype": "float64"}])
def test_early_stopping_starts_anew_where_losses_are_others(changes, tmp_path):
    trainer, stopping = trainer_of(), EarlyStopping(3, "loss", min_delta=10.0)
    losses_of(trainer, 2, stopping)
    trainer.set(**changes)
    trainer.fit(X, np.eye(3)[LABELS] if "loss" in changes else LABELS, 2, callbacks=stopping)
    assert stopping.best.epoch == 3 and stopping.best.problem == trainer.problem


def test_a_resumed_best_epoch_is_not_lost_to_settings_changed_before_fit(tmp_path):
    """The file's state of EarlyStopping fits the settings of the file, not those set since."""
    rule = lambda z, y: (z - y) ** 2  # noqa: E731 - whose formula the file keeps
    y = np.eye(3)[LABELS]
    path = tmp_path / "model.safetensors"
    trainer = trainer_of(loss=rule, optimizer=SGD(0.1, 0.9))
    callbacks = [EarlyStopping(5, "loss", min_delta=10.0), Checkpoint(path, keep=1)]
    trainer.fit(X, y, 2, callbacks=callbacks)
    resumed, stopping = Trainer.resume(path), EarlyStopping(5, "loss", min_delta=10.0)
    resumed.set(optimizer=Adam())
    resumed.fit(X, y, 1, callbacks=stopping)
    assert stopping.best.epoch == 1 and stopping.best.optimizer == SGD(0.1, 0.9)


@pytest.mark.parametrize("way", ["file", "pickle", "copy"])
def test_what_was_set_is_kept(way, tmp_path):
    trainer = trainer_of()
    trainer.fit(X, LABELS, epochs=1)
    trainer.set(optimizer=Adam(0.02), l2=0.1, clip_norm=1.0, batch_size=5, shuffle=False)
    trainer.widen(outputs=4)
    trainer.fit(X, LABELS, epochs=1)
    trainer.save(tmp_path / "model.safetensors")
    again = {
        "file": lambda: Trainer.load(tmp_path / "model.safetensors"),
        "pickle": lambda: pickle.loads(pickle.dumps(trainer)),
        "copy": lambda: copy.copy(trainer),
    }[way]()
    assert everything(again) == everything(trainer)
    for each in (trainer, again):
        each.set(learning_rate=0.01)
        each.fit(X, LABELS, epochs=1)
    assert everything(again) == everything(trainer)


def test_restarts_leave_the_trainers_own_settings():
    trainer = trainer_of(threads=2)
    trainer.fit(X, LABELS, epochs=1, restarts=2)
    assert (trainer.threads, trainer.target) == (2, "numpy")
    trainer.set(batch_size=4)
    trainer.fit(X, LABELS, epochs=1)


def test_the_names_that_set_takes_are_those_of_a_trainer_and_the_rate():
    import inspect

    assigned = {"communicator", "synchronise"}  # which say who trains, and not what
    names = {*inspect.signature(Trainer).parameters} - assigned
    assert {*SETTINGS} == names - {"seed"} | {"learning_rate", "trainable"}


def test_binary_and_regression_settings_go_over():
    trainer = trainer_of([Dense(3, "tanh"), Dense(1)], loss="binary_cross_entropy")
    trainer.fit(X, BINARY, epochs=1)
    trainer.set(loss="hinge")
    trainer.fit(X, BINARY, epochs=1)
    trainer.set(loss="mse")
    trainer.fit(X, REAL, epochs=1)
    assert len(trainer.history) == 3


@pytest.mark.parametrize("target", TARGETS)
def test_layers_are_frozen_and_trained_again_between_fits(target):
    trainer = trainer_of(target=target, optimizer=Adam(0.01))
    trainer.fit(X, LABELS, 2)
    before, state = trainer.parameters, slots_of(trainer)
    trainer.set(trainable=[False, True])
    trainer.fit(X, LABELS, 2)
    assert same(trainer.parameters[:1], before[:1])
    assert not same(trainer.parameters[1:], before[1:])
    for slot, its in zip(slots_of(trainer), state, strict=True):
        assert same(slot[:1], its[:1])
    trainer.set(trainable=[True, True])
    trainer.fit(X, LABELS, 1)
    assert not same(trainer.parameters[:1], before[:1])


@pytest.mark.parametrize("flags", [[True], [True] * 3, True, "no", [1.5, True], None])
def test_trainable_is_one_bool_for_each_dense_layer(flags):
    trainer = trainer_of()
    before = everything(trainer)
    with pytest.raises(InvalidInput, match="trainable must"):
        trainer.set(trainable=flags, batch_size=3)
    assert everything(trainer) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate_factor": 0.1}, r"trainer\.rate_factor = "),
        ({"momentum": 0.9}, r"setting of an optimizer; trainer\.set\(optimizer="),
        ({"max_norm": 1.0}, r"setting of layers: trainer\.set\(network="),
        ({"epochs": 3}, "argument of fit"),
        ({"random_state": 3}, r"Trainer\(\.\.\., seed="),
    ],
    ids=str,
)
def test_what_set_does_not_take_is_said_to_be_where_it_is(settings, message):
    with pytest.raises(InvalidInput, match=message):
        trainer_of().set(**settings)


def test_set_says_which_layers_are_frozen():
    trainer = trainer_of()
    assert trainer.set(trainable=[False, True]) == "trainable [True, True] -> [False, True]"
    assert trainer.trainable == (False, True)
    assert trainer.learning_rate == trainer.optimizer.learning_rate


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_normalizations_are_trained_where_they_alone_are(target):
    layers = [Dense(5, "tanh", trainable=False), LayerNorm(), Dense(3, trainable=False)]
    trainer, other = trainer_of(layers, target=target), trainer_of(layers, target="numpy")
    before = trainer.parameters
    for each in (trainer, other):
        each.fit(X, LABELS, 2)
    assert same(trainer.parameters[::2], before[::2])
    assert not same(trainer.parameters[1:2], before[1:2])
    for one, its in zip(trainer.parameters, other.parameters, strict=True):
        for mine, others in zip(one, its, strict=True):
            np.testing.assert_allclose(mine, others, rtol=1e-4, atol=1e-5)
