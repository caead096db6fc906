"""Fewer cases than the product, and every pair of values among them."""

import itertools

import pairs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs import all_pairs, covering, in_turns, pairs_among


def pairs_in(cases):
    return {pair for case in cases for pair in itertools.combinations(enumerate(case), 2)}


@pytest.fixture(autouse=True, scope="module")
def not_every_case():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "EVERY_CASE", False)
        yield


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_every_pair_of_values_of_two_factors_is_in_a_case(sizes):
    factors = [range(size) for size in sizes]
    cases = all_pairs(*factors)
    assert pairs_in(cases) == pairs_in(itertools.product(*factors))
    assert {value for case in cases for value in enumerate(case)} == {
        (i, value) for i, factor in enumerate(factors) for value in factor
    }


@given(st.sets(st.tuples(*[st.integers(0, 3)] * 3), min_size=1))
def test_of_cases_that_are_not_a_product_every_pair_that_one_has_is_kept(cases):
    every = sorted(cases)
    taken = pairs_among(every)
    assert set(taken) <= cases and len(set(taken)) == len(taken)
    assert pairs_in(taken) == pairs_in(every)
    assert pairs_among(every) == taken  # the same ones every time


def test_cases_are_few_more_than_the_two_largest_factors_need():
    assert len(all_pairs(range(10), range(9), range(2), range(2))) <= 1.1 * 90
    assert len(all_pairs(range(7), range(2), range(4), range(2))) <= 1.2 * 28


def test_a_limit_leaves_out_pairs_and_no_value():
    cases = [set(enumerate(case)) for case in itertools.product(range(5), range(4), range(2))]
    taken = [cases[i] for i in covering(cases, 6)]
    assert len(taken) == 6
    assert set().union(*taken) == set().union(*cases)
    assert len(covering(cases, 2)) == 5  # a value of the first factor each
    assert covering([set(), set()], 1) == [0] and covering([]) == []


def test_values_of_the_other_factors_take_turns():
    assert in_turns("abc", [1, 2], [3]) == [("a", 1, 3), ("b", 2, 3), ("c", 1, 3)]


def test_all_cases_are_the_product_where_they_are_asked_for(monkeypatch):
    monkeypatch.setattr(pairs, "EVERY_CASE", True)
    assert all_pairs("ab", "cd", "ef") == list(itertools.product("ab", "cd", "ef"))
    assert in_turns("ab", "cd", "ef") == list(itertools.product("ab", "cd", "ef"))
