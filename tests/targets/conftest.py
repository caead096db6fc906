"""One suite over every target: each test that asks for `engine_class` runs once a target."""

import pytest

from fastnn.errors import TargetUnavailable
from fastnn.target import choose
from fastnn.target import engine_class as engine_class_of

# A new target is added here, and nowhere else.
TARGETS = ["numpy", "cpu"]


def _engine_class(name):
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
