"""exp, log, tanh and their kin, written so that LLVM can vectorise loops over them.

Branch-free: reduce the range, sum a series, put the exponent back. NaN stays NaN, infinities give
the limits, results too small for a normal number underflow gradually. Error bounds in units in the
last place (ulp), tested against scipy.special in higher precision:

    exp 1.5, expm1 2.5, log 1.5, log1p 2.5, tanh 3.5, erf 3 (float32 and float64)
    (expm1 becomes infinite half a binary order early, from 88.37 or 709.43 on)
    normal_cdf: relative error below 12 eps (1 + z^2) (the square in exp(-z^2/2) is rounded)
    turn: cos(2 pi t) and sin(2 pi t) for any t, 2

Series: exp by Taylor after Cody & Waite's reduction x = n ln2 + r (Cody & Waite 1980, chapter 6);
log(m) = 2 artanh((m - 1)/(m + 1)) (Abramowitz & Stegun 4.1.27); the scaled error function by
Chebyshev interpolation in (x - 2)/(x + 2) (Schonfelder 1978); erf itself near 0 by Taylor; turn by
Taylor within an eighth of a turn, for whole turns, and then quarters, are left out exactly.

sin and cos are those of the C library, one number after the other: to reduce the range of a large
argument takes more than a few instructions.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import make_bits

# Fused multiply-add is welcome everywhere; nothing may be reordered, or the reductions lose bits.
FUSE: Any = {
    "fastmath": {"contract"},
    "error_model": "numpy",
    "_nrt": False,
    "forceinline": True,
}
STRICT: Any = {**FUSE, "fastmath": False}


def polynomial(coefficients: list[float], real: Any) -> Any:
    """Return a compiled Horner sum c0 + x (c1 + x (c2 + ...)).

    Written out as one expression: a loop over the coefficients would keep LLVM from vectorising the
    loop around it.
    """
    names = [f"c{i}" for i in range(len(coefficients))]
    expression = " + x * (".join(names) + ")" * (len(names) - 1)
    constants = {name: real(c) for name, c in zip(names, coefficients, strict=True)}
    return njit(**FUSE)(eval(f"lambda x: {expression}", constants))


def paired_polynomial(coefficients: list[float], real: Any) -> Any:
    """Return the same sum as f(x, x^2), by Estrin's scheme: pairs first, then pairs of pairs.

    A step of one row waits for exp; this takes half of Horner's time where nothing else is to do.
    """
    terms = [f"c{i}" for i in range(len(coefficients))]
    lines, power, number = [], "x", 0
    while len(terms) > 1:
        pairs = [
            f"{low} + {power} * {high}" for low, high in zip(terms[::2], terms[1::2], strict=False)
        ]
        names = [f"t{number + i}" for i in range(len(pairs))]
        lines += [f"    {name} = {pair}" for name, pair in zip(names, pairs, strict=True)]
        number += len(pairs)
        terms = names + terms[2 * len(pairs) :]
        if len(terms) > 1:
            lines += [f"    y{number} = {power} * {power}"] if power != "x" else []
            power = "square" if power == "x" else f"y{number}"
    source = "\n".join(["def estrin(x, square):", *lines, f"    return {terms[0]}"])
    namespace: dict[str, Any] = {f"c{i}": real(c) for i, c in enumerate(coefficients)}
    exec(source, namespace)
    return njit(**FUSE)(namespace["estrin"])


# Of the series in `_scaled_erfc`, by interpolation. Not computed here: its last bits are others on
# another machine, so that code made there would not be the same.
_ERFC_SERIES = {
    "float32": [
        -0.983215266, 0.274565486, -0.0044481255, -0.00528859964, 0.000340755202, 0.000155710252,
        -9.14275539e-06, -6.30405081e-06, -1.63707457e-08, 2.91544967e-07,
    ],
    "float64": [
        -0.9832152657411574, 0.27456548594819347, -0.004448125496066367, -0.005288599640914847,
        0.00034075519454949103, 0.00015571027840536732, -9.142554745119653e-06,
        -6.303905948411258e-06, -1.9399940259947667e-08, 2.8083960771871034e-07,
        2.9625051851662338e-08, -1.0705358876404707e-08, -3.0291956721020196e-09,
        1.448634849148217e-10, 2.0064476689735323e-10, 2.6679126691554074e-11,
        -7.58820944133813e-12, -3.2589061668158234e-12, -1.8100327159565048e-13,
        1.8522557535486624e-13, 5.5870296154798355e-14, -1.5999208667489397e-16,
        -2.7295088161633808e-15, -1.6608522942485508e-15, 1.7744156358242277e-15,
    ],
}  # fmt: skip


def _scaled_erfc(real: Any) -> Any:
    """Return f(t, u) ~ (x + 2) exp(x^2) erfc(x) for x >= 0 with t = (x - 2)/(x + 2), u = 1 + t.

    The factor x + 2 makes f go to 1/sqrt(pi) rather than to 0, so its relative error stays small.
    The series is that of g in f = 2 + u g(t), so f is exact at x = 0. Summed by Clenshaw's
    recurrence, written out: in powers of t the series would lose digits.
    """
    series = _ERFC_SERIES[np.dtype(real).name]
    degree = len(series) - 1
    lines = ["def clenshaw(t, u):", "    s = t + t", f"    b{degree + 1} = c{degree} - c{degree}"]
    lines.append(f"    b{degree} = c{degree}")
    lines += [f"    b{i} = c{i} + s * b{i + 1} - b{i + 2}" for i in range(degree - 1, 0, -1)]
    lines.append("    return two + u * (c0 + t * b1 - b2)")
    namespace: dict[str, Any] = {f"c{i}": real(c) for i, c in enumerate(series)}
    namespace["two"] = real(2)
    exec("\n".join(lines), namespace)
    return njit(**FUSE)(namespace["clenshaw"])


def exp_numbers(dtype: np.dtype) -> SimpleNamespace:
    """Return what exp is made of: exp(x) = 2^n (1 + r + r^2 tail(r)), x = n ln2 + r.

    Attributes
    ----------
    mantissa, bias
        Of the dtype: bits, and that of its exponents.
    magic
        A number, in the sum with which the last bit is 1: n stands in the low bits of the sum.
    per_ln2, ln2_high, ln2_low
        1 / ln2; ln2 in two parts, the first with enough trailing zeros for n ln2_high to be exact.
    tail
        Coefficients, the constant one first, for |r| <= ln2 / 2.
    low, high
        Beyond which exp is 0, or infinite.
    """
    real, single = dtype.type, dtype.itemsize == 4
    mantissa, bias = (23, 127) if single else (52, 1023)
    high = real(0.693359375) if single else real(float.fromhex("0x1.62e42fefa38p-1"))
    low = real(-2.12194440054690581e-04) if single else real(float.fromhex("0x1.ef35793c7673p-45"))
    return SimpleNamespace(
        mantissa=mantissa,
        bias=bias,
        magic=real(1.5 * 2.0**mantissa),
        per_ln2=real(1 / math.log(2)),
        ln2_high=high,
        ln2_low=low,
        tail=[1 / math.factorial(i) for i in range(2, 8 if single else 14)],
        low=real(-104) if single else real(-746),
        high=real(89) if single else real(710),
    )


def make_elementary(dtype: np.dtype) -> SimpleNamespace:
    """Return the elementary functions for float32 or float64 as compiled scalar functions."""
    real, single = dtype.type, dtype.itemsize == 4
    whole = np.int32 if single else np.int64
    to_bits, from_bits = make_bits(dtype.name)
    of_exp = exp_numbers(dtype)
    mantissa, bias, magic, per_ln2 = of_exp.mantissa, of_exp.bias, of_exp.magic, of_exp.per_ln2
    ln2_high, ln2_low, low, high = of_exp.ln2_high, of_exp.ln2_low, of_exp.low, of_exp.high
    one, two, half, zero = real(1), real(2), real(0.5), real(0)
    shift, exponent_bias = whole(mantissa), whole(bias)
    magic_bits = whole(magic.view(whole))
    tail = paired_polynomial(of_exp.tail, real)
    # log(1 + f) = 2 artanh(s) = f - s (f - s^2 artanh_tail(s^2)), s = f / (2 + f)
    artanh_tail = polynomial([2 / (2 * i + 3) for i in range(5 if single else 11)], real)
    root_half_bits = whole(real(math.sqrt(0.5)).view(whole))
    tiny = np.finfo(dtype).tiny
    lift, lifted = real(2.0 ** (mantissa + 2)), real(mantissa + 2)
    tanh_limit = real(10) if single else real(20)
    scaled_erfc = _scaled_erfc(real)
    root_half = real(math.sqrt(0.5))
    # erf(x) = x erf_near(x^2), |x| <= 1
    erf_near = polynomial(
        [
            (-1) ** i * 2 / math.sqrt(math.pi) / (math.factorial(i) * (2 * i + 1))
            for i in range(11 if single else 19)
        ],
        real,
    )

    # sin(pi/2 x) = x sine_near(x^2) and cos(pi/2 x) = cosine_near(x^2), |x| <= 1/2
    sine_near, cosine_near = (
        polynomial(
            [
                (-1) ** i * (math.pi / 2) ** n / math.factorial(n)
                for i, n in enumerate(range(odd, last, 2))
            ],
            real,
        )
        for odd, last in ((1, 10 if single else 18), (0, 11 if single else 17))
    )

    @njit(**FUSE)
    def reduce(x):
        x = low if x < low else x
        x = high if x > high else x
        shifted = x * per_ln2 + magic
        n = shifted - magic
        r = (x - n * ln2_high) - n * ln2_low
        return to_bits(shifted) - magic_bits, r

    @njit(**STRICT)
    def power_of_two(n):
        return from_bits((n + exponent_bias) << shift)

    @njit(**FUSE)
    def exp(x):
        n, r = reduce(x)
        # In two factors, since 2^n itself may be out of range where the result is not.
        first = n >> whole(1)
        scale, square = power_of_two(first), r * r
        return (scale + scale * (r + square * tail(r, square))) * power_of_two(n - first)

    @njit(**FUSE)
    def expm1(x):
        n, r = reduce(x)
        n = whole(-bias + 1) if n < whole(-bias + 1) else n
        first = n >> whole(1)
        square = r * r
        p = r + square * tail(r, square)
        left, right = power_of_two(first), power_of_two(n - first)
        return p * left * right + (left * right - one)

    @njit(**FUSE)
    def log(x):
        small = x < tiny
        scaled = x * lift if small else x
        bits = to_bits(scaled)
        n = (bits - root_half_bits) >> shift
        f = from_bits(bits - (n << shift)) - one
        s = f / (two + f)
        e = real(n) - (lifted if small else zero)
        square = s * s
        y = e * ln2_high + (f - (s * (f - square * artanh_tail(square)) - e * ln2_low))
        y = y if x < real(np.inf) else x  # infinity and NaN
        y = y if x > zero else (-real(np.inf) if x == zero else x - x + real(np.nan))
        return y

    @njit(**STRICT)
    def log1p(x):
        # log(u) + (x - (u - 1)) / u gives back what rounding u = 1 + x has lost.
        u = one + x
        y = log(u) + (x - (u - one)) / u
        y = y if u != zero else -real(np.inf)
        return y if u < real(np.inf) else u

    @njit(**FUSE)
    def tanh(x):
        size = abs(x)
        size = tanh_limit if size > tanh_limit else size
        e = expm1(size + size)
        y = e / (e + two)
        return -y if x < zero else y

    @njit(**FUSE)
    def normal_cdf(z):
        share = one / (abs(z) * root_half + two)
        t, u = one - real(4) * share, two - real(4) * share
        upper = half * exp(-half * z * z) * scaled_erfc(t, u) * share
        return upper if z < zero else one - upper

    @njit(**FUSE)
    def erf(x):
        size = abs(x)
        near = one if size > one else size  # where it is not used, it must not overflow
        share = one / (size + two)
        t, u = one - real(4) * share, two - real(4) * share
        far = one - exp(-size * size) * scaled_erfc(t, u) * share
        y = far if size > one else near * erf_near(near * near)
        return -y if x < zero else y

    @njit(**FUSE)
    def turn(t):
        r = t - np.rint(t)
        quarters = real(4) * r
        quarter = np.rint(quarters)
        x = quarters - quarter
        square, size = x * x, abs(quarter)
        sine, cosine = x * sine_near(square), cosine_near(square)
        odd, sign = size == one, one - size  # of an even number of quarters
        return (
            -quarter * sine if odd else sign * cosine,
            quarter * cosine if odd else sign * sine,
        )

    @njit(**STRICT)
    def sqrt(x):
        return real(math.sqrt(x))

    @njit(**STRICT)
    def sin(x):
        return real(np.sin(x))

    @njit(**STRICT)
    def cos(x):
        return real(np.cos(x))

    return SimpleNamespace(
        exp=exp,
        expm1=expm1,
        log=log,
        log1p=log1p,
        tanh=tanh,
        normal_cdf=normal_cdf,
        erf=erf,
        sqrt=sqrt,
        turn=turn,
        sin=sin,
        cos=cos,
    )
