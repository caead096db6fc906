"""What is said while kernels compile, and what becomes of code that nobody reads any more."""

import os
import time

from fastnn.storage.kernels import kernel_cache
from fastnn.storage.kernels.kernel_cache import CompileNotice, folder, forget_old


def test_a_long_compilation_says_how_long_it_took(monkeypatch, caplog):
    monkeypatch.setattr(kernel_cache, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(kernel_cache, "_told", False)
    with CompileNotice("some kernels"):
        time.sleep(0.2)
    with CompileNotice("more kernels"):  # of which a log of warnings has nothing
        time.sleep(0.05)
    assert len(caplog.records) == 2
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "fastnn: compiling some kernels for this device: half a minute or more ..."
    assert said[1].startswith("fastnn: compiled in 0 s") and said[1].endswith(f"in {folder()}")


def test_what_could_not_be_kept_is_not_said_to_be(monkeypatch, caplog):
    monkeypatch.setattr(kernel_cache, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(kernel_cache, "full", set())
    monkeypatch.setattr(kernel_cache, "_told", False)
    with CompileNotice("some kernels"):
        time.sleep(0.1)
        kernel_cache.full.add(folder())  # the disk, as it turns out at the end
    assert caplog.records[1].getMessage() == "fastnn: compiled in 0 s"


def test_a_short_one_says_nothing(caplog, capsys):
    with CompileNotice("some kernels"):
        pass
    assert not caplog.records and capsys.readouterr().err == ""


def test_code_of_other_sources_is_deleted_when_it_was_not_read_for_long(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTNN_CACHE_DIR", str(tmp_path))
    folder.cache_clear()
    try:
        old, new = "kernels-" + "0" * 16, "kernels-" + "1" * 16
        days = {old: 90, f"{old}-checked": 90, new: 9, folder().name: 90, "data": 90}
        days |= {"kernels-mine": 90, "kernels-" + "2" * 16: 90}  # in which is something else
        for name, age in days.items():
            (tmp_path / name).mkdir(exist_ok=True)
            file = tmp_path / name / ("a.csv" if "2" in name else "shuffle-0.code")
            file.touch()
            for path in (file, tmp_path / name):
                os.utime(path, (time.time() - 86400 * age,) * 2)
        forget_old()
        left = {path.name for path in tmp_path.iterdir()}
        assert left == days.keys() - {old, f"{old}-checked"}
    finally:
        folder.cache_clear()
