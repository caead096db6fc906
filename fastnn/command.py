"""The process of the command ``fastnn``: Ctrl-C ends it in one line at any moment.

This is the first that ``import fastnn`` loads, since imports are what the command begins with.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as `typing` has it, whose import would take longer than all else here
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_LINE = b"fastnn: interrupted\n"
_STATUS = 130


def _is_command() -> bool:
    """Return whether this process is ``fastnn`` or ``python -m fastnn``, still importing itself."""
    name = sys.argv[0] if getattr(sys, "argv", None) else ""
    if name == "-m":
        options = sys.orig_argv
        return options[options.index("-m") + 1 :][:1] == ["fastnn"] if "-m" in options else False
    return os.path.basename(name) in ("fastnn", "fastnn.exe", "fastnn-script.py")


def _end(*_: Any) -> None:
    """End the process: there is nothing to tidy yet, or nobody whom an exception would reach."""
    try:
        os.write(2, _LINE)
    finally:
        os._exit(_STATUS)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`, but where an import would make another error of it, or lose it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _end()
        frame = frame.f_back
    raise KeyboardInterrupt


def _heed_signals() -> None:
    import signal

    # A shell has it ignored for what runs in the background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


if _is_command():
    _heed_signals()


def main() -> int:
    """Run the command line as this process, and return its exit status, but for Ctrl-C's.

    Python itself would end with a traceback where Ctrl-C comes while it shuts down, go on where it
    comes in a callback of the garbage collector, and end by the signal where it comes within what
    was compiled from text, as data classes are.
    """
    import contextlib
    import signal

    from fastnn import cli

    ours = signal.getsignal(signal.SIGINT) is _end
    if ours:
        usual = sys.unraisablehook

        def lost(unraisable: Any) -> None:
            if issubclass(unraisable.exc_type, KeyboardInterrupt):
                _end()
            usual(unraisable)

        sys.unraisablehook = lost
    code = 0
    try:
        if ours:
            signal.signal(signal.SIGINT, _interrupt)
        code = cli.main()
    except KeyboardInterrupt:  # before or after what `cli.main` looks after
        _end()
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == _STATUS:
        with contextlib.suppress(AttributeError, OSError, ValueError):  # nobody listens
            sys.stdout.flush()
        os._exit(code)
    return code
