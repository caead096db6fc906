"""The report of benchmarks/peers.py: its page has its tables, and what it computes is right."""

import dataclasses
import doctest
import importlib
import math
import re
from pathlib import Path

import axes
import chart
import libraries
import markdown_tables
import numpy as np
import picture
import processes
import pytest
import readme
import resident
import sections
import workloads
from libraries import LIBRARIES, Settings

ROOT = Path(__file__).resolve().parent.parent
PRINTED = readme.report_in((ROOT / "benchmarks" / "README.md").read_text("utf-8"))
MEASURED_ELSEWHERE = ("contenders", "training", "accuracy", "memory", "scaling")


def whole() -> Settings:
    return Settings(libraries=list(LIBRARIES), workloads=workloads.REPORTED)


def section(name: str):
    return importlib.import_module(f"sections.{name}")


def test_the_tables_of_the_report_have_the_rows_and_columns_of_the_report():
    outlines = [
        [list(table.titles), *([first] for first in table.rows.values())]
        for name in sections.NAMES
        for table in sections.load(name).tables(whole())
    ]
    written = [[table[0], *([row[0]] for row in table[1:])] for table in readme.tables_in(PRINTED)]
    assert written == outlines


def test_every_row_of_the_report_fills_its_table():
    for table in readme.tables_in(PRINTED):
        assert {len(row) for row in table} == {len(table[0])}


def test_the_report_says_how_each_contender_trains():
    found = {row[0]: row[1] for row in readme.tables_in(PRINTED)[0][1:]}
    contenders = section("contenders")
    (outline,) = contenders.tables(whole())
    ways = contenders.all_ways(whole())
    assert found == {outline.rows[key]: way.settings for key, (_, way) in ways.items()}


@pytest.mark.parametrize("name", sections.NAMES)
def test_the_report_has_what_a_reader_of_a_section_has_to_know(name):
    assert f"\n\n{sections.load(name).TEXT}\n\n" in PRINTED


def test_other_pages_have_no_figures_but_what_the_guard_printed():
    units = re.compile(r"\b(ms|us|ns|seconds|MB|GFLOP/s)\b")
    measured = []
    for page in (ROOT / "README.md", *ROOT.glob(".github/*.md"), *ROOT.glob("fastnn/guide/*.md")):
        if page.name == "scaling.md":
            continue
        tables = readme.tables_in(page.read_text("utf-8"))
        measured += [table[0] for table in tables if units.search(" ".join(table[0]))]
    assert [titles[-1] for titles in measured] == ["verdict"]  # test_guard.py knows its rows


def test_the_chapter_on_scaling_has_the_tables_of_its_script():
    script = (ROOT / "benchmarks/scaling.py").read_text("utf-8")
    tables = readme.tables_in((ROOT / "fastnn/guide/scaling.md").read_text("utf-8"))
    assert len(tables) >= 4
    for title in {title for table in tables for title in table[0] if title}:
        assert f'"{title}"' in script


def test_the_picture_of_the_readme_has_the_ratios_of_the_report():
    found = chart.ratios(PRINTED)
    (table,) = (table for table in readme.tables_in(PRINTED) if "fastnn" in table[0][1])
    ratio = table[0].index("best peer / fastnn")
    best = {row[0]: float(row[ratio]) for row in table[1:] if row[0] in found}
    mnist = [row for row in table[1:] if row[0].startswith("MNIST")]  # which is not in the mean
    assert len(found) == len(best) == len(table) - 1 - len(mnist)
    for workload, times in found.items():
        assert min(times.values()) == pytest.approx(best[workload], rel=0.01)
    (ax,) = chart.draw(found, "black").axes
    heights = [bar.get_height() for bars in ax.containers for bar in bars]
    assert sorted(heights) == sorted(time for times in found.values() for time in times.values())
    for name in chart.INKS:
        assert (ROOT / ".github" / f"speed-{name}.svg").is_file()


def test_a_new_report_takes_the_place_of_the_old_one_and_nothing_else():
    text = f"above\n{readme.BEGIN}\nold\n{readme.END}\nbelow\n"
    new = readme.replace_report(text, ["| a | b |"])
    assert new == f"above\n{readme.BEGIN}\n\n| a | b |\n\n{readme.END}\nbelow\n"
    assert readme.tables_in(readme.report_in(new)) == [[["a", "b"]]]


@pytest.mark.parametrize(
    "text", ["", readme.BEGIN, readme.END + readme.BEGIN, 2 * (readme.BEGIN + readme.END)]
)
def test_a_readme_without_both_marks_is_refused(text):
    with pytest.raises(ValueError, match="the text needs"):
        readme.replace_report(text, [])


