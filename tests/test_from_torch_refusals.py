"""What `Trainer.from_torch` refuses: by name, by place in the module, and with what to do."""

import re
from collections import OrderedDict

import pytest

from fastnn import (
    InvalidInput,
    Trainer,
)

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn


def shared():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second)


def shared_storage(of=lambda weight: weight.data, last=nn.Linear):
    first, second = nn.Linear(4, 4), last(4, 4)
    second.weight = nn.Parameter(of(first.weight))
    return nn.Sequential(first, nn.Tanh(), second)


def overlapping():
    numbers = torch.arange(40.0)
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    first.weight = nn.Parameter(numbers[:16].view(4, 4))
    second.weight = nn.Parameter(numbers[15:31].view(4, 4))
    return nn.Sequential(first, nn.Tanh(), second)


def interleaved():
    """Return parameters of which it takes exponential time to tell whether they overlap."""
    numbers, steps = torch.zeros(1_800_000), [100_000 + 97 * k * k % 4099 for k in range(32)]
    linear, shape = nn.Linear(4, 4), (2,) * 16
    linear.weight = nn.Parameter(numbers.as_strided(shape, steps[:16]))
    linear.bias = nn.Parameter(numbers.as_strided(shape, steps[16:], 50_000))
    return linear


def shared_inside():
    norm = nn.LayerNorm(5)
    norm.bias = nn.Parameter(norm.weight.data)
    return nn.Sequential(nn.Linear(4, 5), norm, nn.Linear(5, 3))


def frozen(*names, norm=nn.LayerNorm):
    module = nn.Sequential(nn.Linear(4, 5), nn.PReLU(5), norm(5), nn.PReLU(5), nn.Linear(5, 3))
    for name in names:
        module.get_parameter(name).requires_grad_(False)
    return module


def norm_of(norm, **attributes):
    for name, value in attributes.items():
        setattr(norm, name, value)
    return nn.Sequential(nn.Linear(4, 5), norm, nn.Linear(5, 3))


def shared_statistics():
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    module[2].running_mean = module[1].running_mean
    return module


def hooked():
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    module[1].register_forward_hook(lambda module, inputs, output: 2 * output)
    return module


def hooked_gradient():
    module = nn.Sequential(nn.Linear(4, 3))
    module[0].weight.register_hook(lambda gradient: 0 * gradient)
    return module


def parametrized():
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)))


def patched():
    module = nn.Sequential(nn.Linear(4, 3))
    module[0].forward = lambda x: x
    return module


def resized():
    module = nn.Sequential(nn.Linear(4, 3))
    module[0].bias = nn.Parameter(torch.zeros(1))
    return module


