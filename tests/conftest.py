"""What every test shares: where kernels are cached, where real data are, how hypothesis runs."""

import gc
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from pairs import EVERY_CASE, covering, values_of
from simulator import SIMULATED

# An example may include a compilation, so its time says nothing.
settings.register_profile("fastnn", deadline=None)
settings.load_profile("fastnn")


def pytest_configure(config: pytest.Config) -> None:
    """Cache kernels beside pytest's own cache, so that the tests leave user folders alone."""
    cache = getattr(config, "cache", None)  # missing under `-p no:cacheprovider`
    if cache is not None:
        os.environ.setdefault("FASTNN_CACHE_DIR", str(cache.mkdir("kernels")))


def pytest_collection_finish() -> None:
    """Have no search for garbage look through all that was collected, and PyTorch's threads rest.

    Where other processes are at work too, these wait for each other longer than they compute.
    """
    gc.collect()
    gc.freeze()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, where CUDA is Numba's simulator, what is not about CUDA.

    Of a test's cases there, those that have every value of its parameters. Tests in folders of
    their own have ways of their own: see tests/targets and tests/cuda.
    """
    if not SIMULATED:
        return
    here, cases, kept = Path(__file__).parent, defaultdict(list), set()
    for item in items:
        if item.path.parent not in (here, here / "mnist"):
            kept.add(item)
        elif _parameters_of(item).get("target") == "cuda":
            cases[item.function].append(item)
    for items_of_test in cases.values():
        values = [values_of(_parameters_of(item), ["target"]) for item in items_of_test]
        taken = range(len(values)) if EVERY_CASE else covering(values, 1)
        kept.update(items_of_test[i] for i in taken)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def _parameters_of(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else callspec.params


@pytest.fixture(autouse=True)
def _teams_for_little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have as many threads as there are train what is short, too: so are the epochs of tests."""
    if not SIMULATED:
        monkeypatch.setattr("fastnn.targets.cpu.engine.ALONE_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def _no_figure_stays() -> Iterator[None]:
    """Close what a test has drawn: Matplotlib warns of more than 20 open figures in a process."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of real data sets, or skip where there is none."""
    name = os.environ.get("FASTNN_DATA")
    if not name:
        pytest.skip("FASTNN_DATA is not set; it names the folder with mnist.npz")
    folder = Path(name)
    if not folder.is_dir():
        pytest.skip(f"FASTNN_DATA={name} is not a folder")
    return folder


@pytest.fixture
def pyplot() -> Iterator[Any]:
    """Give Matplotlib without a screen; what warns when a figure is drawn is an error."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    for number in pyplot.get_fignums():
        pyplot.figure(number).canvas.draw()