def test_a_table_reads_back_as_it_was_written():
    outline = markdown_tables.Table(("what", "a", "b"), {"x": "one x", "y": "two ys"})
    lines = [*outline.head(), outline.line("x", "1", "2"), outline.line("y", "3", note="random")]
    assert readme.tables_in("\n".join(lines)) == [
        [["what", "a", "b"], ["one x", "1", "2"], ["two ys; random", "3", ""]]
    ]


def test_a_row_with_more_cells_than_columns_is_refused():
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        markdown_tables.Table(("what", "a"), {"x": "one x"}).line("x", "1", "2")


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.3456, "12346"), (0.1, "100"), (0.01234, "12.3"), (1e-6, "0.001")]
)
def test_milliseconds_have_three_digits_or_more(seconds, text):
    assert markdown_tables.milliseconds(seconds) == text


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_its_power(power):
    x = [1, 10, 40, 1000]
    assert section("scaling").exponent(x, [3e-3 * value**power for value in x]) == pytest.approx(
        power, abs=1e-12
    )


def test_the_exponent_is_the_slope_of_least_squares():
    random = np.random.default_rng(0)
    x, seconds = random.uniform(1, 100, 9), random.uniform(1, 100, 9)
    slope = np.polyfit(np.log(x), np.log(seconds), 1)[0]
    assert section("scaling").exponent(x, seconds) == pytest.approx(slope)


def test_one_point_has_no_exponent():
    with pytest.raises(ValueError, match="two different x"):
        section("scaling").exponent([2.0, 2.0], [1.0, 3.0])
    assert section("scaling").cell([{"threads": 1, "seconds": 0.5}], "threads") == "- (500)"


def test_a_cell_of_scaling_has_the_exponent_and_both_ends():
    points = [{"work": 10.0**i, "seconds": 10.0 ** (i - 3)} for i in range(3)]
    assert section("scaling").cell(points, "work") == "1.00 (1 to 100)"


def test_a_disturbed_point_of_one_round_does_not_bend_the_fit(monkeypatch):
    scaling, settings, calls = section("scaling"), whole(), []
    monkeypatch.setattr(libraries, "find_spec", lambda name: True)

    def child(task: str, contender: str, along: str, *rest: str, mode: str) -> dict[str, object]:
        values = axes.AXES[along].workloads
        if along == "threads":
            values = [int(mode)]
        if contender == "jax":
            raise processes.ChildFailed("no device")
        calls.append((contender, along))
        disturbed = len(calls) % 2
        points = [{along: x, "work": 10.0 * x, "seconds": float(x)} for x in values]
        points[-1]["seconds"] += 1000.0 * disturbed
        return {"points": points}

    monkeypatch.setattr(scaling, "child", child)
    settings = dataclasses.replace(settings, rounds=2)
    text = "\n".join(scaling.measure(settings, *scaling.tables(settings)))
    (table,) = readme.tables_in(text)
    for name, cells in zip(axes.AXES, table[1:-1], strict=False):
        found = dict(zip(table[0], cells, strict=True))
        ends = [
            1e3 * end for end in (min(axes.AXES[name].workloads), max(axes.AXES[name].workloads))
        ]
        assert found["fastnn"] == f"1.00 ({ends[0]:.0f} to {ends[1]:.0f})"
        assert found["JAX"] == "failed"
    assert "FAILED: jax, rows: no device" in text


def test_multiply_adds_of_a_network_counted_by_hand():
    work = workloads.Workload("", (5, 3, 2), 4, 7, 0.1)
    assert axes.multiply_adds(work) == 7 * ((15 + 6) + (15 + 6) + 6)


@pytest.mark.parametrize("name", axes.AXES)
def test_work_grows_along_an_axis_that_is_fitted_on_work(name):
    axis = axes.AXES[name]
    work = [axes.multiply_adds(workload) for workload in axis.workloads.values()]
    assert (work == sorted(set(work))) if axis.x == "work" else (len(set(work)) == 1)


@pytest.mark.parametrize("name", MEASURED_ELSEWHERE)
def test_rows_and_cells_say_which_libraries_are_not_installed(name, monkeypatch):
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    settings = whole()
    outline = section(name).tables(settings)
    lines = "\n".join(section(name).measure(settings, *outline))
    (table,) = readme.tables_in(lines)
    assert [row[0] for row in table[1:]] == list(outline[0].rows.values())
    assert all("not installed" in " ".join(row) for row in table[1:])


