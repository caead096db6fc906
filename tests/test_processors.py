"""How many threads there are to be: what the system, the environment and control groups say."""

import os
import sys

import pytest
from trainer_cases import LABELS, X, state_of, trainer_of

from fastnn import Dense, EnvironmentWarning
from fastnn.threads import processors
from fastnn.threads.processors import available_threads

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's control groups")


@pytest.fixture(autouse=True)
def eight(monkeypatch, tmp_path):
    """Have a machine of eight processors, an environment and control groups without limits."""
    for name in processors.LIMITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(processors, "_warned", set())
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(processors, "GROUPS", str(tmp_path))
    monkeypatch.setattr(processors, "OWN_GROUPS", str(tmp_path / "cgroup"))
    return tmp_path


def test_a_process_may_use_the_processors_that_it_may_run_on(monkeypatch):
    assert available_threads() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    assert available_threads() == 1


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT"])
@pytest.mark.parametrize(
    ("text", "threads"),
    [("1", 1), (" +3 ", 3), ("04", 4), ("4,2", 4), ("5 , 2,1", 5), ("64", 8), ("9" * 5000, 8)],
)
def test_the_environment_can_only_take_away(name, text, threads, monkeypatch):
    monkeypatch.setenv(name, text)
    assert available_threads() == threads


@pytest.mark.parametrize("text", ["", "  "])
def test_a_variable_with_nothing_in_it_is_none(text, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert available_threads() == 8


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT"])
@pytest.mark.parametrize(
    "text", ["abc", "0", "-1", "1.5", "4 2", "4,", ",4", "4,abc", "4,0", "\u0664", "4;2"]
)
def test_a_value_that_is_no_number_of_threads_is_ignored_with_one_warning(name, text, monkeypatch):
    monkeypatch.setenv(name, text)
    with pytest.warns(EnvironmentWarning) as caught:
        assert [available_threads() for _ in range(3)] == [8, 8, 8]
    (warning,) = caught
    assert str(warning.message).startswith(f"{name} is {text!r} and is ignored")


def test_a_value_that_is_wrong_in_another_way_is_warned_of_too(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    for text in ("none", "all"):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        with pytest.warns(EnvironmentWarning, match=text):
            assert available_threads() == 2


@needs_linux
@pytest.mark.parametrize(
    ("quota", "threads"),
    [("max 100000", 8), ("50000 100000", 1), ("100000 100000", 1), ("250000 100000", 3)],
)
def test_a_group_of_version_2_limits_them(quota, threads, eight):
    (eight / "cgroup").write_text("0::/user.slice/own\n")
    (eight / "user.slice" / "own").mkdir(parents=True)
    (eight / "user.slice" / "own" / "cpu.max").write_text(quota + "\n")
    assert available_threads() == threads


@needs_linux
def test_the_tightest_of_the_groups_around_a_process_counts(eight):
    (eight / "cgroup").write_text("0::/outer/inner\n")
    (eight / "outer" / "inner").mkdir(parents=True)
    (eight / "outer" / "cpu.max").write_text("200000 100000\n")
    (eight / "outer" / "inner" / "cpu.max").write_text("600000 100000\n")
    assert available_threads() == 2


@needs_linux
def test_in_a_container_the_mount_is_the_group(eight):
    (eight / "cgroup").write_text("0::/docker/0123\n")
    (eight / "cpu.max").write_text("150000 100000\n")
    assert available_threads() == 2


@needs_linux
@pytest.mark.parametrize("quota", [-1, 50_000, 350_000])
def test_a_group_of_version_1_limits_them(quota, eight):
    (eight / "cgroup").write_text("5:cpuset:/\n4:cpu,cpuacct:/own\n0::/\n")
    folder = eight / "cpu,cpuacct" / "own"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert available_threads() == {-1: 8, 50_000: 1, 350_000: 4}[quota]


@needs_linux
def test_groups_are_read_again_after_a_second(eight, monkeypatch):
    now = 7.0
    monkeypatch.setattr(processors.time, "monotonic", lambda: now)
    (eight / "cgroup").write_text("0::/\n")
    (eight / "cpu.max").write_text("200000 100000\n")
    assert available_threads() == 2
    (eight / "cpu.max").write_text("300000 100000\n")
    assert available_threads() == 2
    now += 1.0
    assert available_threads() == 3


def test_a_fit_takes_the_threads_that_there_are_when_it_starts(monkeypatch):
    layers = [Dense(2000, "relu"), Dense(3)]  # work for many threads
    settings = {"layers": layers, "batch_size": 128, "target": "cpu"}
    trainer, other = trainer_of(**settings), trainer_of(**settings, threads=1)
    counts = []
    for text in ("2", "1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        counts.append(trainer.fit(X, LABELS, epochs=1).threads)
        other.fit(X, LABELS, epochs=1)
    if trainer._open().threads > 1:  # not where Numba is switched off
        assert counts == [2, 1, 3]
    other.history.threads = trainer.history.threads
    assert state_of(trainer) == state_of(other)


def test_threads_that_were_asked_for_are_taken_whatever_else_is_said(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    trainer = trainer_of(target="cpu", threads=2)
    threads = trainer.fit(X, LABELS, epochs=1).threads
    assert threads == trainer._open().threads == (2 if trainer._open().threads > 1 else 1)
