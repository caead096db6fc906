"""The micro-kernels in plain Python, for runs with Numba switched off; see `products.kernels`."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from fastnn.storage.kernels.machine import vector_bytes


def caller_row(dtype: np.dtype, address: int, count: int) -> np.ndarray:
    """Return a view of `count` numbers at an address."""
    raw = (ctypes.c_byte * (int(count) * dtype.itemsize)).from_address(int(address))
    return np.frombuffer(memoryview(raw), dtype)


def _widths(vectors: int, lanes: int) -> list[int]:
    """Return the widths of the panels that a tile goes over: the last of three is a narrow one."""
    return [min(vectors, 2) * lanes, lanes][: 1 + (vectors > 2)]


def multiply(rows: int, vectors: int, lanes: int) -> Any:
    """Return the product with an A in panels."""
    inside = _product(rows, vectors, lanes)

    def kernel(
        memory, a, chunks, inner, chunk_stride, row_stride, ahead, step, b, init, init_stride, c,
        b_odd, init_odd, c_odd,
    ):  # fmt: skip
        places = [
            [a + r * row_stride + chunk * chunk_stride + k for chunk in range(chunks)
             for k in range(inner)]
            for r in range(rows)
        ]  # fmt: skip
        A = [memory[np.array(row, np.int64)] for row in places]
        columns = range(chunks * inner)
        inside(A, columns, memory, init_stride, (b, init, c), (b_odd, init_odd, c_odd))

    return kernel


def _product(rows: int, vectors: int, lanes: int) -> Any:
    """Return ``product(A, columns, memory, init_stride, *panels)``: columns are rows of B."""
    widths = _widths(vectors, lanes)

    def product(A, columns, memory, init_stride, *panels):
        for width, (b, init, c) in zip(widths, panels, strict=False):
            for r in range(rows):
                start = init + r * width if init_stride else init
                total = memory[start:][:width].copy()
                for scalar, column in zip(A[r], columns, strict=True):
                    total += scalar * memory[b + column * width :][:width]
                memory[c + r * width :][:width] = total

    return product


def multiply_rows(dtype: np.dtype, rows: int, vectors: int, lanes: int) -> Any:
    """Return the product with rows of the caller's array that follow one another."""
    inside = _product(rows, vectors, lanes)

    def kernel(
        address, stride, inner, ahead, step, memory, b, init, init_stride, c, b_odd, init_odd, c_odd
    ):
        starts = [address + r * stride * dtype.itemsize for r in range(rows)]
        A = [caller_row(dtype, start, inner) for start in starts]
        inside(A, range(inner), memory, init_stride, (b, init, c), (b_odd, init_odd, c_odd))

    return kernel


def multiply_scattered(dtype: np.dtype, rows: int, vectors: int, lanes: int) -> Any:
    """Return the product with rows of the caller's array."""
    inside = _product(rows, vectors, lanes)

    def kernel(
        order, first, ahead, asked, ask_end, address, row_stride, nonzero, nonzero_at, count,
        memory, b, init, init_stride, c, b_odd, init_odd, c_odd,
    ):  # fmt: skip
        columns = nonzero[nonzero_at : nonzero_at + count]
        starts = address + order[first : first + rows] * row_stride
        last = columns.max(initial=-1) + 1
        A = [caller_row(dtype, start, last)[columns] for start in starts]
        inside(A, columns, memory, init_stride, (b, init, c), (b_odd, init_odd, c_odd))

    return kernel


def accumulate(rows: int, vectors: int, lanes: int) -> Any:
    """Return the transposed product with an A in panels."""
    inside = _sums(vectors, lanes)

    def kernel(memory, a, a_stride, apart, b, samples, c, b_odd, c_odd, alpha, beta):
        for r in range(rows):
            x = memory[a + r :: a_stride][:samples] if a_stride else [memory[a + r]] * samples
            inside(x, r, memory, alpha, beta, (b, c), (b_odd, c_odd))

    return kernel


