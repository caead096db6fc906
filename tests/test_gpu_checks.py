"""The checks of benchmarks/gpu.py as jobs side by side, tried with the processor's kernels."""

import time

import gpu_check_jobs
import pytest
from gpu_check_jobs import TRAINERS, Job, check_side_by_side, job_of, jobs_of
from gpu_checks import cases
from gpu_tasks import Outcome

TWO = Job("grid", "float32", (0, 1))


def checked(jobs, seconds=60.0):
    told = []
    check_side_by_side("cpu", seconds, lambda **record: told.append(record), jobs)
    return told[:-1], told[-1]


def test_every_case_is_of_one_job_a_family_and_the_first_come_first():
    pytest.importorskip("numba_cuda")
    jobs = jobs_of("cuda")
    assert jobs[0].family == TRAINERS
    every = {dtype: list(cases(dtype)) for dtype in ("float32", "float64")}
    for family in ("block", "grid", "tiled"):
        own = [job for job in jobs if job.family == family]
        places = [(job.dtype, place) for job in own for place in job.places]
        assert len(set(places)) == len(places) == sum(map(len, every.values()))
        first = [every[job.dtype][job.places[0]].first for job in own]
        assert first == sorted(first, reverse=True) and first[0]
        kinds = {every[job.dtype][job.places[0]].kind for job in own[: first.count(True)]}
        assert kinds == {"float32", "float64", "tf32", "bfloat16"}


def test_a_job_goes_through_words():
    assert job_of(str(TWO)) == TWO


def test_a_process_checks_what_its_job_says():
    records, end = checked([Job("cpu", "float64", (0, 3))], 240)
    assert [(each["family"], each["failure"]) for each in records] == [("cpu", "")] * 2
    assert (end["without_time"], end["unseen"]) == (0, [])


def test_a_process_that_dies_fails_the_case_that_it_was_at(monkeypatch):
    record = {"kind": "check", "family": "grid", "dtype": "float32", "failure": ""}
    monkeypatch.setattr(
        gpu_check_jobs, "run", lambda *_: Outcome([record], 1.0, "ended by signal 11; ")
    )
    records, end = checked([TWO])
    assert [each["failure"] for each in records] == ["", "ended by signal 11; "]
    assert end["unseen"] == []


def test_what_had_no_time_is_counted_and_no_failure(monkeypatch):
    monkeypatch.setattr(gpu_check_jobs, "LEAST_SECONDS", 0.1)

    def run(command, seconds):
        time.sleep(seconds)
        return Outcome([], seconds, "not done")

    monkeypatch.setattr(gpu_check_jobs, "run", run)
    records, end = checked([TWO], 0.3)
    assert records == []
    assert (end["without_time"], end["unseen"]) == (2, ["grid, float32"])
