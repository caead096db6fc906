"""Draw what the report says of an epoch, for the README: ``python benchmarks/chart.py``.

It reads the table in benchmarks/README.md that `peers.py` wrote there, and writes two pictures, for
a light page and a dark one, into .github; and prints how many times fastnn's time the best peers
take, in the mean and at least.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from readme import report_in, tables_in

ROOT = Path(__file__).resolve().parent.parent
INKS = {"light": "#1f2328", "dark": "#e6edf3"}
COLORS = ("#2f81f7", "#d29922", "#a371f7", "#3fb950")


def ratios(report: str) -> dict[str, dict[str, float]]:
    """Return, of each workload in the mean, the time of each peer over that of fastnn."""
    table = next(table for table in tables_in(report) if table[0][0].startswith("ms an epoch"))
    titles, rows = table[0], table[1:]
    fastnn, end = titles.index("fastnn"), titles.index("best peer / fastnn")
    numbers = {
        row[0]: [float(cell.split()[0]) for cell in row[fastnn:end]]
        for row in rows
        if not row[0].startswith("MNIST")
    }
    return {
        workload: dict(
            zip(titles[fastnn + 1 : end], [t / times[0] for t in times[1:]], strict=True)
        )
        for workload, times in numbers.items()
    }


def draw(found: dict[str, dict[str, float]], ink: str) -> Any:
    """Return a figure with a group of bars for each workload, and a line where fastnn is."""
    from matplotlib.figure import Figure

    peers = list(next(iter(found.values())))
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    ax = figure.subplots()
    width = 0.8 / len(peers)
    for i, (peer, color) in enumerate(zip(peers, COLORS, strict=True)):
        places = [place + (i - (len(peers) - 1) / 2) * width for place in range(len(found))]
        bars = ax.bar(places, [times[peer] for times in found.values()], width, color=color)
        bars.set_label(peer)
        labels = [f"{bar:.1f}" if bar < 10 else f"{bar:.0f}" for bar in bars.datavalues]
        ax.bar_label(bars, labels, fontsize=6, color=ink)
    ax.axhline(1, color=ink, linewidth=1.5, label="fastnn")
    ax.set(yscale="log", ylabel="time of an epoch / fastnn's")
    ax.yaxis.set_major_formatter("{x:g}")
    titles = [title.replace(", ", "\n") for title in found]
    for name in ("sigmoid", "tanh"):
        titles = [title.replace(f" {name}", f"\n{name}") for title in titles]
    ax.set_xticks(range(len(found)), titles, fontsize=6.5)
    ax.tick_params(colors=ink, which="both")
    ax.yaxis.label.set_color(ink)
    for name, spine in ax.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(ink)
    figure.legend(loc="outside upper center", ncols=len(peers) + 1, frameon=False, labelcolor=ink)
    return figure


def main() -> None:
    """Write both pictures."""
    import matplotlib

    # The same file for the same figures, with text as text.
    matplotlib.rcParams.update({"svg.hashsalt": "fastnn", "svg.fonttype": "none"})
    found = ratios(report_in((ROOT / "benchmarks" / "README.md").read_text("utf-8")))
    best = [min(times.values()) for times in found.values()]
    mean = statistics.geometric_mean(best)
    print(f"geometric mean {mean:.2f}, from {min(best):.2f} to {max(best):.2f}")
    for name, ink in INKS.items():
        file = ROOT / ".github" / f"speed-{name}.svg"
        draw(found, ink).savefig(file, transparent=True, metadata={"Date": None})
        print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