def _sums(vectors: int, lanes: int) -> Any:
    """Return ``sums(x, row, memory, alpha, beta, *panels)``: that row of C from samples x."""
    widths = _widths(vectors, lanes)

    def sums(x, row, memory, alpha, beta, *panels):
        for width, (b, c) in zip(widths, panels, strict=False):
            total = np.zeros(width, memory.dtype)
            for s, each in enumerate(x):
                total += each * memory[b + s * width :][:width]
            target = memory[c + row * width :][:width]
            target[:] = beta * target + alpha * total

    return sums


def accumulate_scattered(dtype: np.dtype, rows: int, vectors: int, lanes: int) -> Any:
    """Return the transposed product with rows of the caller's array."""
    inside = _sums(vectors, lanes)

    def kernel(
        addresses, first, nonzero, nonzero_at, memory, b, samples, c, b_odd, c_odd, alpha, beta
    ):
        starts = addresses[first : first + samples]
        for column in nonzero[nonzero_at : nonzero_at + rows]:
            x = [caller_row(dtype, start, column + 1)[-1] for start in starts]
            inside(x, column, memory, alpha, beta, (b, c), (b_odd, c_odd))

    return kernel


def dot(dtype: np.dtype) -> Any:
    """Return w . x for one of the caller's rows."""

    def kernel(w, w_at, address, count):
        return dtype.type(w[w_at : w_at + count] @ caller_row(dtype, address, count))

    return kernel


def squares() -> Any:
    """Return the sum of squares, in float64, of `unit` times each number."""

    def kernel(memory, at, count, unit):
        x = unit * memory[at : at + count].astype(np.float64)
        return x @ x

    return kernel


def rows_product(dtype: np.dtype) -> Any:
    """Return the product of two rows."""

    def kernel(first, second, count):
        return dtype.type(caller_row(dtype, first, count) @ caller_row(dtype, second, count))

    return kernel


def axpy(dtype: np.dtype) -> Any:
    """Return w += scale x for one of the caller's rows."""

    def kernel(w, w_at, address, count, scale):
        w[w_at : w_at + count] += scale * caller_row(dtype, address, count)

    return kernel


def advance(dtype: np.dtype) -> Any:
    """Return an update with one row together with products of the next."""

    def kernel(w, w_at, before, here, after, count, keep, scale):
        x, y, z = (caller_row(dtype, address, count) for address in (before, here, after))
        part = w[w_at : w_at + count]
        part[:] = keep * part + scale * x
        return dtype.type(part @ z), dtype.type(y @ z)

    return kernel


def follow(dtype: np.dtype, shrinks: bool, averages: bool) -> Any:
    """Return an update with one row together with the product of the result with another."""

    def kernel(w, w_at, mean_at, here, after, count, keep, scale, threshold, share):
        x, z = (caller_row(dtype, address, count) for address in (here, after))
        part, mean = w[w_at : w_at + count], w[mean_at : mean_at + count]
        part[:] = keep * part + scale * x
        if shrinks:
            part -= np.clip(part, -threshold, threshold)
        if averages:
            mean[:] = part if share == 1 else mean + share * (part - mean)
        return dtype.type(part @ z)

    return kernel


def follow_outputs(dtype: np.dtype, shrinks: bool, averages: bool) -> Any:
    """Return an update of several outputs in lanes, and the product with another row."""
    lanes = vector_bytes() // dtype.itemsize

    def kernel(memory, w, mean, block, apart, here, after, count, trained, keep, threshold, share):
        x, following = (caller_row(dtype, address, count) for address in (here, after))
        change, moves, z, biases, means = (
            memory[block + field * apart :][:lanes] for field in range(5)
        )
        change, keep, threshold, share = (
            np.where(moves != 0, each, still)
            for each, still in ((change, 0), (keep, 1), (threshold, 0), (share, 0))
        )
        part, average = (memory[at : at + count * lanes].reshape(-1, lanes) for at in (w, mean))
        part[:] = keep * part + change * x[:, None]
        if shrinks:
            part -= np.clip(part, -threshold, threshold)
        biases += trained * change
        if averages:
            average[:] = np.where(share == 1, part, average + share * (part - average))
            means[:] = np.where(share == 1, biases, means + share * (biases - means))
        z[:] = following @ part + biases

    return kernel


