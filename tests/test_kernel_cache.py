"""What is said while kernels compile."""

import time

from fastnn import kernel_cache
from fastnn.kernel_cache import FOLDER, CompileNotice


def test_a_long_compilation_says_how_often_it_comes(monkeypatch, capsys):
    monkeypatch.setattr(kernel_cache, "PATIENCE_SECONDS", 0.01)
    with CompileNotice("some kernels"):
        time.sleep(0.2)
    said = capsys.readouterr().err.splitlines()
    assert "compiling some kernels for this machine, once" in said[0]
    assert said[1].endswith(f"kept in {FOLDER}")


def test_a_short_one_says_nothing(capsys):
    with CompileNotice("some kernels"):
        pass
    assert capsys.readouterr().err == ""
