"""A whole process of another library: fit the digits in FILE for 20 epochs and predict them.

``digits_other.py FILE CONTENDER``: the contender of the other sections; its parameters predict in
NumPy, which compiles nothing.
"""

import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from contender import make
from workloads import Data, Workload, accuracy

# JAX keeps only what took a second to compile, unless it is told to keep all.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

file, name = sys.argv[1:]
digits = np.load(file)
X, y = digits["X"], digits["y"].astype(np.int64)
workload = Workload("digits", (64, 100, 10), 64, len(X), 0.1)
mode = "one" if os.environ.get("OMP_NUM_THREADS") == "1" else "all"
contender = make(name, workload, Data(X, y, X, y), mode)
contender.train(20)
print(accuracy(contender.parameters(), X, y))
