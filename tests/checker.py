"""Which tests have nothing to look at while FASTNN_CHECK=1 looks at every load and store."""

import pytest

from fastnn.sanitizer import CHECKED

unchecked = pytest.mark.skipif(
    CHECKED,
    reason="checked code is other code: it is kept elsewhere, takes more memory, is never shipped",
)
