"""The report as a picture: what the peers take beside fastnn, and how time grows with work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from axes import AXES
from libraries import LIBRARIES

COLORS = {name: f"C{i}" for i, name in enumerate(LIBRARIES)}


def check_format(file: Path) -> None:
    """Raise a ValueError if Matplotlib writes no files of this name's ending."""
    from matplotlib.figure import Figure

    known = Figure().canvas.get_supported_filetypes()
    if file.suffix and file.suffix[1:].lower() not in known:
        raise ValueError(f"{file}: Matplotlib draws {', '.join(known)}, not {file.suffix}")


def draw(record: dict[str, Any], file: Path) -> None:
    """Draw what the record of a report has, and save it.

    Raises
    ------
    ValueError
        The record has neither the section training nor scaling.
    """
    from matplotlib.figure import Figure

    workloads, scaling = record.get("epoch_seconds", {}), record.get("scaling", {})
    parts = [part for part in (workloads, scaling) if part]
    if not parts:
        raise ValueError("a picture needs the sections training or scaling")
    figure = Figure(figsize=(14, 4.5 * len(parts)), layout="constrained")
    places = iter(figure.subfigures(len(parts), 1, squeeze=False)[:, 0])
    if workloads:
        bars(next(places).subplots(), workloads)
    if scaling:
        place = next(places)
        panels = place.subplots(1, len(scaling), squeeze=False)[0]
        for (name, axis), panel in zip(scaling.items(), panels, strict=True):
            curves(panel, name, axis)
        panels[0].set_ylabel("ms an epoch")
        place.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=9)
    figure.savefig(file)


def bars(ax: Any, workloads: dict[str, dict[str, float]]) -> None:
    """Draw each peer's time over fastnn's, a group for each workload."""
    peers = [name for name in LIBRARIES if any(name in found for found in workloads.values())]
    peers = [name for name in peers if name != "fastnn"]
    width = 0.8 / max(len(peers), 1)
    for i, peer in enumerate(peers):
        points = [
            (place + (i - (len(peers) - 1) / 2) * width, found[peer] / found["fastnn"])
            for place, found in enumerate(workloads.values())
            if peer in found and "fastnn" in found
        ]
        x, ratios = zip(*points, strict=True) if points else ((), ())
        drawn = ax.bar(x, ratios, width, color=COLORS[peer], label=LIBRARIES[peer].title)
        ax.bar_label(drawn, fmt="%.3g", fontsize=7)
    ax.axhline(1.0, color=COLORS["fastnn"], label="fastnn")
    ax.set_yscale("log")
    titles = [title.replace(", ", "\n") for title in workloads]
    ax.set_xticks(range(len(workloads)), titles, fontsize=7)
    ax.set_ylabel("time of an epoch / fastnn's")
    ax.legend()


def curves(ax: Any, name: str, axis: dict[str, Any]) -> None:
    """Draw the time of an epoch against what grows, both logarithmic."""
    for library, points in axis["points"].items():
        x = [point[axis["x"]] for point in points]
        y = [1e3 * point["seconds"] for point in points]
        ax.plot(x, y, "o-", color=COLORS[library], label=LIBRARIES[library].title)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_title(AXES[name].title, fontsize=9)
    ax.set_xlabel("multiply-adds an epoch" if axis["x"] == "work" else axis["x"])
    ax.xaxis.set_minor_formatter("")  # powers of ten only, or the points themselves
    if axis["x"] != "work":
        found = axis["points"].values()
        values = sorted({point[axis["x"]] for points in found for point in points})
        ax.set_xticks(values, map(str, values))
