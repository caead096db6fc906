"""Which rows of the first layer's W a step on sparse rows has to update: those that its batch uses.

A batch gives the other rows no gradient. What a step then does to them is often so simple that it
can be made good later, exactly, when a batch uses them, and at the end of an epoch:

- Plain SGD multiplies W by 1 - rate l2: all of W is kept divided by the product of these factors.
  The soft threshold of l1 comes later, for all steps at once, and so does what weights have been
  meanwhile for their mean: see `step.settling`; without l1 the mean is a sum: see `step.jumps`.
- With momentum or Nesterov's, the decay of RMSProp, a limit of the gradient, or l1 beside one of
  these, a weight w and its state s become

      w <- S(a w + b s, threshold),  s <- c w + d s + e w_new,

  with S the soft threshold, of numbers that depend on the step alone. Where this is linear, or b, c
  and e are 0, many steps are one of the same form: those of 1, 2, 4, ... steps are kept, so n steps
  take a number of products that grows as log n. Else steps are made good one by one.

Adam, AdamW, Nadam and Lion move a weight by its moments; RMSProp and Adagrad divide by a size that
the l2 penalty's gradient enters; a norm of all, of the gradient or of a column of W, changes with
every weight; clipping is not linear; an ema is one state more, but for plain SGD; and of a large
batch that uses most inputs the gradient is summed first: there, every step updates all of W.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fastnn.rules.table import UPDATES, update_row

if TYPE_CHECKING:
    from fastnn.inputs.problem import Problem

(
    EAGER,  # every step updates all of W
    SCALED,  # W is kept divided by a number
    CUT,  # and with the threshold of each input when it was last used
    CUT_MEAN,  # and with sums of the steps since then, for the mean of the weights
    STAMPED,  # inputs have the step up to which they are good; runs of steps are joined
    STEPWISE,  # and steps are made good one by one
) = range(6)

_LINEAR = ("sgd", "momentum", "nesterov", "averaged_sgd")
_DIVIDED = ("rmsprop", "adagrad")
# After so many steps all of W is brought up to date, and steps are counted from 0 again: what is
# kept of them does not grow with the epoch.
COUNTED_STEPS = 1 << 14
# And after so many those of which there are sums for the mean.
MEAN_STEPS = 1 << 12
# Of a model of one output, a range of inputs has so many numbers of a row, and all of them so many
# of a batch: below, to hand over the work takes longer than to do it.
RANGE_ENTRIES, RANGES_ENTRIES, MOST_RANGES = 64, 4096, 8
# A batch that has so many numbers of an input on average sums their gradient before it changes W:
# added to W one by one, most of what small steps add would be rounded away. With one output that
# costs next to nothing from fewer of them on. Of a batch larger than the last number the same is
# done where most inputs are used at all: a few of them may be in every row.
CROWDED, CROWDED_OUTPUT, LARGE_BATCH = 64.0, 4.0, 1 << 14
# Rows that a batch uses are updated one by one, which takes so many times as long as all in a row.
SCATTERED = 4.0


class Laziness(NamedTuple):
    """How the first layer follows sparse rows.

    Attributes
    ----------
    mode
        One of the above.
    linear
        Whether the whole model is one output without hidden layers, of plain or averaged SGD:
        `step.sparse_linear`.
    ranges
        Of such a model, into how many ranges inputs are cut, which threads share: a power of 2.
    row_by_row
        Whether it is that for several outputs, each a model of its own, on one row at a time, of
        which a step is too short to share: `step.sparse_outputs`.
    summed
        Whether the gradient of a batch is summed before it changes W: so many numbers it has.
    """

    mode: int
    linear: bool
    ranges: int = 1
    row_by_row: bool = False
    summed: bool = False


def choose_laziness(
    problem: Problem, rule: str, entries: float, one_output: bool, row_by_row: bool = False
) -> Laziness:
    """Return how rows of `entries` numbers on average, of which few are stored, are trained on.

    `one_output` tells whether the model is one for `step.sparse_linear`, but for its optimizer, and
    `row_by_row` whether it is one for `step.sparse_outputs`.
    """
    layer, (l1, l2) = problem.network.parametric[0], problem.penalties[0]
    own_rule = rule == problem.optimizer.rule
    clips, limited = own_rule and problem.clips, getattr(layer, "max_norm", None) is not None
    if not own_rule or not layer.trainable or limited or problem.clip_norm is not None:
        return Laziness(EAGER, False)
    if update_row(problem.optimizer).slots > UPDATES[rule].slots:
        return Laziness(EAGER, False)
    plain = rule in ("sgd", "averaged_sgd") and not clips
    mode = SCALED if not l1 else CUT if rule == "sgd" else CUT_MEAN
    inputs, batch = problem.network.widths[0][0], problem.batch_size
    crowd = entries * batch / inputs if batch > 1 else 0.0  # numbers of an input
    if plain and one_output:
        return Laziness(mode, True, _ranges(problem, entries), summed=crowd > CROWDED_OUTPUT)
    if plain and row_by_row:
        return Laziness(mode, False, row_by_row=True)
    # Of all inputs, the share that a batch uses, as if its rows chose them by chance.
    share = 1.0 - (1.0 - min(1.0, entries / inputs)) ** batch
    summed = crowd > CROWDED or (batch > LARGE_BATCH and share * SCATTERED > 1.0)
    if plain and rule == "sgd" and not l1 and not summed:
        return Laziness(mode, False)
    linear = rule in _LINEAR and not (clips and l2)
    if not linear and not (rule in _DIVIDED and not l2):
        return Laziness(EAGER, False)
    if share * SCATTERED > 1.0:
        return Laziness(EAGER, False, summed=summed)
    if plain:
        return Laziness(mode, False)
    joined = l1 == 0 or rule not in _LINEAR[1:]
    return Laziness(STAMPED if joined else STEPWISE, False)


def _ranges(problem: Problem, entries: float) -> int:
    """Return into how many ranges a model of one output cuts its inputs."""
    ranges = 1
    if entries * problem.batch_size >= RANGES_ENTRIES:
        while ranges < MOST_RANGES and entries >= 2 * ranges * RANGE_ENTRIES:
            ranges *= 2
    return ranges
