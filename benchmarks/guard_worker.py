"""A process that trains when it is told to, started by guard.py: a line of JSON in, a line out.

["load", WORKLOAD]: make its data and network and train a little; the answer is a word to the reader
["train", EPOCHS]: start from the first parameters; the answer is the seconds of each epoch

On the command line: one or all, its threads. Its first line says where its fastnn is.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from functools import cache

from contenders.fastnn_ import Contender
from workloads import WORKLOADS, Data, Workload, initial_parameters, load, synthetic

import fastnn

# Rows by inputs: epochs of a tenth of a second, data that no cache holds all the same.
ROWS_AT_MOST = {784: 12_000, 2048: 1_024}
SAFE_RATE = 1e-3


def short(name: str) -> Workload:
    """Return a workload with so few rows that others soon have their turn.

    Its rate is one at which no data diverge: on random data in MNIST's place, MNIST's might.
    """
    workload = WORKLOADS[name]
    most = ROWS_AT_MOST.get(workload.widths[0], workload.rows)
    return replace(workload, rows=min(workload.rows, most), learning_rate=SAFE_RATE)


@cache  # of which the compressed file is read once a process
def mnist_rows(workload: Workload) -> Data:
    """Return the first rows of MNIST, or random ones where no folder is named: no download."""
    if not os.environ.get("FASTNN_DATA"):
        return synthetic(workload, "random data: FASTNN_DATA is not set")
    data = load(workload)
    first, few = slice(workload.rows), slice(1)
    return Data(
        data.X[first].copy(), data.y[first], data.X_test[few].copy(), data.y_test[few], data.note
    )


def data_of(workload: Workload) -> Data:
    """Return the data of a short workload."""
    if not workload.is_mnist:
        return synthetic(workload)
    kind = replace(workload, name="", widths=(784, 10), batch=1, learning_rate=0, momentum=0)
    return mnist_rows(kind)


def main() -> None:
    """Answer until nobody asks any more."""
    threads = 1 if sys.argv[1] == "one" else None
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing else gets between the answers
    print(json.dumps(fastnn.__file__), file=answers, flush=True)
    for line in sys.stdin:
        command, argument = json.loads(line)
        if command == "load":
            workload = short(argument)
            data, start = data_of(workload), initial_parameters(workload)
            contender = Contender(workload, data, start, threads)
            contender.train(2)
            answer = data.note
        else:
            # Always the same steps: none from numbers that have become very small, or too large.
            contender.trainer.set_parameters(start)
            answer = contender.train(argument)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
