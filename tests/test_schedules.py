"""Learning rates: schedules against their formulas and PyTorch, and training with them."""

import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from trainer_cases import LABELS, TARGETS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adam,
    AdamW,
    Dense,
    InvalidInput,
    Network,
    Trainer,
    TrainingWarning,
    schedules,
)
from fastnn.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    OneCycle,
    Schedule,
    StepDecay,
    WarmUp,
    rates_of,
)

STEPS = 60


def label(value):
    """Return the id of a schedule; that of a function would be an address, another each time."""
    return f"{value}"[:60] if isinstance(value, Schedule) else ""


EACH = [
    Constant(0.3),
    StepDecay(0.3, 7, 0.5),
    Exponential(0.3, 0.97),
    InverseScaling(0.3, 0.75, 0.2),
    InverseScaling(0.3, 0.75, 0.2, every=3),
    Cosine(0.3, 40, 0.01),
    OneCycle(0.3, 50),
    WarmUp(5, 0.3),
    WarmUp(5, then=Cosine(0.3, 40)),
]


def cosine(t, start, end, steps):
    return end + (start - end) * (1 + math.cos(math.pi * min(t / steps, 1))) / 2


def one_cycle(t, maximum, steps, pct_start, start, end):
    """Return a rate of the policy, with its two phases taken apart."""
    top = pct_start * steps - 1
    if t < top:
        return cosine(t, maximum / start, maximum, top)
    return cosine(t - top, maximum, maximum / (start * end), steps - 1 - top)


