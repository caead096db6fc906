"""Ctrl-C in a process of its own, for the tests of what it leaves behind."""

import signal
import subprocess
import sys
import threading
import time

import pytest

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

# A shell may have it ignored.
HEED = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"


def interrupted(code: str, env: dict[str, str] | None = None) -> str:
    """Return what `code` prints after Ctrl-C has come, and check that it ends a long epoch soon.

    The code prints "ready" before the epoch, and "stopped" where it catches KeyboardInterrupt.
    """
    command = [sys.executable, "-c", HEED + code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        watch = threading.Timer(120, process.kill)  # a compilation fits in, a hang does not stay
        watch.start()
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            start = time.monotonic()
            assert process.stdout.readline() == "stopped\n"
            assert time.monotonic() - start < 2.0
            rest = process.stdout.read()
            assert process.wait() == 0
            return rest
        finally:
            watch.cancel()
            process.kill()