class Residual(nn.Module):
    """One whose forward is more than a chain."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        """Add what comes in."""
        return x + self.inner(x)


class Doubling(nn.Linear):
    """One that is no Linear any more."""

    def forward(self, x):
        """Return twice as much."""
        return 2 * super().forward(x)


class Backwards(nn.Sequential):
    """One that is no chain of its children alone."""

    def forward(self, x):
        """Change what comes in."""
        return super().forward(-x)


L = nn.Linear
REFUSED = {
    "convolution": (lambda: nn.Sequential(L(4, 3), nn.Conv1d(1, 1, 2)), "1, Conv1d.*fastnn has"),
    "nested": (lambda: nn.Sequential(nn.Sequential(L(4, 3), nn.GLU())), r"module 0\.1, GLU"),
    "named": (lambda: nn.Sequential(OrderedDict(body=L(4, 3), norm=nn.RMSNorm(3))), "module norm"),
    "softmin": (lambda: nn.Sequential(L(4, 3), nn.Softmin(1), L(3, 3)), "module 1, Softmin"),
    "own module": (lambda: nn.Sequential(L(4, 4), Residual()), "1, Residual.*children"),
    "own root": (Residual, "the module Residual.*children"),
    "own forward": (lambda: nn.Sequential(Doubling(4, 3)), "module 0, Doubling"),
    "own chain": (lambda: Backwards(L(4, 3)), "the module Backwards"),
    "patched": (patched, "module 0, Linear"),
    "empty": (lambda: nn.Sequential(), "no nn.Linear"),
    "only relu": (lambda: nn.ReLU(), "before any layer"),
    "first relu": (lambda: nn.Sequential(nn.ReLU(), L(4, 3)), "0, ReLU.*before any"),
    "two": (lambda: nn.Sequential(L(4, 5), nn.ReLU(), nn.Tanh(), L(5, 3)), "2, Tanh.*one activa"),
    "end": (lambda: nn.Sequential(L(4, 3), nn.Dropout(0.1)), "1, Dropout.*at the end"),
    "all dropped": (lambda: nn.Sequential(L(4, 5), nn.Dropout(1.0), L(5, 3)), "1, Dropout.*rate"),
    "alpha dropout": (lambda: nn.Sequential(L(4, 5), nn.AlphaDropout(), L(5, 3)), "AlphaDropout"),
    "dropout before tanh": (
        lambda: nn.Sequential(L(4, 5), nn.Dropout(0.1), nn.Tanh(), L(5, 3)),
        "2, Tanh.*put the nn.Dropout behind it",
    ),
    "widths": (lambda: nn.Sequential(L(4, 5), L(6, 3)), "1, Linear.*takes 6 inputs.*gives 5"),
    "slopes": (lambda: nn.Sequential(L(4, 5), nn.PReLU(2), L(5, 3)), "1, PReLU.*2 slopes.*5"),
    "rrelu": (lambda: nn.Sequential(L(4, 5), nn.RReLU(0.1, 0.2), L(5, 3)), "RReLU.*LeakyReLU"),
    "softmax over rows": (lambda: nn.Sequential(L(4, 5), nn.Softmax(0), L(5, 3)), "use dim=1"),
    "last softmax over rows": (lambda: nn.Sequential(L(4, 3), nn.Softmax(0)), "use dim=1"),
    "sigmoid": (lambda: nn.Sequential(L(4, 3), nn.Sigmoid()), "loss='binary_cross_entropy'"),
    "inner log": (lambda: nn.Sequential(L(4, 5), nn.LogSoftmax(1), L(5, 3)), "1, LogSoftmax"),
    "flatten": (lambda: nn.Sequential(nn.Flatten(0), L(4, 3)), r"0, Flatten.*nn.Flatten\(\)"),
    "celu": (lambda: nn.Sequential(L(4, 5), nn.CELU(0.0), L(5, 3)), "1, CELU.*must not be 0"),
    "infinite": (
        lambda: nn.Sequential(L(4, 5), nn.Hardtanh(0, float("inf")), L(5, 3)),
        "1, Hardtanh.*max_val must be a finite number",
    ),
    "half": (lambda: nn.Sequential(L(4, 3)).half(), r"0, Linear.*float16.*module.float\(\)"),
    "mixed": (lambda: nn.Sequential(L(4, 3), L(3, 3).double()), "1, Linear.*float64.*float32"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), "0, LazyLinear.*batch first"),
    "meta": (lambda: nn.Sequential(L(4, 3, device="meta")), "0, Linear.*meta"),
    "shared": (shared, "2, Linear.*shares its weight with module 0"),
    "one storage": (shared_storage, "2, Linear.*shares its weight with module 0"),
    "transposed": (
        lambda: shared_storage(lambda weight: weight.data.T),
        "2, Linear.*shares its weight with module 0",
    ),
    "one storage by detach": (
        lambda: shared_storage(lambda weight: weight.detach().view(16).view(4, 4)),
        "2, Linear.*shares its weight with module 0",
    ),
    "overlapping": (overlapping, "2, Linear.*shares its weight with module 0"),
    "interleaved": (interleaved, "may share its bias with its weight"),
    "shared inside": (shared_inside, "1, LayerNorm.*shares its bias with its weight"),
    "twice": (lambda: nn.Sequential(*[L(4, 4)] * 2), "1, Linear.*shares its weight with module 0"),
    "frozen weight": (lambda: frozen("0.weight"), r"0, Linear.*weight.*requires_grad_\(\)"),
    "frozen bias": (lambda: frozen("4.bias"), "4, Linear.*bias has requires_grad=False"),
    "frozen slopes": (lambda: frozen("1.weight"), "1, PReLU.*weight and module 0, Linear"),
    "frozen all but slopes": (lambda: frozen("0.weight", "0.bias"), "1, PReLU.*or neither"),
    "frozen slopes of a norm": (lambda: frozen("3.weight"), "3, PReLU.*module 2, LayerNorm"),
    "frozen norm": (
        lambda: frozen("2.weight", "2.bias"),
        r"2, LayerNorm.*trains every norm.*requires_grad_\(\).*of X",
    ),
    "frozen beta": (lambda: frozen("2.bias", norm=nn.BatchNorm1d), "2, BatchNorm1d.*requires_grad"),
    "last norm": (lambda: nn.Sequential(L(4, 3), nn.LayerNorm(3)), "1, LayerNorm.*ends in a Lin"),
    "last norm activated": (
        lambda: nn.Sequential(L(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.0), nn.ReLU()),
        "1, BatchNorm1d.*ends in a Linear",
    ),
    "last norm of softmax": (
        lambda: nn.Sequential(L(4, 3), nn.BatchNorm1d(3), nn.Softmax(1)),
        "1, BatchNorm1d.*ends in a Linear",
    ),
    "only norms": (lambda: nn.Sequential(nn.LayerNorm(4)), "no nn.Linear"),
    "width of norm": (lambda: norm_of(nn.BatchNorm1d(4)), "BatchNorm1d.*takes 4 inputs.*gives 5"),
    "width after norm": (
        lambda: nn.Sequential(nn.LayerNorm(5), L(4, 3)),
        "1, Linear.*takes 4 inputs.*gives 5",
    ),
    "dimensions": (
        lambda: norm_of(nn.LayerNorm((2, 5))),
        r"LayerNorm.*2 dimensions.*LayerNorm\(10",
    ),
    "not affine": (
        lambda: norm_of(nn.LayerNorm(5, elementwise_affine=False)),
        "LayerNorm.*no weight.*elementwise_affine=True",
    ),
    "no beta": (lambda: norm_of(nn.LayerNorm(5, bias=False)), "LayerNorm.*no bias.*with bias=True"),
    "batch not affine": (
        lambda: norm_of(nn.BatchNorm1d(5, affine=False)),
        "BatchNorm1d.*no weight.*with affine=True",
    ),
    "no statistics": (
        lambda: norm_of(nn.BatchNorm1d(5, track_running_stats=False)),
        "BatchNorm1d.*running statistics.*track_running_stats=True",
    ),
    "statistics not kept": (
        lambda: norm_of(nn.BatchNorm1d(5), track_running_stats=False),
        "BatchNorm1d.*running statistics",
    ),
    "statistics taken out": (
        lambda: norm_of(nn.BatchNorm1d(5), running_var=None),
        "BatchNorm1d.*running statistics",
    ),
    "cumulative": (lambda: norm_of(nn.BatchNorm1d(5, momentum=None)), "1, Batch.*momentum is None"),
    "momentum": (lambda: norm_of(nn.BatchNorm1d(5, momentum=1.5)), "1, BatchNorm1d.*momentum.*1.5"),
    "epsilon": (lambda: norm_of(nn.LayerNorm(5, eps=0.0)), "1, LayerNorm.*epsilon of LayerNorm"),
    "variance": (
        lambda: norm_of(nn.BatchNorm1d(5), running_var=torch.full((5,), -1.0)),
        "variance of BatchNorm layer 1 must be at least 0",
    ),
    "resized norm": (
        lambda: norm_of(nn.BatchNorm1d(5), running_mean=torch.zeros(1)),
        r"1, BatchNorm1d.*running_mean has shape \(1,\), not \(5,\)",
    ),
    "shared statistics": (shared_statistics, "2, BatchNorm1d.*shares its running_mean with module"),
    "half a norm": (lambda: norm_of(nn.LayerNorm(5).half()), "1, LayerNorm.*float16"),
    "mixed norm": (lambda: norm_of(nn.BatchNorm1d(5).double()), "1, Batch.*float64.*float32"),
    "images": (lambda: norm_of(nn.BatchNorm2d(5)), "1, BatchNorm2d.*fastnn has.*BatchNorm1d"),
    "groups": (lambda: norm_of(nn.GroupNorm(1, 5)), "1, GroupNorm.*fastnn has.*LayerNorm"),
    "lazy norm": (lambda: norm_of(nn.LazyBatchNorm1d()), "1, LazyBatchNorm1d.*batch first"),
    "two after a norm": (
        lambda: nn.Sequential(L(4, 5), nn.LayerNorm(5), nn.ReLU(), nn.Tanh(), L(5, 3)),
        "3, Tanh.*one activa",
    ),
    "hooked": (hooked, "1, ReLU.*hooks"),
    "hooked gradient": (hooked_gradient, "0, Linear.*weight has hooks"),
    "parametrized": (parametrized, "0, Parametrized.*remove_parametrizations"),
    "resized": (resized, r"0, Linear.*bias has shape \(1,\), not \(3,\)"),
    "state": (lambda: L(4, 3).state_dict(), "takes a module of PyTorch.*OrderedDict"),
    "class": (lambda: nn.Linear, "takes a module of PyTorch.*type"),
    "one output": (lambda: L(4, 1), "one output a class"),
}


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("case", REFUSED)
def test_what_fastnn_cannot_have_is_refused_by_name_and_place(case):
    make, message = REFUSED[case]
    with pytest.raises(InvalidInput, match=re.compile(message, re.DOTALL)):
        Trainer.from_torch(make(), target="numpy")


def test_a_number_that_is_not_finite_is_refused():
    module = nn.Linear(4, 3)
    with torch.no_grad():
        module.weight[2, 1] = float("nan")
    with pytest.raises(InvalidInput, match="W of Dense layer 0 has nan at .1, 2."):
        Trainer.from_torch(module)


def test_parameters_that_are_parts_of_one_storage_are_each_layers_own():
    numbers = torch.linspace(-1, 1, 60)
    first, second, third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2, bias=False)
    side_by_side = numbers[:32].view(4, 8)
    first.weight = nn.Parameter(side_by_side[:, :4])
    second.weight = nn.Parameter(side_by_side[:, 4:])
    first.bias, second.bias = nn.Parameter(numbers[32:40:2]), nn.Parameter(numbers[33:40:2])
    third.weight = nn.Parameter(numbers[40:48].view(2, 4))
    module = nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), third)
    rows = torch.linspace(-2, 2, 20).view(5, 4)
    trainer = Trainer.from_torch(module, loss="mse", target="numpy")
    expected = module(rows).detach().numpy()
    assert abs(trainer.forward(rows.numpy()) - expected).max() < 1e-6
