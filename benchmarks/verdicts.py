"""How much slower one program is than another, beyond the noise: from times in turns to a verdict.

Three processes take turns of about a tenth of a second: `base` and `again`, which run the same
program, and `other`. Three neighbouring turns are a `Triple`, and give

    a = log(again / base),    d = log(other / base) / 2 + log(other / again) / 2.

A machine that is slow for seconds is slow for all of a triple, and cancels. What a process has for
its whole life (where its memory and code lie) does not, so processes are started anew: that is a
session, of which the medians of a and d over its triples are kept. If each process is off by an
error of variance v, noise within the session included, then a has variance 2 v and mean 0, since
it compares a program with itself, and d has variance 3/2 v about the true slowdown. Both estimate
v, from n sessions with 2 n - 1 degrees of freedom:

    v = (sum a^2 / 2 + sum (d - mean d)^2 / (3/2)) / (2 n - 1).

The slowdown is mean d, and lies within noise = t sqrt(3/2 v / n) of it, t being Student's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import exp, log, log1p, sqrt
from statistics import fmean, median
from typing import NamedTuple

from scipy.special import stdtrit

CONFIDENCE = 0.995  # that a slowdown is above its lower bound; and the same for the upper one
ABSURD = 3.0  # a triple that takes this many times their median was interrupted
SESSIONS_TO_JUDGE = 3
SESSIONS_TO_ACCUSE = 5  # a slowdown has to be seen again


class Triple(NamedTuple):
    """Seconds of an epoch of each process in three neighbouring turns, and of all three turns."""

    base: float
    again: float
    other: float
    elapsed: float


class Session(NamedTuple):
    """What three processes said: logarithms of other / base and again / base."""

    other: float
    again: float


class Verdict(Enum):
    """What is known of a slowdown by so many sessions."""

    OPEN = "unclear"
    PASSED = "ok"
    FASTER = "faster"
    SLOWER = "SLOWER"


@dataclass(frozen=True)
class Estimate:
    """A slowdown, all as logarithms of ratios; the bounds are `slowdown` -+ `noise`."""

    slowdown: float
    noise: float
    itself: float  # the program beside itself
    verdict: Verdict

    @property
    def ratios(self) -> tuple[float, float, float]:
        """Time of the other program by that of the base, with its lower and upper bound."""
        bounds = (self.slowdown - self.noise, self.slowdown + self.noise)
        return exp(self.slowdown), exp(bounds[0]), exp(bounds[1])

    @property
    def ratio_itself(self) -> float:
        """Time of the base's second process by that of its first."""
        return exp(self.itself)


def session_of(triples: Sequence[Triple]) -> Session:
    """Return the medians over the triples, but for those that were interrupted.

    A process that is stopped for a while, or a machine that sleeps, tears a triple apart: its
    turns are no neighbours then.
    """
    usual = median(triple.elapsed for triple in triples)
    whole = [triple for triple in triples if triple.elapsed <= ABSURD * usual]
    return Session(
        median(log(t.other / t.base) / 2 + log(t.other / t.again) / 2 for t in whole),
        median(log(t.again / t.base) for t in whole),
    )


def judge(sessions: Sequence[Session], threshold: float) -> Estimate:
    """Return what `sessions`, at least two, say of a slowdown.

    It is SLOWER if the lower bound is above `threshold` (0.05 is 5 % more time), also in sessions
    that were added because of the suspicion. It has PASSED if the upper bound excludes twice the
    threshold. What is neither is OPEN, and needs more sessions.
    """
    n = len(sessions)
    slowdown = fmean(session.other for session in sessions)
    of_other = sum((session.other - slowdown) ** 2 for session in sessions) / 1.5
    of_again = sum(session.again**2 for session in sessions) / 2
    variance = (of_other + of_again) / (2 * n - 1)
    noise = float(stdtrit(2 * n - 1, CONFIDENCE)) * sqrt(1.5 * variance / n)
    verdict = Verdict.OPEN
    if slowdown - noise > log1p(threshold):
        if n >= SESSIONS_TO_ACCUSE:
            verdict = Verdict.SLOWER
    elif n >= SESSIONS_TO_JUDGE and slowdown + noise < log1p(2 * threshold):
        faster = slowdown + noise < -log1p(threshold)
        verdict = Verdict.FASTER if faster else Verdict.PASSED
    return Estimate(slowdown, noise, fmean(session.again for session in sessions), verdict)