FORMULAS = [
    (Constant(0.3), lambda t: 0.3),
    (StepDecay(0.3, 7, 0.5), lambda t: 0.3 * 0.5 ** math.floor(t / 7)),
    (StepDecay(0.3, 1), lambda t: 0.3 * 10.0**-t),
    (Exponential(0.3, 0.97), lambda t: 0.3 * 0.97**t),
    (Exponential(1e-6, 1.1), lambda t: 1e-6 * math.exp(t * math.log(1.1))),
    (InverseScaling(0.3), lambda t: 0.3 / math.sqrt(t + 1)),
    (InverseScaling(0.3, 1.0, 0.01), lambda t: 0.3 / (1 + t / 100)),
    (InverseScaling(0.3, 1.0, 0.5, every=7), lambda t: 0.3 / (1 + t // 7 / 2)),
    (Cosine(0.3, 40, 0.01), lambda t: cosine(t, 0.3, 0.01, 40)),
    (Cosine(0.3, STEPS), lambda t: 0.3 * math.cos(math.pi * t / STEPS / 2) ** 2),
    (OneCycle(0.3, 50), lambda t: one_cycle(t, 0.3, 50, 0.3, 25, 1e4)),
    (OneCycle(0.3, 45, 0.41, 10, 100), lambda t: one_cycle(t, 0.3, 45, 0.41, 10, 100)),
    (OneCycle(0.3, 5, 0.2), lambda t: cosine(t, 0.3, 0.3 / 25e4, 4)),
    (WarmUp(5, 0.3), lambda t: 0.3 * min((t + 1) / 5, 1)),
    (
        WarmUp(5, then=Cosine(0.3, 40)),
        lambda t: 0.3 * (t + 1) / 5 if t < 5 else cosine(t - 5, 0.3, 0, 40),
    ),
    (WarmUp(1, then=StepDecay(0.3, 2)), lambda t: 0.3 * 0.1 ** (max(t - 1, 0) // 2)),
]


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS, ids=label)
def test_a_schedule_gives_what_its_formula_says(schedule, formula):
    expected = [formula(t) for t in range(STEPS)]
    assert_allclose(schedule(np.arange(STEPS)), expected, rtol=1e-9, atol=1e-18)
    assert_allclose([schedule(t) for t in range(STEPS)], expected, rtol=1e-9, atol=1e-18)


@pytest.mark.parametrize("schedule", EACH, ids=str)
def test_one_step_gives_a_float_and_no_step_is_changed(schedule):
    steps = np.arange(4.0)
    schedule(steps)
    assert steps.tolist() == [0, 1, 2, 3]
    assert type(schedule(3)) is float


def test_the_ends_of_a_schedule_are_exact():
    assert [Cosine(0.3, 7, 0.1)(t) for t in (0, 7, 10**9)] == [0.3, 0.1, 0.1]
    cycle = OneCycle(0.3, 100, 0.3, 25.0, 4.0)
    assert [cycle(t) for t in (0, 29, 99, 10**9)] == [0.3 / 25, 0.3, 0.3 / 25 / 4, 0.3 / 25 / 4]
    assert WarmUp(10, 0.3)(9) == 0.3


def torch_rates(make):
    """Return the rates that PyTorch's schedule, made of an optimizer, gives for 40 steps."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


PYTORCH = [
    (Constant(0.3), lambda torch, o: torch.ConstantLR(o, factor=1.0)),
    (StepDecay(0.3, 7, 0.5), lambda torch, o: torch.StepLR(o, 7, 0.5)),
    (Exponential(0.3, 0.97), lambda torch, o: torch.ExponentialLR(o, 0.97)),
    (
        InverseScaling(0.3, 0.7, 0.2),
        lambda torch, o: torch.LambdaLR(o, lambda t: (1 + t / 5) ** -0.7),
    ),
    (Cosine(0.3, 40, 0.01), lambda torch, o: torch.CosineAnnealingLR(o, 40, 0.01)),
    (OneCycle(0.5, 41), lambda torch, o: torch.OneCycleLR(o, 0.5, 41, cycle_momentum=False)),
    (
        OneCycle(0.5, 41, 0.37, 10.0, 50.0),
        lambda torch, o: torch.OneCycleLR(
            o, 0.5, 41, pct_start=0.37, div_factor=10, final_div_factor=50, cycle_momentum=False
        ),
    ),
    (WarmUp(8, 0.3), lambda torch, o: torch.LinearLR(o, 1 / 8, total_iters=7)),
    (
        WarmUp(8, then=Exponential(0.3, 0.9)),
        lambda torch, o: torch.SequentialLR(
            o, [torch.LinearLR(o, 1 / 8, total_iters=7), torch.ExponentialLR(o, 0.9)], [8]
        ),
    ),
]


@pytest.mark.parametrize(("schedule", "make"), PYTORCH, ids=label)
def test_a_schedule_gives_what_pytorch_gives(schedule, make):
    assert_allclose(schedule(np.arange(40)), torch_rates(make), rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-0.1), r"rate must be a finite number in \[0, inf\), not -0.1"),
        (lambda: Constant(math.nan), "rate must be .* not nan"),
        (lambda: StepDecay(0.1, 0), "every must be a whole number of at least 1, not 0"),
        (lambda: StepDecay(0.1, 2.5), "every must be a whole number"),
        (lambda: StepDecay(0.1, 3, 0.0), r"factor must be a finite number in \(0, inf\), not 0.0"),
        (lambda: Exponential(0.1, -0.5), "factor must be"),
        (lambda: InverseScaling(0.1, power=-1), "power must be"),
        (lambda: InverseScaling(0.1, decay=math.inf), "decay must be"),
        (lambda: InverseScaling(0.1, every=0), "every must be a whole number of at least 1"),
        (lambda: Cosine(0.1, 0), "steps must be a whole number of at least 1, not 0"),
        (lambda: Cosine(0.1, 10, 0.2), r"min_lr must be a finite number in \[0, 0.1\], not 0.2"),
        (lambda: OneCycle(0.1, 1), "steps must be a whole number of at least 2, not 1"),
        (
            lambda: OneCycle(0.1, 10, pct_start=1.0),
            r"pct_start must be a finite number in \(0, 1\), not 1.0",
        ),
        (lambda: OneCycle(0.1, 10, start_divisor=0.5), "start_divisor must be"),
        (lambda: OneCycle(0.1, 10, end_divisor=0), "end_divisor must be"),
        (lambda: WarmUp(0, 0.1), "steps of a WarmUp must be"),
        (lambda: WarmUp(5, -0.1), "then, where it is no schedule, must be .* not -0.1"),
        (lambda: WarmUp(5, WarmUp(5, 0.1)), r"a schedule that is no WarmUp, not WarmUp\("),
        (lambda: WarmUp(5, abs), r"then must be .* not the function"),
        (lambda: SGD(Cosine), r"not the class Cosine; give it its settings, as in Cosine\(0.1"),
        (lambda: Adam("Cosine"), "learning_rate must be a finite number .* not 'Cosine'"),
    ],
)
def test_settings_of_a_schedule_out_of_range_are_refused(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


class Halves(Schedule):
    """A user-defined schedule."""

    def rates(self, steps):
        """Return 0.2 and 0.1 in turn."""
        return 0.2 / (1 + steps % 2)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("between", ["nothing", "file", "pickle"])
@pytest.mark.parametrize("schedule", EACH, ids=str)
def test_two_epochs_and_three_are_five_to_the_bit_on_a_schedule(
    schedule, between, target, tmp_path
):
    whole, parts = (trainer_of(optimizer=SGD(schedule, 0.5), target=target) for _ in range(2))
    whole.fit(X, LABELS, epochs=5)
    parts.fit(X, LABELS, epochs=2)
    if between == "file":
        parts.save(tmp_path / "model")
        parts = Trainer.load(tmp_path / "model")
        assert parts.problem.optimizer == whole.problem.optimizer
    elif between == "pickle":
        parts = pickle.loads(pickle.dumps(parts))
    parts.fit(X, LABELS, epochs=3)
    assert state_of(parts) == state_of(whole)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW])
def test_a_function_and_a_schedule_of_the_same_rates_train_to_the_same_bits(optimizer, target):
    function = trainer_of(optimizer=optimizer(lambda t: 0.2 / (1 + t % 2)), target=target)
    schedule = trainer_of(optimizer=optimizer(Halves()), target=target)
    constant = trainer_of(optimizer=optimizer(0.2), target=target)
    for trainer in (function, schedule, constant):
        trainer.fit(X, LABELS, epochs=3)
    assert state_of(function) == state_of(schedule)
    assert function.history.loss != constant.history.loss


@pytest.mark.parametrize("target", TARGETS)
def test_a_constant_schedule_is_its_number(target):
    number, schedule = (trainer_of(optimizer=SGD(r), target=target) for r in (0.1, Constant(0.1)))
    number.fit(X, LABELS, epochs=2)
    schedule.fit(X, LABELS, epochs=2)
    assert state_of(number) == state_of(schedule)


def test_the_history_has_the_rate_of_each_epochs_last_step():
    trainer = trainer_of(optimizer=SGD(lambda t: 0.5 / (1 + t)))
    trainer.fit(X, LABELS, epochs=2)  # of five steps
    trainer.fit(X[:9], LABELS[:9], epochs=2)  # of two
    assert trainer.history.learning_rate == [0.5 / t for t in (5, 10, 12, 14)]


def test_steps_are_whole_numbers_counted_from_0_over_all_epochs():
    seen = []

    def rate(step):
        seen.append(step)
        return 0.1

    trainer = trainer_of(optimizer=SGD(rate))
    trainer.fit(X, LABELS, epochs=2)
    trainer.fit(X, LABELS, epochs=1)
    assert all(type(step) is int for step in seen)
    assert sorted(set(seen)) == list(range(15))


def test_other_parameters_start_a_schedule_anew():
    trainer = trainer_of(optimizer=SGD(Exponential(0.1, 0.5)))
    trainer.fit(X, LABELS, epochs=1)
    trainer.set_parameters(trainer.parameters)
    trainer.fit(X, LABELS, epochs=1)
    assert trainer.history.learning_rate == [0.1 * 0.5**4] * 2


BAD_RATES = {"NaN": math.nan, "infinite": math.inf, "negative": -0.1, "None": None, "text": "0.1",
             "complex": 0.1j, "list": [0.1, 0.2], "array": np.ones(1)}  # fmt: skip


@pytest.mark.parametrize("value", BAD_RATES.values(), ids=BAD_RATES)
def test_a_rate_that_cannot_be_one_is_refused_with_its_step_before_anything_changes(value):
    def rate(step):
        return value if step == 13 else 0.1

    trainer = trainer_of(optimizer=SGD(rate))
    trainer.fit(X, LABELS, epochs=1)
    before = state_of(trainer)
    with pytest.raises(
        InvalidInput, match=r"rate that <function .* gives for epoch 2, step 3 \(step 13 of"
    ):
        trainer.fit(X, LABELS, epochs=4)
    assert state_of(trainer) == before
    trainer.fit(X, LABELS, epochs=1)
    assert trainer.epoch == 2


def test_a_schedule_that_overflows_is_refused_before_anything_changes():
    trainer = trainer_of(optimizer=SGD(Exponential(1e-300, 1e308)))
    before = state_of(trainer)
    with pytest.raises(InvalidInput, match=r"Exponential\(.*epoch 0, step 2 .* not .*inf"):
        trainer.fit(X, LABELS, epochs=1)
    assert state_of(trainer) == before


def test_a_schedule_that_gives_another_number_of_rates_is_refused():
    class Scalar(Schedule):
        def rates(self, steps):
            return 0.1

    trainer = trainer_of(optimizer=SGD(Scalar()))
    with pytest.raises(
        InvalidInput, match=r"must return one rate a step, shape \(5,\), not .*\(\)"
    ):
        trainer.fit(X, LABELS, epochs=1)


def test_a_bad_rate_too_far_ahead_to_be_looked_for_leaves_the_epochs_before_it(monkeypatch):
    monkeypatch.setattr(schedules, "MOST_AHEAD", 10)
    trainer, other = trainer_of(optimizer=SGD(lambda t: 0.1 - t // 20)), trainer_of()
    with pytest.raises(InvalidInput, match="epoch 4, step 0"):
        trainer.fit(X, LABELS, epochs=10**9)
    other.fit(X, LABELS, epochs=4)
    assert state_of(trainer) == state_of(other)


def test_numbers_of_any_kind_are_rates():
    from fractions import Fraction

    kinds = [0, 0.1, np.float32(0.5), np.int8(1), Fraction(1, 4)]
    assert rates_of(lambda t: kinds[t], 0, 0, 5).tolist() == [0.0, 0.1, 0.5, 1.0, 0.25]


UNSAVED = {
    "function": lambda t: 0.1,
    "own schedule": Halves(),
    "own schedule in WarmUp": WarmUp(5, Halves()),
}


@pytest.mark.parametrize("rate", UNSAVED.values(), ids=UNSAVED)
def test_a_rate_that_is_code_is_not_saved_and_leaves_the_file_as_it_was(rate, tmp_path):
    path = tmp_path / "model"
    trainer_of().save(path)
    before = path.read_bytes()
    trainer = trainer_of(optimizer=Adam(rate))
    trainer.fit(X, LABELS, epochs=1)
    with pytest.raises(InvalidInput, match=r"cannot be saved.*use a number or one of .*Cosine"):
        trainer.save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_schedule_whose_steps_were_meant_as_epochs_is_told():
    X, y = np.random.default_rng(0).normal(size=(320, 2)), np.arange(320) % 2
    for schedule in (Cosine(0.1, 10), WarmUp(2, Cosine(0.1, 8))):
        trainer = Trainer(Network(2, [Dense(2)]), optimizer=SGD(schedule), target="numpy")
        with pytest.warns(TrainingWarning, match="last 8 of 10 epochs.*has 5, so.*steps=50"):
            trainer.fit(X, y, 10)
    for schedule in (Cosine(0.1, 50), Cosine(0.1, 30), Cosine(0.1, 10, 0.01)):
        trainer = Trainer(Network(2, [Dense(2)]), optimizer=SGD(schedule), target="numpy")
        trainer.fit(X, y, 10)


class Falling(Constant):
    """Negative after two steps."""

    def rates(self, steps):
        """Fall."""
        return self.rate - 0.05 * steps


class Unchecked(Constant):
    """Takes any rate."""

    def __post_init__(self):
        """Check nothing."""


class Broken(InverseScaling):
    """NaN after a while."""

    def rates(self, steps):
        """Break."""
        return np.where(steps < 4, 0.1, np.nan)


@pytest.mark.parametrize("schedule", [Falling(0.1), Unchecked(-0.1), Broken(0.1)])
def test_rates_of_a_derived_schedule_are_checked(schedule):
    trainer = Trainer(
        Network(2, [Dense(1)]), "mse", SGD(schedule), batch_size=4, target="numpy", seed=1
    )
    before = trainer.parameters
    with pytest.raises(InvalidInput, match=r"the learning rate that .* must be a finite number"):
        trainer.fit(np.ones((16, 2)), np.ones((16, 1)), 3)
    assert trainer.epoch == 0
    np.testing.assert_array_equal(trainer.parameters[0][0], before[0][0])
