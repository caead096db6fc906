"""An epoch in parts on CUDA: the bits of the whole, whatever kernels, and wherever the rows are."""

from __future__ import annotations

import numpy as np
import pytest
from trainer_cases import LABELS, WEIGHTS, X, trainer_of

from fastnn import Adam
from fastnn.inputs.data import Data
from fastnn.random.row_orders import epoch_order

pytestmark = pytest.mark.usefixtures("running")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("family", ["block", "grid", "tiled"])
def test_an_epoch_in_parts_comes_to_the_bits_of_a_whole_one(family, streamed, monkeypatch):
    from fastnn.targets.cuda.engine import Engine
    from fastnn.targets.cuda.host import session
    from fastnn.targets.cuda.host.streaming import Streamed

    if streamed:
        monkeypatch.setattr(session, "ROOM", 0.0)
    trainer = trainer_of(optimizer=Adam(0.01))
    data, order, rates = Data(X, LABELS, WEIGHTS), epoch_order(0, 0, len(X)), np.full(5, 0.01)
    whole, parted = (Engine(trainer.problem, family=family) for _ in range(2))
    found = []
    for engine in (whole, parted):
        engine.load(*trainer._state.read())

    def look(done, loss_sum, weight_sum):
        found.append((done, weight_sum, parted.snapshot()))

    expected = whole.train_epoch(data, order, rates, 0, 0)
    assert parted.train_epoch_in_parts(data, order, rates, 0, 0, (1, 2, 5), look) == expected
    assert isinstance(parted._session.placed, Streamed) == streamed
    assert [done for done, _, _ in found] == [1, 2, 5]
    for done, weight, _ in found:
        assert weight == pytest.approx(WEIGHTS[order[: 8 * done]].sum())
    np.testing.assert_array_equal(found[-1][2], whole.snapshot())
    np.testing.assert_array_equal(parted.snapshot(), whole.snapshot())
    assert not np.array_equal(found[0][2], found[1][2])
