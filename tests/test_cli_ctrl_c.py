"""Ctrl-C ends the command in one line, and with 130, at whatever moment it comes."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from ctrl_c import HEED, needs_signals

pytestmark = needs_signals

# As the installed script, whose name Python has as that of the program.
SCRIPT = """
import os, sys
sys.argv = ["fastnn", *sys.argv[1:]]
{before}
from fastnn.command import main
{after}
sys.exit(main())
"""
PRESS = "os.kill(os.getpid(), signal.SIGINT)"
# Ctrl-C comes where a module begins to be imported.
AT_IMPORT = f"""
class Finder:
    def find_spec(self, name, *rest):
        if name == {{module!r}}:
            sys.meta_path.remove(self)
            {PRESS}
sys.meta_path.insert(0, Finder())
"""


def start(*arguments, before="", after=""):
    code = HEED + SCRIPT.format(before=before, after=after)
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def ended(process):
    out, error = process.communicate(timeout=60)
    return process.returncode, out, error


@pytest.mark.parametrize(
    "module", ["fastnn.storage.old_names", "fastnn.cli", "gettext", "fastnn.cli.train", "numpy"]
)
def test_ctrl_c_while_the_command_is_imported_is_one_line(module):
    process = start("info", before=AT_IMPORT.format(module=module))
    assert ended(process) == (130, "", "fastnn: interrupted\n")


def test_ctrl_c_while_python_shuts_down_changes_nothing():
    late = f"import atexit; atexit.register(lambda: {PRESS})"
    status, out, error = ended(start("--version", after=late))
    assert (status, error) == (0, "") and out.startswith("fastnn ")


def test_ctrl_c_that_a_finalizer_would_lose_is_heeded():
    lost = f"""
from fastnn import cli
class Kept:
    def __del__(self):
        {PRESS}
def run():
    Kept()
    print("went on")
cli.main = run
"""
    assert ended(start(after=lost)) == (130, "", "fastnn: interrupted\n")


def test_ctrl_c_within_code_made_of_text_is_one_line():
    """Of which Python remembers, and ends by the signal though it has been caught."""
    text = f"""
from fastnn import cli
def run():
    try:
        exec("{PRESS}")
    except KeyboardInterrupt:
        print("fastnn: interrupted", file=sys.stderr)
        return 130
cli.main = run
"""
    assert ended(start(after=text)) == (130, "", "fastnn: interrupted\n")


def test_a_command_in_the_background_goes_on():
    ignored = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    status, out, error = ended(
        start("--version", before=ignored + AT_IMPORT.format(module="fastnn.cli"))
    )
    assert (status, error) == (0, "") and out.startswith("fastnn ")


def test_a_program_of_ones_own_keeps_its_handler():
    code = "import signal, fastnn; print(signal.getsignal(signal.SIGINT).__name__)"
    found = subprocess.run(
        [sys.executable, "-c", HEED + code], capture_output=True, text=True, check=True
    )
    assert found.stdout == "default_int_handler\n"


def test_ctrl_c_at_any_moment_is_one_line(tmp_path):
    """Once Python itself has started, of which the program says so."""
    chance = random.Random(int(os.environ.get("PYTEST_SEED", "0")))
    (tmp_path / "data.csv").write_text("a,b\n" + "1,2\n3,5\n7,1\n" * 2000)
    arguments = ["train", str(tmp_path / "data.csv"), "--label", "b", "--epochs", "100000"]
    arguments += ["--out", str(tmp_path / "m.safetensors"), "--quiet", "--target", "numpy"]
    processes = [start(*arguments, after='print("ready", flush=True)') for _ in range(6)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 0.3))
            process.send_signal(signal.SIGINT)
        for process in processes:
            status, out, error = ended(process)
            assert (status, out) == (130, "") and error.count("\n") == 1, error
            assert error.startswith("fastnn: interrupted"), error
    finally:
        for process in processes:
            process.kill()  # of those that have ended, nothing
