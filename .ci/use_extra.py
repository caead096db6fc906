"""Use what one extra brings, where nothing else is installed: ``python use_extra.py NAME``."""

import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np

import fastnn
from fastnn import Dense, MissingExtra, Network, Trainer

X = np.linspace(-1, 1, 60, dtype=np.float32).reshape(20, 3)
LABELS = np.arange(20) % 2


def trained(target="numpy"):
    """Return a trainer of a small network, with a history."""
    trainer = Trainer(Network(3, [Dense(4, "tanh"), Dense(2)]), target=target)
    trainer.fit(X, LABELS, epochs=2)
    return trainer


def sweep():
    """Return the table of a small sweep."""
    return fastnn.sweep(
        lambda **settings: Trainer(Network(3, [Dense(2)]), target="numpy", **settings),
        X, LABELS, epochs=1, grid={"batch_size": [5, 10]}, workers=1,
    )  # fmt: skip


def use_sklearn():
    """Fit estimators to data that come from scikit-learn."""
    from fastnn import MLPClassifier, SGDClassifier
    from fastnn.examples.tables import breast_cancer

    rows, labels, _ = breast_cancer()
    network = MLPClassifier((8,), learning_rate_init=0.01, standardize=True, random_state=0)
    for model in (network, SGDClassifier(standardize=True, random_state=0)):
        assert model.fit(rows, labels).score(rows, labels) > 0.95


def use_plots():
    """Draw a history."""
    import matplotlib

    matplotlib.use("Agg")
    fastnn.plots.loss_curves(trained().history).figure.canvas.draw()


def use_tables():
    """Make a frame of a sweep, which without pandas names this extra."""
    table = sweep()
    with patch.dict(sys.modules, {"pandas": None}):
        try:
            table.to_frame()
        except MissingExtra as error:
            assert "fastnn[tables]" in str(error)
        else:
            raise AssertionError("to_frame worked without pandas")
    assert len(table.to_frame()) == 2


def use_tensorboard():
    """Log a training, and find the file."""
    with tempfile.TemporaryDirectory() as folder:
        trained().fit(X, LABELS, epochs=1, callbacks=fastnn.TensorBoard(folder))
        assert os.listdir(folder)


def use_onnx():
    """Write a network, and read it with what the package has to evaluate one."""
    from onnx.reference import ReferenceEvaluator

    trainer = trained()
    with tempfile.TemporaryDirectory() as folder:
        trainer.to_onnx(f"{folder}/model.onnx")
        outputs, _ = ReferenceEvaluator(f"{folder}/model.onnx").run(None, {"X": X})
    np.testing.assert_allclose(outputs, trainer.forward(X), rtol=1e-5)


def use_mpi():
    """Run what the guide says of MPI, in two processes."""
    page = Path(__file__).resolve().parents[1] / "fastnn/guide/many_machines.md"
    blocks = re.findall(r"^```py\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (text,) = (each for each in blocks if "communicator=" in each)
    mpiexec = Path(sys.executable).with_name("mpiexec")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "train.py").write_text(text)
        done = subprocess.run(
            [mpiexec, "-n", "2", sys.executable, "-m", "mpi4py", "train.py"],
            cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 0 and 0.0 < float(done.stdout) < 1.0, done.stderr


def use_cuda():
    """Compile a kernel to machine code, as for a device that is not there."""
    from numba import cuda, float32
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv import devices

    from fastnn.targets.cuda.host.reader import make_convert

    device = SimpleNamespace(compute_capability=(9, 0), id=0)
    with (
        patch.object(cuda, "get_current_device", lambda: device),
        patch.object(dispatcher, "get_current_device", lambda: device),
        patch.object(devices, "get_context", lambda: SimpleNamespace(device=device)),
        patch.object(dispatcher._Kernel, "bind", lambda kernel: kernel.library.get_cubin()),
    ):
        kernel = make_convert().compile((float32[:, ::1], float32[:, ::1]))
        assert kernel.library.get_cubin().code


if __name__ == "__main__":
    warnings.simplefilter("error", fastnn.CacheWarning)
    globals()[f"use_{sys.argv[1]}"]()
    print(f"{sys.argv[1]}: works on Python {sys.version.split()[0]}, NumPy {np.__version__}")
