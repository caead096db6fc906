"""What was pickled by version 0.1, whose modules had other names, is read."""

import importlib
import pickle
import subprocess
import sys

import pytest

import fastnn
from fastnn.storage.old_names import MOVED

# Protocol 0, as version 0.1 pickled a class: c, the module, its name.
CLASSES = [
    ("fastnn.trainer", "Trainer"),
    ("fastnn.model", "Model"),
    ("fastnn.model", "Earlier"),
    ("fastnn.problem", "Problem"),
    ("fastnn.spec", "Network"),
    ("fastnn.spec", "Dense"),
    ("fastnn.spec", "Dropout"),
    ("fastnn.spec", "SGD"),
    ("fastnn.optimizers", "Adam"),
    ("fastnn.schedules", "Cosine"),
    ("fastnn.history", "History"),
    ("fastnn.history", "Restore"),
    ("fastnn.restarts", "Restarts"),
    ("fastnn.restarts", "Restart"),
    ("fastnn.custom", "CustomActivation"),
    ("fastnn.custom", "CustomLoss"),
    ("fastnn.initialisers", "he_normal"),
    ("fastnn.initialisers", "_filled"),
    ("fastnn.callbacks", "EarlyStopping"),
    ("fastnn.callbacks.early_stopping", "EarlyStopping"),
    ("fastnn.callbacks.checkpoint", "Checkpoint"),
    ("fastnn.callbacks.csv_logger", "CSVLogger"),
    ("fastnn.callbacks.reduce_on_plateau", "ReduceOnPlateau"),
    ("fastnn.callbacks.tensorboard", "TensorBoard"),
    ("fastnn.sweep_result", "SweepResult"),
    ("fastnn.errors", "Diverged"),
]


@pytest.mark.parametrize(("module", "name"), CLASSES)
def test_a_class_is_found_under_the_name_that_older_pickles_have(module, name):
    found = pickle.loads(f"c{module}\n{name}\n.".encode())
    assert found.__name__ == name and found is getattr(fastnn, name, found)
    # There is one of each: what is pickled now is found again.
    assert pickle.loads(pickle.dumps(found)) is found


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_name_is_the_module_itself_and_leaves_it_alone(old):
    module = importlib.import_module(MOVED[old])
    spec = module.__spec__
    assert importlib.import_module(old) is module
    assert module.__name__ == MOVED[old] and module.__spec__ is spec


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_name_can_be_the_first_import_of_a_process(old):
    code = f"import {old} as old, {MOVED[old]} as new; assert old is new, (old, new)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_module_that_never_was_is_none():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("fastnn.callbacks.nonsense")
