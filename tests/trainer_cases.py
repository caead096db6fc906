"""Targets, small data and trainers that the tests of the Trainer share."""

import numpy as np
from simulator import SIMULATED, nowhere_to_run, quicken

from fastnn import SGD, Dense, Dropout, Network, Trainer

# In Numba's simulator the tests of all targets are run for CUDA alone.
TARGETS = ["cuda"] if SIMULATED and not nowhere_to_run() else ["numpy", "cpu"]
quicken()

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(37, 4)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, size=37)
BINARY = RANDOM.integers(0, 2, size=37)
REAL = RANDOM.normal(size=37).astype(np.float32)
WEIGHTS = RANDOM.uniform(0.1, 2.0, size=37)
LAYERS = (Dense(6, "tanh"), Dropout(0.3), Dense(3))


def trainer_of(layers=LAYERS, inputs=4, **settings) -> Trainer:
    """Return a trainer for batches of 8 rows on the NumPy target, but for `settings`."""
    defaults = {"optimizer": SGD(0.1), "batch_size": 8, "target": "numpy"}
    return Trainer(Network(inputs, layers), **(defaults | settings))


def spread(trainer: Trainer) -> Trainer:
    """Return a trainer all of whose parameters have been changed at random."""
    random = np.random.default_rng(1)
    network = trainer.problem.network

    def changed(layer, parameter, array):
        if parameter.name == "bias":
            return array + layer.bias * random.normal(size=array.shape)
        return np.maximum(array + random.normal(0, 0.1, array.shape), parameter.low)

    layers = zip(network.parametric, network.parameters, trainer.parameters, strict=True)
    trainer.set_parameters(
        [
            tuple(changed(layer, *each) for each in zip(parameters, arrays, strict=True))
            for layer, parameters, arrays in layers
        ]
    )
    return trainer


def state_of(trainer: Trainer) -> tuple[object, ...]:
    """Return all that training changes, to the bit, but for the times."""
    model = trainer.__getstate__()
    history = model.history.to_dict() | {"seconds": len(model.history.seconds)}
    arrays = [
        (array.dtype.str, array.shape, array.tobytes())
        for layers in (model.parameters, *model.slots)
        for pair in layers
        for array in pair
    ]
    return model.epoch, model.step, history, arrays
