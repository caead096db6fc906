"""What threads that share a batch work on, and what the plan says of a layer: as records.

Functions hand them on whole. Once all of these are written into one kernel, what nobody asks for is
gone, and the rest lies in registers, or is constant where the plan is.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

from fastnn.targets import fields as f
from fastnn.targets.cuda.host import plan as p
from fastnn.targets.cuda.host.numba_cuda import inner


class Work(NamedTuple):
    """Some rows of a batch, and the team of threads that has them.

    Attributes
    ----------
    par, act
        The parameters and optimizer state of a network, and its scratch.
    words, numbers
        Of its plan.
    keys, order
        The keys of random numbers in this epoch, and its rows.
    step
        What `Job.steps` has for this step.
    first, rows
        The position in the epoch of the first of the rows, which random numbers depend on; how many
        they are.
    training
        Whether inputs are dropped and slopes drawn.
    me, team
        The number of a thread, and how many there are.
    """

    par: Any
    act: Any
    words: Any
    numbers: Any
    keys: Any
    order: Any
    step: Any
    first: Any
    rows: Any
    training: Any
    me: Any
    team: Any


# A layer's row of `fastnn.targets.cuda.host.plan.Plan.words`, by the names of its fields.
Layer = namedtuple(
    "Layer",
    "k n code rowwise needs_z bias trained weights ldw learns_slopes drawn input ldx drops "
    "threshold z output delta ldn",
)


@inner
def layer_of(words, layer):
    """Return what the words of a plan say of a layer."""
    w = 1 + layer
    return Layer(
        words[w, f.K], words[w, f.N], words[w, p.CODE], words[w, f.ROWWISE], words[w, f.NEEDS_Z],
        words[w, f.BIAS], words[w, p.TRAINED], words[w, f.WEIGHTS], words[w, p.LDW],
        words[w, p.LEARNS_SLOPES], words[w, p.DRAWN], words[w, f.INPUT], words[w, p.LDX],
        words[w, p.DROPS], words[w, f.THRESHOLD], words[w, f.Z], words[w, f.OUTPUT],
        words[w, f.DELTA], words[w, p.LDN],
    )  # fmt: skip
