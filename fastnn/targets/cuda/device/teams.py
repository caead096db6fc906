"""What the threads of a block do together: sums, the largest of their numbers, copies.

Every thread calls each function, with its number `me` and their count `team`.
"""

from __future__ import annotations

from fastnn.targets.cuda.host.numba_cuda import U, cuda, inner


@inner
def add_up(sums, own, count, me):
    """Return the sum of the numbers of the first `count` threads, always in one order.

    `sums`, float64, has a place for each thread of the block; whoever used it before has come to a
    barrier since.
    """
    sums[U(me)] = own
    cuda.syncthreads()
    # Four sums at a time: each addition waits for the one before it.
    s0 = s1 = s2 = s3 = 0.0
    i, whole = 0, count - count % 4
    while i < whole:
        s0 += sums[U(i)]
        s1 += sums[U(i + 1)]
        s2 += sums[U(i + 2)]
        s3 += sums[U(i + 3)]
        i += 4
    while i < count:
        s0 += sums[U(i)]
        i += 1
    return (s0 + s1) + (s2 + s3)


@inner
def largest_of(sums, own, me, team):
    """Return the largest number of all threads; `sums` as for `add_up`."""
    sums[U(me)] = own
    cuda.syncthreads()
    found = own
    for i in range(team):
        found = max(found, sums[U(i)])
    return found


@inner
def copy(target, to, source, at, count, me, team):
    """Copy `count` numbers; whoever reads them waits for the threads first."""
    e = me
    while e < count:
        target[U(to + e)] = source[U(at + e)]
        e += team


@inner
def fill(target, count, value, me, team):
    """Write one number to the first `count` places; readers wait, as for `copy`."""
    e = me
    while e < count:
        target[U(e)] = value
        e += team
