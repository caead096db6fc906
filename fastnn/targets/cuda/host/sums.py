"""The sum of a gradient over processes that train together, each on a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.errors import RankFailed
from fastnn.ranks.group import GO_ON, Group
from fastnn.targets.cuda.host.numba_cuda import cuda


class Sums:
    """Adds up what lies on the devices of all processes.

    Where MPI takes arrays on devices, they are added up there, after two numbers on the host that
    say whether all go on. Else they go to the host in every step, where MPI adds them up, and back.

    Parameters
    ----------
    group
        The processes.
    kept
        A gradient on the device, and two more numbers.
    """

    def __init__(self, group: Group, kept: Any) -> None:
        self._group, self._size, self._on_devices = group, len(kept) - 2, group.on_devices
        if self._on_devices:
            self._host = np.zeros(2)
        else:
            self._host = cuda.pinned_array(len(kept), kept.dtype)

    def suits(self, group: Group, kept: Any) -> bool:
        """Return whether it is for this group, as it adds up now, and such gradients."""
        same = self._group is group and self._on_devices == group.on_devices
        return same and self._size == len(kept) - 2

    def begin(self, kept: Any, stream: Any) -> list[Any]:
        """Be for one epoch, with a gradient that a stream computes and uses.

        Return what `Group.exchange` takes as `like`.
        """
        self._kept, self._stream, self._proven = kept, stream, False
        if not self._on_devices:
            return [np.zeros(len(kept), kept.dtype)]
        return [np.zeros(2), kept[: self._size + 1]]

    def add_up(self, bad: bool) -> int:
        """Replace the gradient by its sum; return what `Group.add_up` does.

        The stream has computed it. `bad` is whether the loss is not finite here.

        Raises
        ------
        RankFailed
            MPI does not add up on devices, whatever it says.
        """
        if self._on_devices:
            self._host[:] = bad, 0
            code = self._group.add_up(self._host)
            return self._add_up_there() if code == GO_ON else code
        self._kept.copy_to_host(self._host, stream=self._stream)
        self._stream.synchronize()
        self._host[-2] = bad
        code = self._group.add_up(self._host)
        if code == GO_ON:
            self._kept.copy_to_device(self._host, stream=self._stream)
        return code

    def _add_up_there(self) -> int:
        """Add up on the devices; in the first step with a 1 beside the gradient, as a proof."""
        kept, size, one = self._kept, self._size, np.ones(1, self._kept.dtype)
        if not self._proven:
            kept[size : size + 1].copy_to_device(one, stream=self._stream)
            self._stream.synchronize()
        code = self._group.add_up(kept[: size + 1], 1)
        if not self._proven:
            kept[size : size + 1].copy_to_host(one, stream=self._stream)
            self._stream.synchronize()
            if one[0] != self._group.size:
                raise RankFailed(
                    f"MPI says that it adds up arrays on CUDA devices, but {self._group.size} "
                    f"times 1 came to {one[0]:g}; start it without its support of CUDA, so that "
                    "gradients go through the host",
                    self._group.rank,
                )
            self._proven = True
        return code