def test_whole_processes_and_imports_say_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    startup, settings = section("startup"), whole()
    processes_table, imports_table, _ = startup.tables(settings)
    monkeypatch.setattr(startup, "run_python", lambda *arguments: ("0.001", 0.001))
    (found,) = readme.tables_in("\n".join(startup.whole_processes(settings, processes_table)))
    assert [row[2] for row in found[1:]] == ["not installed"] * len(LIBRARIES)
    (found,) = readme.tables_in("\n".join(startup.import_times(settings, imports_table)))
    assert [row[1] for row in found[1:]] == ["1", *["not installed"] * len(LIBRARIES)]


REPORT = {"epochs": [0.2, 0.1, 0.3], "loss": 0.5, "note": ""}


def measured(monkeypatch, failing: set[str]) -> tuple[list[list[str]], str, Settings]:
    """Measure one workload with children that do not train; some of them fail."""

    def child(task: str, contender: str, *rest: str, mode: str) -> dict[str, object]:
        if contender in failing:
            raise processes.ChildFailed("no compiler")
        slower = {"fastnn": 1.0, "torch.Compiled": 1.5}.get(contender, 2.0)
        return REPORT | {"epochs": [slower * each for each in (0.2, 0.1, 0.3)]}

    training = section("training")
    monkeypatch.setattr(libraries, "find_spec", lambda name: True)
    monkeypatch.setattr(training, "child", child)
    settings = dataclasses.replace(whole(), workloads=["tiny"], quick=True, rounds=1)
    text = "\n".join(training.measure(settings, *training.tables(settings)))
    (table,) = readme.tables_in(text)
    return table, text, settings


def test_the_faster_way_of_a_library_counts_and_is_named(monkeypatch):
    table, text, settings = measured(monkeypatch, set())
    cells = dict(zip(table[0], table[1], strict=True))
    assert cells["PyTorch"] == "300 (compiled, all)"
    assert cells["fastnn"] == "200 (all)"
    assert cells["best peer / fastnn"] == "1.50"
    assert "Geometric mean without MNIST 1.50, worst 1.50" in text
    assert settings.record["epoch_seconds"]["20-32-16-2, batch 32"]["torch"] == pytest.approx(0.3)


def test_a_way_that_fails_is_named_below_the_table(monkeypatch):
    table, text, _ = measured(monkeypatch, {"torch.Compiled", "jax"})
    cells = dict(zip(table[0], table[1], strict=True))
    assert cells["PyTorch"] == "400 (eager, all)"
    assert cells["JAX"] == "failed"
    assert "FAILED: torch.Compiled, threads: all: no compiler" in text


@pytest.mark.parametrize(("mode", "count"), [("one", 1), ("2", 2), ("all", None)])
def test_a_child_has_as_many_threads_as_its_mode_says(mode, count, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = "import os; print(os.environ.get('OMP_NUM_THREADS'), len(os.sched_getaffinity(0)))"
    if not hasattr(processes.os, "sched_getaffinity"):
        code = "import os; print(os.environ.get('OMP_NUM_THREADS'), 1)"
    before = processes.cores()
    variable, cores = processes.run_python(["-c", code], mode)[0].split()
    assert variable == str(count)
    assert int(cores) <= (before if count is None else min(count, before))
    assert processes.cores() == before


@pytest.mark.parametrize("module", [processes, section("scaling")])
def test_examples_of_the_benchmarks_give_what_they_say(module):
    assert doctest.testmod(module).failed == 0


def test_memory_at_its_peak_is_what_was_resident_then():
    resident.forget_peak()
    before = resident.now()
    array = np.ones(8_000_000)  # 64 MB
    assert array.sum() == len(array)
    del array
    assert resident.peak() >= max(before, resident.now())
    assert not resident.STATUS.exists() or resident.peak() - before >= 60e6


def test_a_picture_is_drawn_of_ratios_and_scaling(tmp_path, pyplot):
    points = [{"rows": n, "work": n, "seconds": n / 10} for n in (1, 2)]
    record = {
        "epoch_seconds": {"20-32, batch 1": {"fastnn": 1.0, "jax": 2.0}, "3-1": {"jax": 1.0}},
        "scaling": {"rows": {"x": "work", "points": {"fastnn": points, "jax": points}}},
    }
    for number, keys in enumerate([["epoch_seconds"], ["scaling"], list(record)]):
        file = tmp_path / f"{number}.png"
        picture.draw({key: record[key] for key in keys}, file)
        assert file.stat().st_size > 1000
    with pytest.raises(ValueError, match="training or scaling"):
        picture.draw({}, tmp_path / "none.png")


def test_thread_counts_end_with_all_cores():
    for cores in range(1, 40):
        counts = section("scaling").thread_counts(cores)
        assert counts[0] == 1 and counts[-1] == cores
        assert all(math.log2(count).is_integer() for count in counts[:-1])
