"""The statistics of benchmarks/guard.py, on times whose truth is known."""

from collections.abc import Callable
from functools import partial
from itertools import cycle, islice, permutations
from math import exp, log

import numpy as np
import pytest
from verdicts import (
    SESSIONS_TO_ACCUSE,
    SESSIONS_TO_JUDGE,
    Estimate,
    Session,
    Triple,
    Verdict,
    judge,
    session_of,
)

THRESHOLD, SESSIONS, TRIPLES = 0.05, 8, 12
STATE = log(1.3)  # how much slower the machine is at times


def virtual_machine(
    generator: np.random.Generator, slowdown: float, process_error: float, turn_error: float
) -> list[Triple]:
    """Return a session on a machine that drifts, is slow at times, interrupts and stands still."""
    errors = generator.normal(0, process_error, 3)
    errors[2] += log(1 + slowdown)
    drift, slow = generator.uniform(-0.3, 0.3), generator.random() < 0.5
    triples = []
    for number, order in enumerate(islice(cycle(permutations(range(3))), TRIPLES)):
        seconds = [0.0] * 3
        for at in order:
            slow ^= generator.random() < 0.03
            interrupted = generator.exponential(0.7) if generator.random() < 0.05 else 0.0
            noise = generator.normal(0, turn_error) + interrupted + STATE * slow
            seconds[at] = 0.1 * exp(errors[at] + drift * number / TRIPLES + noise)
        stopped = 60.0 if generator.random() < 0.02 else 0.0
        if stopped:
            seconds[order[-1]] *= 2  # what comes after it finds cold caches
        triples.append(Triple(*seconds, sum(seconds) + stopped))
    return triples


def compare(session: Callable[[], list[Triple]]) -> Estimate:
    """Add sessions as guard.py does: until all is clear, or there have been enough."""
    sessions = [session_of(session())]
    while True:
        sessions.append(session_of(session()))
        estimate = judge(sessions, THRESHOLD)
        if estimate.verdict is not Verdict.OPEN or len(sessions) == SESSIONS:
            return estimate


def verdicts(slowdown: float, runs: int, process_error: float, turn_error: float) -> list[Verdict]:
    """Return the verdicts of so many comparisons, each with random numbers of its own."""
    return [
        compare(
            partial(
                virtual_machine, np.random.default_rng(seed), slowdown, process_error, turn_error
            )
        ).verdict
        for seed in range(runs)
    ]


@pytest.mark.parametrize(
    ("process_error", "turn_error"), [(0.0, 0.01), (0.02, 0.03), (0.05, 0.05), (0.02, 0.2)]
)
def test_a_program_is_not_slower_than_itself(process_error, turn_error):
    # One table has fourteen comparisons, so that fewer than 1 % of the tables are wrong.
    found = verdicts(0.0, 1500, process_error, turn_error)
    assert found.count(Verdict.SLOWER) <= 1
    assert found.count(Verdict.FASTER) <= 3


@pytest.mark.parametrize(("slowdown", "process_error"), [(0.1, 0.01), (0.2, 0.03)])
def test_a_slowdown_is_found(slowdown, process_error):
    found = verdicts(slowdown, 200, process_error, 0.03)
    assert found.count(Verdict.SLOWER) >= 196


def test_a_slowdown_below_the_threshold_passes():
    found = verdicts(0.03, 200, 0.01, 0.03)
    assert found.count(Verdict.PASSED) >= 190
    assert found.count(Verdict.SLOWER) == 0


def test_a_gain_is_called_one():
    assert set(verdicts(-0.2, 50, 0.01, 0.03)) == {Verdict.FASTER}


def test_on_a_machine_too_noisy_nothing_is_certain():
    found = verdicts(0.1, 100, 0.2, 0.03)
    assert found.count(Verdict.OPEN) >= 80


def test_what_the_machine_does_to_all_three_cancels():
    triples = [Triple(f, 1.02 * f, 1.2 * f, 3.22 * f) for f in (1.0, 1.4, 0.8, 2.0)]
    session = session_of(triples)
    assert session.again == pytest.approx(log(1.02))
    assert session.other == pytest.approx(log(1.2) - log(1.02) / 2)


def test_an_interrupted_triple_does_not_count():
    whole = [Triple(1.0, 1.0, 1.1, 3.1)] * 2
    torn = [Triple(1.0, 1.0, 9.0, 100.0)]
    assert session_of(whole + torn + whole) == session_of(whole)


def test_a_slowdown_is_judged_only_when_it_was_seen_again():
    sessions = [Session(0.3, 0.01), Session(0.31, -0.01), Session(0.29, 0.0)] * 2
    for count in range(2, 7):
        enough = count >= SESSIONS_TO_ACCUSE
        expected = Verdict.SLOWER if enough else Verdict.OPEN
        assert judge(sessions[:count], THRESHOLD).verdict is expected


def test_few_sessions_are_enough_where_there_is_nothing():
    sessions = [Session(0.001, 0.01), Session(-0.01, -0.01), Session(0.0, 0.0)]
    assert judge(sessions[:2], THRESHOLD).verdict is Verdict.OPEN
    assert len(sessions) == SESSIONS_TO_JUDGE
    assert judge(sessions, THRESHOLD).verdict is Verdict.PASSED


def test_the_noise_has_the_coverage_that_is_claimed():
    generator = np.random.default_rng(0)
    outside = 0
    for _ in range(4000):
        errors = generator.normal(0, 0.02, (4, 3))
        sessions = [Session(z - (x + y) / 2, y - x) for x, y, z in errors]
        estimate = judge(sessions, THRESHOLD)
        outside += abs(estimate.slowdown) > estimate.noise
    assert 20 <= outside <= 62  # 1 % of them are 40, with a standard deviation of 6


def test_ratios_are_what_the_logarithms_say():
    estimate = Estimate(log(1.2), log(1.1), log(1.05), Verdict.SLOWER)
    assert estimate.ratios == pytest.approx((1.2, 1.2 / 1.1, 1.2 * 1.1))
    assert estimate.ratio_itself == pytest.approx(1.05)
