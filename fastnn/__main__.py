"""``python -m fastnn``: the same as the command ``fastnn``."""

import sys

from fastnn.command import main

if __name__ == "__main__":
    sys.exit(main())
