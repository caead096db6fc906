"""The progress bar: on a terminal only."""

from __future__ import annotations

import io
import select
import struct
import subprocess
import sys

import pytest

from fastnn import Dense, InvalidInput, Network, Trainer
from fastnn.training import progress as progress_module
from fastnn.training.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and keeps what was drawn on it."""

    def isatty(self) -> bool:
        """Return True, as a terminal does."""
        return True


def test_a_terminal_shows_epoch_batch_loss_and_speed():
    screen = Terminal()
    progress = Progress(epochs=2, steps_per_epoch=10, batch_size=64, n=600, stream=screen)
    assert progress.shown
    progress.start_epoch(0)
    progress.update(5, 0.51234)
    progress._bar.refresh()
    last = screen.getvalue().split("\r")[-1]
    for part in ("epoch 1/2", "27%", "batch 5/10", "loss 0.5123", "samples/s", "left"):
        assert part in last
    progress.end_epoch(0.25, 0.75)
    progress._bar.refresh()
    last = screen.getvalue().split("\r")[-1]
    assert "50%" in last and "loss 0.25, validation loss 0.75" in last
    progress.start_epoch(1)
    progress.update(10, 0.2)
    progress._bar.refresh()
    assert "100%" in screen.getvalue().split("\r")[-1]  # the last batch is short
    progress.end_epoch(0.125)
    progress.close()
    last = screen.getvalue().split("\r")[-1]
    assert "epoch 2/2" in last and "100%" in last and "loss 0.125" in last
    assert last.endswith("\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")
@pytest.mark.parametrize("columns", [0, 60])
def test_a_terminal_of_any_width_shows_the_epoch(monkeypatch, columns):
    import fcntl
    import pty
    import termios

    controller, terminal = pty.openpty()
    size = struct.pack("HHHH", 24 if columns else 0, columns, 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
    with open(terminal, "w") as screen, open(controller, "rb", buffering=0) as seen:
        monkeypatch.setattr(sys, "stderr", screen)
        use(Progress(1, 1, 10, 10))
        screen.flush()
        lines = all_of(seen).decode().replace("\n", "\r").split("\r")
    assert "epoch 1/1" in "".join(lines)
    assert max(map(len, lines)) <= (columns or 100)


def all_of(seen):
    """Return what has been written to a terminal: each read gives a part."""
    found = b""
    while select.select([seen], [], [], 0.2)[0]:
        found += seen.read(10_000)
    return found


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_bar_has_columns_beside_validation_data_on_any_terminal(monkeypatch, columns):
    screen = Terminal()
    monkeypatch.setattr(progress_module, "_columns", lambda stream: columns)
    progress = Progress(epochs=100, steps_per_epoch=469, batch_size=128, n=60_000, stream=screen)
    for epoch in range(10):
        progress.start_epoch(epoch)
        progress.update(469, 0.12345)
        progress.end_epoch(0.12345, 0.23456, {"validation_accuracy": 0.98765})
    progress._bar.ncols = columns
    progress._bar.dynamic_ncols = None
    progress._bar.refresh()
    last = screen.getvalue().split("\r")[-1].replace("\x1b[A", "")
    assert len(last) <= columns and "epoch 10/100" in last and "loss 0.12" in last
    assert len(last.split("|")[1]) >= 8
    progress.close()


def test_a_log_has_a_line_every_so_many_epochs_and_after_the_last():
    log = io.StringIO()
    progress = Progress(5, 1, 10, 10, log, verbose=2)
    for epoch in range(5):
        progress.start_epoch(epoch)
        progress.end_epoch(0.5, 0.25, {"auc": 0.75})
    assert [line.rpartition(",")[0] for line in log.getvalue().splitlines()] == [
        f"epoch {epoch}/5: loss 0.5, validation loss 0.25, auc 0.75" for epoch in (2, 4, 5)
    ]


def test_verbose_is_refused_where_it_has_no_lines():
    trainer = Trainer(Network(2, [Dense(2)]), target="numpy")
    for verbose, more in ((-1, {}), ("yes", {}), (True, {"restarts": 2})):
        with pytest.raises(InvalidInput, match="verbose"):
            trainer.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1], 1, verbose=verbose, **more)


def test_training_that_goes_on_counts_epochs_on():
    screen = Terminal()
    progress = Progress(3, 1, 10, 10, screen)
    for epoch in (5, 6):
        progress.start_epoch(epoch)
        progress.end_epoch(1.0)
    progress.close()
    assert "epoch 7/8" in screen.getvalue() and "67%" in screen.getvalue()


def test_tiny_epochs_are_drawn_a_few_times_a_second_only():
    screen = Terminal()
    progress = Progress(2000, 1, 10, 10, screen)
    for epoch in range(2000):
        progress.start_epoch(epoch)
        progress.update(1, 1.0)
        progress.end_epoch(1.0)
    progress.close()
    assert screen.getvalue().count("epoch") < 50


@pytest.mark.parametrize("stream", [io.StringIO(), object()])
def test_what_is_no_terminal_gets_nothing(stream):
    progress = Progress(2, 10, 64, 600, stream)
    assert not progress.shown
    use(progress)
    assert getattr(stream, "getvalue", str)() == ""


def test_a_closed_stream_gets_nothing():
    screen = Terminal()
    screen.close()
    assert not Progress(1, 1, 1, 1, screen).shown


@pytest.mark.parametrize(("stream", "shown"), [(None, False), (Terminal(), True)])
def test_the_stream_is_the_standard_error_of_the_moment(monkeypatch, stream, shown):
    monkeypatch.setattr(sys, "stderr", stream)
    progress = Progress(1, 1, 1, 1)
    assert progress.shown == shown
    use(progress)


def test_tqdm_is_not_imported_without_a_terminal():
    code = (
        "import sys; from fastnn.training.progress import Progress; p = Progress(1, 1, 1, 1);"
        "p.start_epoch(0); p.update(1, 0.5); p.end_epoch(0.5); p.close();"
        "sys.exit('tqdm' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def use(progress: Progress) -> None:
    """Call every method, closing twice."""
    progress.start_epoch(0)
    progress.update(1, 0.5)
    progress.end_epoch(0.5, None)
    progress.close()
    progress.close()


@pytest.mark.parametrize("progress", [2, "bar", None])
def test_a_bar_is_shown_or_not(progress):
    trainer = Trainer(Network(1, [Dense(1)]), loss="mse", target="numpy")
    with pytest.raises(InvalidInput, match="progress must be True or False.*verbose=5"):
        trainer.fit([[1.0], [2.0]], [1.0, 2.0], progress=progress)
    assert trainer.epoch == 0
