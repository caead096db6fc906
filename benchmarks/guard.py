"""Is this fastnn slower than that of another commit? To be asked before a merge.

    python benchmarks/guard.py [--against main] [--commit COMMIT] [--only WORKLOAD ...]

trains the workloads of peers.py, shortened, with the fastnn of the working tree (or of --commit)
and with that of --against, in turns of about a tenth of a second, and compares neighbouring turns.
A second process of the old fastnn takes turns too: how far it is from the first one is the noise,
measured in the same run (verdicts.py says how). Processes are started anew, session after session,
until each workload is either not slower or slower for certain, or the sessions are used up.

The exit status is 1 if a workload is slower by more than --threshold beyond the noise, 0 if none
is (one that stayed unclear is named, and does not fail), and 2 if the commits could not be
compared. Epochs are timed by `History.seconds`: what `fit` does before the first of them is not
compared, and neither is compilation.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import cycle, islice, permutations
from pathlib import Path
from statistics import median
from time import perf_counter

from guard_processes import CannotCompare, Tree, Worker, copy_tree, workers
from markdown_tables import heading, row
from options import check_data_folder, positive, writable
from processes import MODES
from verdicts import (
    SESSIONS_TO_ACCUSE,
    Estimate,
    Session,
    Triple,
    Verdict,
    judge,
    session_of,
)
from workloads import WORKLOADS

TURN_SECONDS = 0.1
EPOCHS_AT_MOST = 100  # in a turn
# The others of peers.py differ from these in the size of the batch alone.
USUAL = ["mnist-64", "mnist-deep", "tiny", "softmax", "logistic", "wide", "dense-512"]

Case = tuple[str, str]  # a workload, and "one" or "all": its threads


def load(trio: Sequence[Worker], workload: str) -> str:
    """Have all workers prepare a workload, at the same time; return what a reader has to know."""
    for worker in trio:
        worker.ask("load", workload)
    return [worker.answer() for worker in trio][0]


def epoch_seconds(worker: Worker, epochs: int) -> float:
    """Give a worker its turn; return the lower quartile of its epochs.

    Whatever interrupts an epoch makes it longer, never shorter.
    """
    worker.ask("train", epochs)
    seconds = sorted(worker.answer())
    return seconds[(len(seconds) - 1) // 4]


def measure(trio: Sequence[Worker], triples: int) -> list[Triple]:
    """Let the three workers take turns, in another order each time."""
    quickest = min(epoch_seconds(worker, 2) for worker in trio)
    epochs = min(max(round(TURN_SECONDS / quickest), 1), EPOCHS_AT_MOST)
    measured = []
    for order in islice(cycle(permutations(range(3))), triples):
        seconds = [0.0, 0.0, 0.0]
        start = perf_counter()
        for at in order:
            seconds[at] = epoch_seconds(trio[at], epochs)
        measured.append(Triple(*seconds, perf_counter() - start))
    return measured


@dataclass
class Comparison:
    """All that was measured: of each case, the triples of each session."""

    threshold: float
    measured: dict[Case, list[list[Triple]]]
    note: str = ""

    def sessions(self, case: Case) -> list[Session]:
        """Return the sessions of a case."""
        return [session_of(triples) for triples in self.measured[case]]

    def estimate(self, case: Case) -> Estimate:
        """Return the slowdown of a case, and what to think of it."""
        return judge(self.sessions(case), self.threshold)

    def undecided(self, mode: str) -> list[str]:
        """Return the workloads that need another session."""
        return [
            case[0]
            for case, done in self.measured.items()
            if case[1] == mode and (len(done) < 2 or self.estimate(case).verdict is Verdict.OPEN)
        ]

    def run(self, base: Tree, other: Tree, sessions: int, triples: int) -> None:
        """Measure until all is decided, or for so many sessions."""
        say("compiling both")
        with workers([base, other], "all") as pair:
            for workload in dict.fromkeys(workload for workload, _ in self.measured):
                self.note = load(pair, workload) or self.note
        for session in range(sessions):
            for mode in MODES:
                workloads = self.undecided(mode)
                if not workloads:
                    continue
                say(f"session {session + 1}, threads: {mode}: {' '.join(workloads)}")
                with workers([base, base, other], mode, first=session) as trio:
                    for workload in workloads:
                        load(trio, workload)
                        self.measured[workload, mode].append(measure(trio, triples))

    def table(self) -> Iterator[str]:
        """Yield the lines of the table."""
        titles = ("threads", "ms, base", "time / base", "between", "base / itself", "sessions")
        yield from heading("workload", *titles, "verdict")
        for (workload, mode), done in self.measured.items():
            estimate = self.estimate((workload, mode))
            ratio, lower, upper = estimate.ratios
            base = median(triple.base for triples in done for triple in triples)
            yield row(
                WORKLOADS[workload].title,
                mode,
                f"{1e3 * base:.3g}",
                f"{ratio:.3f}",
                f"{lower:.3f} {upper:.3f}",
                f"{estimate.ratio_itself:.3f}",
                str(len(done)),
                estimate.verdict.value,
            )

    def cases(self, verdict: Verdict) -> list[str]:
        """Return the names of the cases with a verdict."""
        return [
            f"{case[0]} ({case[1]})"
            for case in self.measured
            if self.estimate(case).verdict is verdict
        ]


def say(text: str) -> None:
    """Tell who waits what goes on."""
    print(f"guard: {text}", file=sys.stderr, flush=True)


def conclusion(comparison: Comparison) -> Iterator[str]:
    """Yield what follows from the table."""
    slower, unclear = comparison.cases(Verdict.SLOWER), comparison.cases(Verdict.OPEN)
    limit = comparison.threshold
    if unclear:
        yield f"Too noisy to exclude a slowdown of {2 * limit:.0%}: {', '.join(unclear)}."
    if slower:
        yield f"FAILED: slower by more than {limit:.0%} beyond the noise: {', '.join(slower)}."
    else:
        yield f"Passed: nothing is slower by more than {limit:.0%} beyond the noise."


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--against", default="main", metavar="COMMIT", help="default: main")
    parser.add_argument("--commit", help="what to compare with it; default: the working tree")
    parser.add_argument(
        "--only", nargs="+", choices=WORKLOADS, default=USUAL, metavar="WORKLOAD",
        help=f"from {' '.join(WORKLOADS)};\ndefault: {' '.join(USUAL)}",
    )  # fmt: skip
    parser.add_argument("--threads", choices=(*MODES, "both"), default="both")
    parser.add_argument(
        "--threshold", type=positive(float), default=0.05, metavar="FRACTION",
        help="a slowdown that may pass; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--sessions", type=positive(int), default=8, help="at most, %(default)s by default"
    )
    parser.add_argument(
        "--triples", type=positive(int), default=12,
        help="of turns in a session; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--json", type=writable, metavar="FILE", help="write the raw figures there")
    chosen = parser.parse_args()
    if chosen.sessions < SESSIONS_TO_ACCUSE:
        parser.error(f"--sessions: {SESSIONS_TO_ACCUSE} are needed to find something slower")
    check_data_folder(parser)
    return chosen


def main() -> int:
    """Print the table and what follows; return the exit status."""
    chosen = parse()
    modes = MODES if chosen.threads == "both" else (chosen.threads,)
    cases: list[Case] = [(workload, mode) for workload in chosen.only for mode in modes]
    comparison = Comparison(chosen.threshold, {case: [] for case in cases})
    with tempfile.TemporaryDirectory(prefix="fastnn-guard-") as folder:
        base = copy_tree(chosen.against, Path(folder, "base"))
        other = copy_tree(chosen.commit, Path(folder, "other"))
        comparison.run(base, other, chosen.sessions, chosen.triples)
    lines = [
        f"    python benchmarks/guard.py {' '.join(sys.argv[1:])}".rstrip(),
        "",
        f"{other.title} by {base.title}; {date.today()}, {platform.machine()}"
        f"{', ' + comparison.note if comparison.note else ''}.",
        *comparison.table(),
        "",
        *conclusion(comparison),
    ]
    print("\n".join(lines))
    if chosen.json:
        raw = {" ".join(case): sessions for case, sessions in comparison.measured.items()}
        fields = {"lines": lines, "triple": Triple._fields, "sessions": raw}
        chosen.json.write_text(json.dumps(fields, indent=1) + "\n")
    return 1 if comparison.cases(Verdict.SLOWER) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was copied is removed then too
    try:
        sys.exit(main())
    except CannotCompare as error:
        say(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
