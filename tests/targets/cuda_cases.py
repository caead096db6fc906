"""Which tests run on the CUDA target, in which families of kernels, and how many cases of each.

Where kernels run, on a device or in Numba's simulator (NUMBA_ENABLE_CUDASIM=1), every test that is
asked of a target runs on CUDA too. A case takes a tenth of a second in the simulator and a
compilation on a device, so that of many cases a selection is taken: every value of every parameter,
and as many pairs of values as fit (`pairs.covering`). FASTNN_ALL_CASES=1 takes all of them.

Sizes in the simulator are those that `target_cases.few` gives. What needs compiled kernels, because
it is large or looks at threads, is marked so (`target_cases.needs_jit`) and is skipped there.

What the simulator cannot show, and a device has to (FASTNN_ALL_CASES=1, without the simulator):

- several blocks at a barrier of the whole grid: blocks run one after another;
- intrinsics (wide loads, warp shuffles, tensor cores, cp.async): plain Python stands for each;
- streams, graphs and copies behind arithmetic: everything is done at once and in order;
- launches from several threads of the caller: Numba's simulator has one kernel at a time;
- all races between barriers: threads change places only there, in their order and its reverse;
- roundings of a device: NumPy's exp, log and tanh, and no fused multiplication and addition;
- limits of shared memory, registers and alignment (tests/cuda looks at the machine code).
"""

from collections import defaultdict

import pytest
from pairs import EVERY_CASE, covering, values_of
from simulator import SIMULATED, nowhere_to_run

NOWHERE = nowhere_to_run()
if NOWHERE:
    FAMILIES = ["block"]  # once is enough to say so
else:
    from fastnn.targets.cuda.dispatch import FAMILIES
# So many cases of a test at most, unless it takes more for every value of every parameter.
CASES = {"block": 10, "grid": 4, "tiled": 4}
# What the families after the first run: their own ways through a step, not what all of them share.
TELLING = {
    "test_a_step_is_the_formula_applied_to_the_unclipped_gradient",
    "test_any_activation_follows_the_numpy_target",
    "test_any_loss_follows_the_numpy_target",
    "test_any_network_follows_the_numpy_target",
    "test_any_size_follows_the_numpy_target",
    "test_clipped_training_follows_the_numpy_target",
    "test_epochs_in_one_call_are_those_one_by_one",
    "test_every_activation_trains",
    "test_every_loss_trains",
    "test_every_setting_shows_in_the_numbers",
    "test_every_update_trains",
    "test_layers_of_one_formula_have_numbers_of_their_own",
    "test_layers_trained_apart_follow_the_numpy_target",
    "test_limited_columns_follow_the_numpy_target",
    "test_loss_and_gradients_are_the_numpy_targets",
    "test_one_number_that_is_not_one_is_found_in_its_own_step",
    "test_one_step_of_one_layer_uses_the_slopes_of_its_rows",
    "test_penalties_of_each_layer_follow_the_numpy_target",
    "test_the_bad_step_makes_no_update",
    "test_training_follows_the_numpy_target",
    "test_training_from_a_snapshot_comes_to_the_same_bits_again",
    "test_training_with_l1_follows_the_numpy_target",
    "test_what_was_loaded_comes_back_to_the_bit",
}


def engine_of(family):
    """Return what makes an Engine of a family, or skips the test where that does not suit."""
    from fastnn.targets.cuda.engine import Engine
    from fastnn.targets.cuda.host.numba_cuda import limits

    def make(problem, threads=None):
        reason = FAMILIES[family].reason_against(problem, problem.optimizer.rule, limits())
        if reason:
            pytest.skip(f"family {family!r}: {reason}")
        return Engine(problem, threads, family=family)

    return make


def select(items):
    """Return the tests to leave out, of those that pytest has collected."""
    groups, kept = defaultdict(list), set()
    for item in items:
        name = target_of(item)
        if name.startswith("cuda-"):
            groups[item.function, name.removeprefix("cuda-")].append(item)
        elif name or not SIMULATED:  # the tests of the CPU alone have no need of the simulator
            kept.add(item)
    for (function, family), cases in groups.items():
        if family != "block" and function.__name__ not in TELLING:
            continue
        if NOWHERE:
            cases = cases[:1]
        elif not EVERY_CASE:
            own = "target", "fast_class"
            values = [values_of(item.callspec.params, own) for item in cases]
            cases = [cases[i] for i in covering(values, CASES[family])]
        kept.update(cases)
    return [each for each in items if each not in kept]


def target_of(item):
    """Return the target that a test is asked of, or nothing."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    return given.get("target") or given.get("fast_class") or ""
