"""What a device can do at best, measured: copies, products of matrices, barriers of a grid."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from gpu_workloads import Row, step_operations

BARRIERS = 2_000
SIZE = {"cuda": 8192, "cpu": 512}
COPIED = {"cuda": 1 << 30, "cpu": 1 << 24}  # bytes


def seconds_of(call: Callable[[], object], wait: Callable[[], None], seconds: float = 0.5) -> float:
    """Return the seconds of a call that is queued: of many in a row, in the best of three turns."""
    call()
    wait()
    repeats, best = 1, float("inf")
    while repeats < 1 << 20:
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        wait()
        found = time.perf_counter() - start
        if found > seconds / 6:
            break
        repeats *= 2
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        wait()
        best = min(best, time.perf_counter() - start)
    return best / repeats


def limits(device: str) -> Iterator[tuple[str, Callable[[], float]]]:
    """Yield the name of each limit, and what measures it."""
    yield "copy, bytes/s", lambda: copy_rate(device)
    for precision in ("float32", "tf32", "bfloat16"):
        yield f"GEMM {precision}, FLOP/s", lambda precision=precision: gemm_rate(device, precision)
    if device == "cuda":
        yield "grid barrier, s", barrier_seconds


def copy_rate(device: str) -> float:
    """Return bytes read and written in a second by a copy on the device."""
    import torch
    from contenders.torch_gpu_ import wait

    source = torch.zeros(COPIED[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = seconds_of(lambda: target.copy_(source), lambda: wait(device))
    return 2 * source.numel() / seconds


def gemm_rate(device: str, precision: str) -> float:
    """Return the floating-point operations in a second of torch.matmul of large square matrices."""
    import torch
    from contenders.torch_gpu_ import choose_precision, wait

    choose_precision(precision)
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    size = SIZE[device]
    first, second = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    result = torch.empty_like(first)

    def call() -> None:
        torch.matmul(first, second, out=result)

    return 2 * size**3 / seconds_of(call, lambda: wait(device))


def barrier_seconds(threads: int = 256) -> float:
    """Return the seconds of a barrier of one block on each multiprocessor, by cooperative groups.

    That of many less that of half as many, so that the launch cancels.
    """
    import numpy as np

    from fastnn.targets.cuda.host import availability
    from fastnn.targets.cuda.host.numba_cuda import cuda, kernel

    def wait_often(count: int) -> None:
        grid = cuda.cg.this_grid()
        for _ in range(count):
            grid.sync()

    blocks = availability.devices()[0].multiprocessors
    launch = kernel(wait_often)[blocks, threads]

    def seconds(count: int) -> float:
        return seconds_of(lambda: launch(np.int32(count)), cuda.synchronize, 0.2)

    return (seconds(BARRIERS) - seconds(BARRIERS // 2)) / (BARRIERS - BARRIERS // 2)


def floor_seconds(row: Row, found: dict[str, float], multiprocessors: int) -> float | None:
    """Return the least seconds of a step that the limits allow, or None where they are unknown.

    A: two barriers, or the arithmetic if that is more. B: the arithmetic on one multiprocessor, of
    many models on all. C: the arithmetic.
    """
    rate = found.get(f"GEMM {row.precision}, FLOP/s")
    if rate is None or row.part not in "ABC":
        return None
    arithmetic = step_operations(row.workload) / rate
    if row.part == "A":
        barrier = found.get("grid barrier, s")
        return None if barrier is None else max(2 * barrier, arithmetic)
    return arithmetic * multiprocessors if row.part == "B" and row.models == 1 else arithmetic
