"""``FASTNN_CHECK=1``: every read and write of the CPU target's compiled code is checked.

Compiled code checks no index, and all buffers of a dtype lie in one array, so a stray index reads
or writes another buffer and nobody notices. With the environment variable ``FASTNN_CHECK=1``, set
before fastnn is imported,

- a call of a check is put before every load and store of fastnn's functions, vectors included,
  before LLVM optimises them (`fastnn.sanitizer.instrument`);
- the check looks the address up in a table of what may be touched: the buffers of the plan, to the
  number, and the arrays of the call (`fastnn.sanitizer.table`);
- gaps lie between buffers, so that an index that is wrong by little falls into one. They are filled
  with canaries, which are compared after each call, in case something else wrote there.

After the call the first stray access is raised as a `fastnn.errors.StrayAccess`. All this is slow
and is meant for tests. It is what AddressSanitizer does, but for memory that the engine hands out
itself.
"""

from __future__ import annotations

import os

from fastnn.errors import InvalidInput

VARIABLE = "FASTNN_CHECK"
GAP_LINES = 8  # cache lines between two buffers: more than a row of the widest panel


def enabled() -> bool:
    """Return whether compiled code is checked, or raise `InvalidInput` for another value."""
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "0", "1"):
        raise InvalidInput(f"{VARIABLE} must be 1 or 0, not {value!r}")
    return value == "1"


CHECKED = enabled()