def advance_outputs(dtype: np.dtype) -> Any:
    """Return the last update of outputs in lanes, and products with the next row."""
    lanes = vector_bytes() // dtype.itemsize

    def kernel(memory, w, block, apart, before, after, count):
        x, z = (caller_row(dtype, address, count) for address in (before, after))
        change, keep, ahead = (memory[block + field * apart :][:lanes] for field in (5, 6, 7))
        part = memory[w : w + count * lanes].reshape(-1, lanes)
        part[:] = keep * part + change * x[:, None]
        ahead[:] = z @ part

    return kernel


def arrive_outputs(dtype: np.dtype) -> Any:
    """Return z of the next row, of outputs in lanes, and the update that is now the last."""
    lanes = vector_bytes() // dtype.itemsize

    def kernel(memory, block, apart, vectors, trained, keep, rows):
        change, moves, z, biases, _, last_change, last_keep, ahead = (
            memory[block + field * apart :][: vectors * lanes] for field in range(8)
        )
        last_change[:], last_keep[:] = (
            np.where(moves != 0, change, 0),
            np.where(moves != 0, keep, 1),
        )
        biases += trained * last_change
        moved = np.where(last_change != 0, last_change * rows, 0)
        z[:] = moved + last_keep * ahead + biases

    return kernel


def softmax_lanes(dtype: np.dtype) -> Any:
    """Return the derivative of a cross-entropy, of outputs in lanes."""
    lanes = vector_bytes() // dtype.itemsize

    def kernel(memory, block, apart, vectors, label, factor):
        change, z = (memory[block + field * apart :][: vectors * lanes] for field in (0, 2))
        most = z.max()
        powers = np.exp(z - most)
        change[:] = powers * (factor / powers.sum())
        change[label] -= factor
        return most, powers.sum()

    return kernel


