"""The report: fastnn side by side with other libraries, and alone, on the machine at hand.

Every contender trains in a process of its own, on one thread and on as many as it likes; its better
median counts. All make the same steps: the same data and first parameters, an order drawn anew for
each epoch, the last short batch used. They run in turns, so that noise meets all of them alike; a
peer that takes three times as long as the best one is not run again after the first round. What is
compiled is compiled in an epoch that is not timed. Every peer is optional.

What they train is in workloads.py and axes.py, who they are in libraries.py, what each does in
contender.py and contenders/, what is measured in sections/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import sections
from libraries import LIBRARIES, Settings, is_installed
from options import check_data_folder, listed, positive, writable
from processes import cores
from readme import replace_report, report_in
from workloads import REPORTED, WORKLOADS


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def version_of(title: str, distribution: str) -> str:
    """Return a title and the version of its distribution."""
    try:
        return f"{title} {version(distribution)}"
    except PackageNotFoundError:
        return f"{title} {'from its sources' if title == 'fastnn' else 'not installed'}"


def machine(libraries: list[str], command: str) -> Iterator[str]:
    """Yield what the figures depend on: machine, versions, date, command."""
    yield f"    {command}"
    yield ""
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    yield f"{date.today()}; {processor()}, {cores()} cores{load}; {platform.system()};"
    distributions = {"NumPy": "numpy", "Numba": "numba"}
    for name in libraries:
        distributions |= LIBRARIES[name].distributions
    versions = (version_of(*each) for each in distributions.items())
    yield ", ".join([f"Python {platform.python_version()}", *versions]) + "."


def report(settings: Settings, names: list[str]) -> Iterator[str]:
    """Measure section after section; yield the lines as they come."""
    for name in names:
        section = sections.load(name)
        yield from section.measure(settings, *section.tables(settings))
        yield from ("", *section.TEXT.splitlines())


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    peers = [name for name in LIBRARIES if name != "fastnn"]

    parser.add_argument(
        "--only",
        nargs="+",
        choices=WORKLOADS,
        default=REPORTED,
        metavar="NAME",
        help=f"workloads, from {' '.join(WORKLOADS)}; default: all but pair",
    )
    for option, known in (("--peers", peers), ("--sections", list(sections.NAMES))):
        parser.add_argument(
            option,
            type=listed(known),
            default=known,
            metavar="NAME,...",
            help=f"some of {','.join(known)}; default: all",
        )
    parser.add_argument(
        "--rounds",
        type=positive(int),
        default=3,
        help="processes for each contender and workload, one after another; default: %(default)s",
    )
    parser.add_argument(
        "--epochs-seconds",
        type=positive(float),
        default=2.0,
        metavar="SECONDS",
        help="of timed epochs in a process; default: %(default)s",
    )
    parser.add_argument("--json", type=writable, metavar="FILE", help="write the raw figures there")
    parser.add_argument(
        "--plot", type=writable, metavar="FILE", help="draw ratios and scaling (Matplotlib)"
    )
    parser.add_argument(
        "--readme",
        type=writable,
        metavar="FILE",
        help="put the report between the marks of a README",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round of 0.1 s, with all threads: a look, no measurement",
    )
    chosen = parser.parse_args()
    if not is_installed("fastnn"):
        parser.error("fastnn is not installed here; `pip install .` in its checkout installs it")
    if chosen.plot and not is_installed("matplotlib"):
        parser.error("--plot needs Matplotlib, which is not installed: pip install matplotlib")
    if chosen.plot and not {"training", "scaling"} & set(chosen.sections):
        parser.error("--plot draws the sections training and scaling; --sections has neither")
    whole = chosen.sections == list(sections.NAMES) and chosen.only == REPORTED
    if chosen.readme and (chosen.quick or not whole or chosen.peers != peers):
        parser.error("--readme takes a whole report: not --quick, --only, --peers or --sections")
    check_data_folder(parser)
    try:  # what would show only after all has been measured
        if chosen.plot:
            from picture import check_format

            check_format(chosen.plot)
        if chosen.readme:
            report_in(chosen.readme.read_text("utf-8"))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return chosen


def main() -> None:
    """Print the header and the sections, as they come; write the files that are wanted."""
    chosen = parse()
    settings = Settings(
        libraries=["fastnn", *chosen.peers],
        workloads=chosen.only,
        rounds=1 if chosen.quick else chosen.rounds,
        seconds=0.1 if chosen.quick else chosen.epochs_seconds,
        quick=chosen.quick,
    )
    command = f"python benchmarks/peers.py {' '.join(sys.argv[1:])}".rstrip()
    lines: list[str] = []
    header = list(machine(settings.libraries, command))
    settings.record["machine"] = header
    print("\n".join(header), flush=True)
    try:
        for line in report(settings, chosen.sections):
            lines.append(line)
            print(line, flush=True)
    finally:  # what was measured is kept whatever happens
        if chosen.json:
            chosen.json.write_text(json.dumps(settings.record, indent=1) + "\n")
    if chosen.plot:
        from picture import draw

        draw(settings.record, chosen.plot)
    if chosen.readme:
        text = chosen.readme.read_text("utf-8")
        chosen.readme.write_text(replace_report(text, [*header, *lines]), "utf-8")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
