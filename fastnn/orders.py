"""The order of the rows in each epoch, made one epoch ahead."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np

# Fewer rows are shuffled in less time than another thread takes to be asked.
AHEAD_ROWS = 4096


def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """Return the shuffled rows 0..n-1 of epoch `epoch`, int64 (n,), from PCG64([seed, epoch])."""
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    return generator.permutation(n).astype(np.int64, copy=False)


class Orders:
    """Orders for one call of `fit`; a helper thread makes the next one while an epoch trains.

    Parameters
    ----------
    seed, n
        As for `epoch_order`.
    shuffle
        False: every epoch goes through the rows as they come.
    ahead
        False: no helper thread, for where every processor is at work already.
    """

    def __init__(self, seed: int, n: int, shuffle: bool, ahead: bool = True) -> None:
        self._seed, self._n, self._may_be_ahead = seed, n, ahead and n >= AHEAD_ROWS
        self._unshuffled = None if shuffle else np.arange(n, dtype=np.int64)
        self._helper: ThreadPoolExecutor | None = None
        self._ahead: tuple[int, Future[np.ndarray]] | None = None

    def take(self, epoch: int, more: bool) -> np.ndarray:
        """Return the order of `epoch`, and begin that of the epoch after it if `more` is true."""
        if self._unshuffled is not None:
            return self._unshuffled
        ahead, self._ahead = self._ahead, None
        # A callback may itself have trained, so this may not be the epoch made ahead.
        if ahead is not None and ahead[0] == epoch:
            order = ahead[1].result()
        else:
            order = epoch_order(self._seed, epoch, self._n)
        if more and self._may_be_ahead:
            if self._helper is None:
                self._helper = ThreadPoolExecutor(1, "fastnn-order")
            self._ahead = (
                epoch + 1,
                self._helper.submit(epoch_order, self._seed, epoch + 1, self._n),
            )
        return order

    def __enter__(self) -> Orders:
        """Return the orders themselves."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the helper thread go, without waiting for an order that nobody needs any more."""
        if self._helper is not None:
            self._helper.shutdown(wait=False, cancel_futures=True)