def reduce(operation: str, rows: int) -> Any:
    """Return the largest number, or the sum, of several rows."""

    def kernel(memory, at, panel_stride, r, n, padding_at, out_at):
        panel = _panel(memory.dtype)
        for i in range(rows):
            parts = []
            for p in range((n + panel - 1) // panel):
                count = min(panel, n - p * panel)
                width = panel // 2 if count <= panel // 2 else panel
                parts.append(memory[at + p * panel_stride + (r + i) * width :][:count])
            row = np.concatenate(parts)
            memory[out_at + i] = row.max() if operation == "max" else row.sum()

    return kernel


def _panel(dtype: np.dtype) -> int:
    return 2 * vector_bytes() // dtype.itemsize


def scale(lanes: int) -> Any:
    """Return the product of one vector and a number."""

    def kernel(memory, at, window, factor):
        memory[at : at + lanes] *= factor * (memory[window : window + lanes] == 0)

    return kernel


def shift(lanes: int) -> Any:
    """Return the difference of one vector and a number."""

    def kernel(memory, to, at, window, amount):
        real = memory[window : window + lanes] == 0
        memory[to : to + lanes] = np.where(real, memory[at : at + lanes] - amount, 0)

    return kernel


def narrow_forward(dtype: np.dtype, rows: int, outputs: int) -> Any:
    """Return C += X W^T for a few rows and outputs."""

    def kernel(
        order, first, ahead, mask, address, stride, count, w, w_at, w_stride, c_at, c_stride
    ):
        for r in range(rows):
            x = caller_row(dtype, address + order[first + r] * stride, count)
            for j in range(outputs):
                w[c_at + r * c_stride + j] += x @ w[w_at + j * w_stride :][:count]

    return kernel


def narrow_gradient(dtype: np.dtype, outputs: int) -> Any:
    """Return W = beta W + alpha D^T X for a few outputs."""

    def kernel(
        addresses, at, asked, samples, count, d, d_at, d_stride, w_at, w_stride, alpha, beta
    ):
        x = np.stack([caller_row(dtype, each, count) for each in addresses[at : at + samples]])
        for j in range(outputs):
            row = d[w_at + j * w_stride :][:count]
            row[:] = beta * row + alpha * (d[d_at + j :: d_stride][:samples] @ x)

    return kernel


def spread() -> Any:
    """Return the numbers of a column times factors, plus shifts."""

    def kernel(memory, x, apart, c, b, to, width, count, rows):
        for r in range(rows):
            turns = memory[x + r * apart] * memory[c : c + count] + memory[b : b + count]
            memory[to + r * width :][:count] = turns

    return kernel


def copy_columns() -> Any:
    """Return the copy of some columns of many rows."""

    def kernel(memory, at, stride, target, to, width, count, rows):
        for r in range(rows):
            target[to + r * width :][:count] = memory[at + r * stride :][:count]

    return kernel


def transpose(lanes: int) -> Any:
    """Return the transpose of a block."""

    def kernel(memory, at, stride, height, to, to_stride, width):
        block = np.zeros((lanes, lanes), memory.dtype)
        for i in range(height):
            block[i] = memory[at + i * stride :][:lanes]
        for j in range(width):
            memory[to + j * to_stride :][:lanes] = block[:, j]

    return kernel


def look_tile(dtype: np.dtype, lanes: int, slack: int) -> Any:
    """Return the list of the columns that rows use."""
    write = list_bits(lanes, slack)

    def kernel(order, first, address, stride, samples, k, nonzero, list_, bits):
        rows = [caller_row(dtype, address + row * stride, k) for row in order[first:][:samples]]
        found = np.any([row != 0 for row in rows], axis=0)
        own = np.zeros(bits + 2 * k, np.int64)
        for v in range(-(-k // lanes)):
            start = min(v * lanes, k - lanes)
            own[bits + v] = sum(1 << i for i in range(lanes) if found[start + i])
            nonzero[bits + v] |= own[bits + v]
        inside = np.concatenate([own, nonzero[list_:]])
        count = write(inside, bits, k, len(own))
        nonzero[list_:] = inside[len(own) :]
        return count

    return kernel


def list_bits(lanes: int, slack: int) -> Any:
    """Return the list of the columns whose bits are set."""

    def kernel(nonzero, bits, k, list_):
        table, count = list_ + k + slack, 0
        for c in range(k):
            if c % (2 * lanes) == 0:
                nonzero[table + c // (2 * lanes)] = count
            start = min(c // lanes * lanes, k - lanes)
            nonzero[list_ + count] = c
            count += int(nonzero[bits + c // lanes]) >> (c - start) & 1
        nonzero[table + -(-k // (2 * lanes))] = count
        return count

    return kernel


def gather(dtype: np.dtype, vectors: int) -> Any:
    """Return the sum of rows of a panel that lie anywhere in it."""
    width = vectors * vector_bytes() // dtype.itemsize

    def kernel(memory, out, w, columns, at, x, count):
        for e in range(count):
            row = memory[w + columns[at + e] * width :][:width]
            memory[out : out + width] += memory[x + e] * row

    return kernel


def scatter(dtype: np.dtype, vectors: int) -> Any:
    """Return the addition of one row to rows of a panel that lie anywhere in it."""
    width = vectors * vector_bytes() // dtype.itemsize

    def kernel(memory, d, w, columns, at, x, count, alpha):
        row = alpha * memory[d : d + width]
        for e in range(count):
            memory[w + columns[at + e] * width :][:width] += row * memory[x + e]

    return kernel
