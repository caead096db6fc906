"""Who is compared in the report: the libraries, how each trains, and how they are run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from processes import HERE, MODES, run_python
from workloads import Workload

Run = tuple[str, str]  # contender; "one", "all" or a number: its threads


@dataclass(frozen=True)
class Way:
    """One way to train with a library: its name in a cell, and the settings that were fastest."""

    title: str
    settings: str


@dataclass(frozen=True)
class Library:
    """A column of the tables: its title, its distributions by name, its contenders, its import."""

    title: str
    distributions: dict[str, str]
    contenders: dict[str, Way]
    statement: str
    linear: dict[str, Way] = field(default_factory=dict)  # for linear models by single rows only

    def ways(self, workload: Workload) -> dict[str, Way]:
        """Return the contenders for a workload."""
        linear = workload.batch == 1 and len(workload.widths) == 2
        return self.contenders | (self.linear if linear else {})


LIBRARIES = {
    "fastnn": Library(
        "fastnn",
        {"fastnn": "fastnn"},
        {"fastnn": Way("Trainer", "`Trainer.fit`, its defaults")},
        "from fastnn import Trainer",
    ),
    "sklearn": Library(
        "scikit-learn",
        {"scikit-learn": "scikit-learn"},
        {
            "sklearn": Way(
                "MLPClassifier",
                '`MLPClassifier(solver="sgd", alpha=0)` on float32 with `assume_finite`; checks of '
                "X and y not timed",
            )
        },
        "from sklearn.neural_network import MLPClassifier",
        {
            "sklearn.Linear": Way(
                "SGDClassifier",
                '`SGDClassifier(loss="log_loss", penalty=None)`, with batch 1 only; of 10 classes '
                "one against the rest",
            )
        },
    ),
    "torch": Library(
        "PyTorch",
        {"PyTorch": "torch"},
        {
            "torch": Way(
                "eager", "`nn.Sequential`, `SGD(fused=True)`, rows by `index_select`, no DataLoader"
            ),
            "torch.Compiled": Way(
                "compiled",
                "`torch.compile(fullgraph=True, dynamic=False)` of the whole step (rows, forward, "
                "`torch.func.grad`, update in place), with `cpp_wrapper`",
            ),
        },
        "import torch",
    ),
    "jax": Library(
        "JAX",
        {"JAX": "jax"},
        {"jax": Way("jitted epoch", "the whole epoch in one jitted `lax.scan`, state donated")},
        "import jax",
    ),
    "tensorflow": Library(
        "TensorFlow/Keras",
        {"TensorFlow": "tensorflow", "Keras": "keras"},
        {
            "tensorflow": Way(
                "fit",
                "`fit` of a `Sequential` on NumPy arrays, `compile(jit_compile=True)`, "
                "`steps_per_execution` a whole epoch",
            )
        },
        "import tensorflow, keras",
    ),
}


@dataclass
class Settings:
    """What to run, and for how long; `record` collects the raw figures for the JSON file."""

    libraries: list[str]
    workloads: list[str]
    rounds: int = 3
    seconds: float = 2.0
    quick: bool = False
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def modes(self) -> tuple[str, ...]:
        """The threads to try; a look takes all only."""
        return ("all",) if self.quick else MODES

    def times(self, usual: int) -> int:
        """Return how often to repeat what is usually repeated so often."""
        return 1 if self.quick else usual

    def runs(self, workload: Workload) -> list[Run]:
        """Return the contenders of the libraries that are installed, on one thread and on all."""
        return [
            (contender, mode)
            for name in self.libraries
            if is_installed(name)
            for contender in LIBRARIES[name].ways(workload)
            for mode in self.modes
        ]


def is_installed(library: str) -> bool:
    """Return whether a library can be imported."""
    return find_spec(library) is not None


def missing(library: str) -> str:
    """Say why there is no figure of a library."""
    return "failed" if is_installed(library) else "not installed"


def library_of(run: Run) -> str:
    """Return the name of the library that a run belongs to."""
    return run[0].partition(".")[0]


def best_run(figures: dict[Run, float], library: str) -> Run | None:
    """Return the run of a library with the smallest figure, or None if it has none."""
    mine = [run for run in figures if library_of(run) == library]
    return min(mine, key=figures.__getitem__, default=None)


def in_words(run: Run, ways: dict[str, Way] | None = None) -> str:
    """Return the threads of a run, for a cell, and before them the way if there are several."""
    threads = "1 thread" if run[1] == "one" else "all"
    return f"{ways[run[0]].title}, {threads}" if ways and len(ways) > 1 else threads


def explain(failures: dict[Run, str]) -> list[str]:
    """Return one line for each run that failed."""
    return [f"FAILED: {name}, threads: {mode}: {why}" for (name, mode), why in failures.items()]


def child(*arguments: str, mode: str) -> dict[str, Any]:
    """Run contender.py and return what it reports."""
    output, _ = run_python([str(HERE / "contender.py"), *arguments], mode)
    return json.loads(output.splitlines()[-1])
