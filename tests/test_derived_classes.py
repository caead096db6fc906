"""User-defined classes derived from fastnn's: refused where nothing would be left of them."""

import numpy as np
import pytest
from trainer_cases import REAL, X, trainer_of

from fastnn import AdamW, Checkpoint, Dense, Huber, InvalidInput, MLPRegressor, Network
from fastnn.initializers import ConstantInitialiser, LostInitialiser
from fastnn.losses import KINDS as LOSSES
from fastnn.network import LAYERS
from fastnn.optimizers import OPTIMIZERS, Optimizer
from fastnn.training.plain_values import (
    loss_to_plain,
    network_from_dict,
    network_to_dict,
    optimizer_to_dict,
)

SETTINGS = {"Dense": (3,), "Dropout": (0.5,), "SGD": (0.1,), "AveragedSGD": (0.1,)}


def derived(kind, **overridden):
    """Return an object of a class named My that is derived from `kind`."""
    return type("My", (kind,), overridden)(*SETTINGS.get(kind.__name__, ()))


def message(kind, what):
    """Return what is said of such an object, which is `what`."""
    name = kind.__name__
    return rf"{what} is of the class My, which is derived from {name}; .*pass {name}\("


@pytest.mark.parametrize("overridden", [{}, {"rule": "sgd"}], ids=["nothing", "rule"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimizer_of_a_derived_class_is_refused(kind, overridden):
    optimizer = derived(kind, **overridden)
    for make in (trainer_of, trainer_of().set):
        with pytest.raises(InvalidInput, match=message(kind, "optimizer")):
            make(optimizer=optimizer)
    with pytest.raises(InvalidInput, match=message(kind, "optimizer")):
        MLPRegressor(optimizer=optimizer, max_iter=1, target="numpy").fit(X, REAL)
    with pytest.raises(InvalidInput, match="what is to be saved is of the class My"):
        optimizer_to_dict(optimizer)


def test_an_optimizer_of_no_class_of_fastnn_is_refused():
    class Own(Optimizer):
        rule = "sgd"

    with pytest.raises(InvalidInput, match="optimizer must be one of SGD, .*not Own"):
        trainer_of(optimizer=Own(0.1))


@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_of_a_derived_class_is_refused(kind):
    loss = derived(kind)
    with pytest.raises(InvalidInput, match=message(kind, "loss")):
        trainer_of([Dense(1)], loss=loss)
    with pytest.raises(InvalidInput, match="what is to be saved is of the class My"):
        loss_to_plain(loss)
    with pytest.raises(InvalidInput, match=r"My is one; one is Quantile\(\)"):
        trainer_of([Dense(1)], loss=type(loss))


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_of_a_derived_class_is_refused(kind):
    layer = derived(kind)
    with pytest.raises(InvalidInput, match=message(kind, "layer 1")):
        Network(4, [Dense(2), layer, Dense(3)])


@pytest.mark.parametrize("kind", [Dense, Huber, AdamW])
def test_what_an_older_pickle_has_of_derived_classes_is_not_written(kind, tmp_path):
    trainer = trainer_of([Dense(3)])
    if kind is Dense:
        object.__setattr__(trainer.problem.network, "layers", (derived(kind),))
    else:
        name = "loss" if kind is Huber else "optimizer"
        object.__setattr__(trainer.problem, name, derived(kind))
    with pytest.raises(InvalidInput, match="what is to be saved is of the class My"):
        trainer.save(tmp_path / "model.safetensors")
    with pytest.raises(InvalidInput, match="what is to be saved is of the class My"):
        Checkpoint(tmp_path).check(trainer)
    assert not list(tmp_path.iterdir())


def test_an_initialiser_derived_from_constant_is_no_constant_in_a_file():
    class Ramp(ConstantInitialiser):
        def __call__(self, generator, n_in, n_out):
            return np.full((n_in, n_out), self.value) + np.arange(n_out)

    network = Network(2, [Dense(3, init=Ramp(1.0))])
    layer = network_from_dict(network_to_dict(network)).layers[0]
    assert isinstance(layer.init, LostInitialiser) and layer.init.name.endswith("Ramp")
