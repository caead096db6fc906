"""Ensembles whose members are of several targets: what they predict, in any order of members."""

from itertools import permutations

import numpy as np
import pytest
from scipy import sparse
from trainer_cases import X, spread, trainer_of

from fastnn import Dense, Ensemble

ROWS = np.tile(X, (3, 1))
KINDS = [("cpu", "float32"), ("numpy", "float64"), ("cpu", "float64"), ("numpy", "float32")]


def member(target, dtype, inputs=4, seed=0, loss="softmax_cross_entropy"):
    trainer = trainer_of([Dense(3)], inputs, target=target, dtype=dtype, seed=seed, loss=loss)
    return spread(trainer)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "poisson", "mse"])
@pytest.mark.parametrize("order", [*permutations(range(3))])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array, np.asfortranarray])
def test_the_order_of_members_of_several_targets_makes_no_difference(order, form, loss):
    members = [member(*kind, seed=seed, loss=loss) for seed, kind in enumerate(KINDS[:3])]
    weights = np.array([0.5, 0.3, 0.2])
    expected = Ensemble(members, weights).forward(ROWS)
    found = Ensemble([members[index] for index in order], weights[list(order)])
    np.testing.assert_allclose(found.forward(form(ROWS)), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        expected,
        sum(w * Ensemble([each]).forward(ROWS) for w, each in zip(weights, members, strict=True)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("order", [*permutations(range(4))])
def test_members_of_several_targets_have_views_of_their_own(order):
    views = [None, [3, 0], range(1, 3), [2]]
    widths = [4, 2, 2, 1]
    members = [member(*kind, n) for kind, n in zip(KINDS, widths, strict=True)]
    taken = [ROWS if view is None else ROWS[:, list(view)] for view in views]
    expected = sum(m.predict_proba(rows) for m, rows in zip(members, taken, strict=True)) / 4
    some = [members[index] for index in order]
    by_column = Ensemble(some, views=[views[index] for index in order])
    np.testing.assert_allclose(by_column.predict_proba(ROWS), expected, rtol=1e-5)
    by_name = Ensemble(some, views=["abcd"[index] for index in order])
    parts = dict(zip("abcd", taken, strict=True))
    np.testing.assert_allclose(by_name.predict_proba(parts), expected, rtol=1e-5)
