"""One suite over every target: each test that asks for `engine_class` runs once a target."""

from pathlib import Path

import pytest
from cuda_cases import FAMILIES, NOWHERE, engine_of, select
from simulator import SIMULATED, quicken

from fastnn.errors import TargetUnavailable
from fastnn.targets.selection import choose
from fastnn.targets.selection import engine_class as engine_class_of

# A new target is added here, and nowhere else.
CUDA = [f"cuda-{family}" for family in FAMILIES]
TARGETS = CUDA if SIMULATED else ["numpy", "cpu", *CUDA]


def pytest_collection_modifyitems(config, items):
    """Leave out what does not run on CUDA, see `cuda_cases`."""
    here = Path(__file__).parent
    left = set(select([item for item in items if item.path.parent == here]))
    config.hook.pytest_deselected(items=[item for item in items if item in left])
    items[:] = [item for item in items if item not in left]


def _engine_class(name):
    if name.startswith("cuda-"):
        if NOWHERE:
            pytest.skip(NOWHERE)
        quicken()
        return engine_of(name.removeprefix("cuda-"))
    try:
        choose(name)
    except TargetUnavailable as error:
        pytest.skip(str(error))
    return engine_class_of(name)


@pytest.fixture(scope="session", params=TARGETS)
def target(request):
    """Name every target in turn."""
    return request.param


@pytest.fixture(scope="session")
def engine_class(target):
    """Return the Engine of every target in turn."""
    return _engine_class(target)


@pytest.fixture(scope="session", params=[name for name in TARGETS if name != "numpy"])
def fast_class(request):
    """Return the Engine of every target but NumPy's, which is the oracle of the others."""
    return _engine_class(request.param)
