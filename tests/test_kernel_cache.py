"""What is said while kernels compile."""

import time

import pytest

from fastnn import kernel_cache
from fastnn.kernel_cache import FOLDER, CompileNotice


@pytest.mark.parametrize(
    ("kept", "begun", "done"),
    [
        (True, "for this machine, once", f"kept in {FOLDER}"),
        (False, "in each process", "kept until this process ends"),
    ],
)
def test_a_long_compilation_says_how_often_it_comes(kept, begun, done, monkeypatch, capsys):
    monkeypatch.setattr(kernel_cache, "PATIENCE_SECONDS", 0.01)
    with CompileNotice("some kernels", kept):
        time.sleep(0.2)
    said = capsys.readouterr().err.splitlines()
    assert "compiling some kernels" in said[0] and begun in said[0]
    assert said[1].endswith(done)


def test_a_short_one_says_nothing(capsys):
    with CompileNotice("some kernels"):
        pass
    assert capsys.readouterr().err == ""
