"""Code of the entries: what it is made for, where it comes from, what is in it and what is not."""

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from checker import unchecked
from target_cases import environment, needs_jit, run_python

import fastnn
from fastnn import CacheWarning, build
from fastnn.errors import TargetUnavailable
from fastnn.storage import cache_folders
from fastnn.storage.kernels import loading, machine
from fastnn.storage.kernels.entries import ENTRIES
from fastnn.storage.kernels.machine import LEVELS, Processor, processor

PACKAGE = Path(fastnn.__file__).parent
# What the C library has; anything else would be Numba's or Python's.
OF_C = {"sched_yield", "usleep", "pow", "powf", "sqrt", "sqrtf", "SwitchToThread", "Sleep"}


@unchecked
@needs_jit
@pytest.mark.parametrize("name", ENTRIES)
def test_code_calls_neither_numba_nor_python_and_allocates_nothing(name):
    code = loading.codes([name], processor())[name]
    assert set(code.needs) <= OF_C
    # That what is called can be seen there: threads without work sleep.
    assert ("usleep" in code.needs) == ("train_epoch" in name and not name.startswith("linear"))


# Every built-in rule, loss and optimizer, in both dtypes and on two threads.
USE_EVERYTHING = """
import sys
import numpy as np
from fastnn import Network, Dense, Dropout, Trainer
from fastnn.storage.kernels import loading as compiled
from fastnn.rules.table import ACTIVATIONS, LOSSES
from fastnn import optimizers

compiled._compile = None  # nothing may be compiled
rng = np.random.default_rng(0)
X, labels, numbers = rng.normal(size=(90, 9)), np.arange(90) % 3, rng.normal(size=(90, 3))
count = 0

def use(layers, loss, y, optimizer=optimizers.SGD(0.01), **settings):
    global count
    for dtype in ("float32", "float64"):
        trainer = Trainer(Network(9, layers), loss, optimizer, 16, dtype=dtype, **settings)
        trainer.fit(X, y, 2)
        trainer.predict(X)
        count += 1

for name in ACTIVATIONS:
    if name not in ("step", "hardmax"):
        use([Dropout(0.1), Dense(8, name), Dense(3)], "softmax_cross_entropy", labels)
for loss, row in LOSSES.items():
    for units in (1, 3):
        y = numbers[:, :units]
        if loss == "softmax_cross_entropy":
            y, units = labels, 3
        elif row.targets in ("binary", "counts"):
            y = (y > 0).astype(float)
        use([Dense(units)], loss, y)
        use([Dense(8, "relu"), Dense(units)], loss, y)
for optimizer in (
    optimizers.SGD(0.01, momentum=0.9), optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    optimizers.Adam(), optimizers.AdamW(), optimizers.Nadam(), optimizers.RMSProp(),
    optimizers.Adagrad(), optimizers.Lion(), optimizers.AveragedSGD(0.01),
):
    for layers in ([Dense(8, "tanh"), Dense(3)], [Dense(400, "relu"), Dense(3)]):
        use(layers, "softmax_cross_entropy", labels, optimizer, threads=2)
use([Dense(8, max_norm=1.0), Dense(3)], "softmax_cross_entropy", labels, clip_norm=1.0, l1=1e-3)
print(count, "numba" in sys.modules)
"""


@needs_jit
def test_no_built_in_combination_compiles_anything_or_imports_numba():
    loading.prepare(ENTRIES)
    count, numba = run_python(USE_EVERYTHING).split()
    assert int(count) > 90
    assert numba == "False"


@needs_jit
def test_code_depends_neither_on_its_folder_nor_on_the_process(tmp_path):
    there, name = tmp_path / "there" / "fastnn", "shuffle"
    shutil.copytree(PACKAGE, there, ignore=shutil.ignore_patterns("__pycache__", "shipped"))
    of = "fastnn.storage.kernels.loading"
    write = f"import sys; from {of} import write_codes; write_codes(sys.argv[1:])"
    stdin, kept_open = os.pipe()  # at whose end it would end
    done = subprocess.run(
        [sys.executable, "-c", write, name],
        env=os.environ
        | processor().environment()
        | {"PYTHONPATH": str(there.parent), "PYTHONHASHSEED": "2"},
        cwd=tmp_path,
        stdin=stdin,
        capture_output=True,
    )
    os.close(stdin)
    os.close(kept_open)
    assert done.returncode == 0, done.stderr.decode()
    # What is in use here was made by another process, at another time, in another folder.
    assert done.stdout.endswith(loading.codes([name], processor())[name].object)
    assert str(there.parent).encode() not in done.stdout


def test_an_edit_makes_shipped_code_stale(tmp_path, monkeypatch):
    made_for = next(iter(LEVELS.values()))
    code = loading.Code("fastnn_shuffle", loading.identity_of("shuffle", made_for), (), b"code")
    file = loading.shipped_file("shuffle", made_for, tmp_path)
    file.parent.mkdir()
    file.write_bytes(loading.code_cache.seal(code.pack()))
    monkeypatch.setattr(loading, "SHIPPED", tmp_path)
    monkeypatch.setattr(loading, "CHECKED", False)
    assert loading._shipped("shuffle", made_for) == code
    monkeypatch.setattr(loading, "SOURCES", "others")
    assert loading._shipped("shuffle", made_for) is None


@pytest.mark.parametrize(
    ("setting", "value"),
    [("NUMBA_CPU_NAME", "generic"), ("NUMBA_CPU_FEATURES", "+sse2"), ("NUMBA_OPT", "1")],
)
def test_numbas_settings_switch_shipped_code_off(monkeypatch, setting, value):
    before = processor()
    monkeypatch.setenv(setting, value)
    after = processor()
    assert after.name == "" and after != before
    assert after.environment()[setting] == value
    assert loading._shipped("shuffle", after) is None


@pytest.mark.parametrize(
    ("features", "width"),
    [("", 16), ("+sse2", 16), ("+avx,-avx512f", 32), ("+avx2", 32), ("+avx512f,+avx2", 64)],
)
def test_width_of_vectors_follows_the_features(monkeypatch, features, width):
    monkeypatch.setenv("NUMBA_CPU_FEATURES", features)
    assert machine.vector_bytes() == width


@pytest.mark.skipif(not machine.on_x86(), reason="levels of x86")
@pytest.mark.parametrize(
    ("missing", "level"),
    [((), "x86-64-v4"), (("avx512vl",), "x86-64-v3"), (("avx512f", "fma"), "")],
)
def test_the_best_level_that_the_processor_has(monkeypatch, missing, level):
    there = dict.fromkeys(LEVELS["x86-64-v4"].needs, True) | dict.fromkeys(missing, False)
    monkeypatch.setattr(machine, "host_features", lambda: there)
    for name in machine.CHOICES:
        monkeypatch.delenv(name, raising=False)
    machine._processor.cache_clear()
    try:
        assert processor().name == level
    finally:
        machine._processor.cache_clear()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x86_64", ["x86-64-v4", "x86-64-v3"]),
        ("AMD64", ["x86-64-v4", "x86-64-v3"]),
        ("aarch64", ["arm64"]),
        ("arm64", ["arm64"]),
        ("ppc64le", []),
        ("riscv64", []),
    ],
)
def test_levels_are_those_of_the_kind_of_processor(monkeypatch, name, expected):
    monkeypatch.setattr(machine.platform, "machine", lambda: name)
    assert [level.name for level in machine.levels()] == expected


@needs_jit
def test_where_no_process_can_be_started_code_is_compiled_in_this_one():
    code = """
import sys, numpy as np
from fastnn.storage.kernels import loading as compiled
from fastnn.storage.kernels.machine import Processor, processor
sys.executable = ""
compiled.SOURCES = "for this test alone"
(code,) = compiled.codes(["shuffle"], processor()).values()
print(code.name, "numba" in sys.modules, compiled._kept("shuffle", processor()))
"""
    assert run_python(code).split() == ["fastnn_shuffle", "True", "None"]


ODD = """
import pathlib, sys, numpy as np
sys.path.append(pathlib.Path("."))  # of which import takes no notice
from fastnn.storage.kernels import loading
from fastnn.storage.kernels.machine import processor
{change}
loading.SHIPPED = pathlib.Path("nowhere")
loading.entry("shuffle")
orders = np.empty((1, 9), np.int64)
loading.entry("shuffle")(np.zeros(1, np.int64), 1, orders, 9)
print(*sorted(orders[0]), "numba" in sys.modules)
"""


@needs_jit
@pytest.mark.parametrize("program", ["/bin/true", "/bin/echo", "/nowhere/python"])
@pytest.mark.skipif(not os.path.exists("/bin/echo"), reason="programs of POSIX")
def test_a_program_that_is_no_python_is_noticed_and_said(program, tmp_path, capfd):
    code = ODD.format(change=f"sys.executable = {program!r}")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(FASTNN_CACHE_DIR=str(tmp_path)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "0 1 2 3 4 5 6 7 8 True\n", done.stderr
    assert "shuffle cannot be compiled in a process of its own" in done.stderr
    assert not list(tmp_path.rglob("*.code"))


@needs_jit
@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_process_with_many_open_files_compiles_too(tmp_path):
    change = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (1500, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
kept_open = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]"""
    out = run_python(ODD.format(change=change), FASTNN_CACHE_DIR=str(tmp_path))
    assert out == "0 1 2 3 4 5 6 7 8 False\n"
    assert len(list(tmp_path.rglob("*.code"))) == 1


@needs_jit
def test_nothing_that_lies_in_the_current_folder_or_speaks_at_the_start_is_in_the_way(tmp_path):
    for name in ("json", "sitecustomize", "usercustomize", "select"):
        (tmp_path / f"{name}.py").write_text("print('I was imported')\nraise SystemExit(3)\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dataclasses.py").write_text("raise SystemExit(4)\n")
    change = f"sys.path.append({str(tmp_path / 'other')!r})"  # behind the standard library
    done = subprocess.run(
        [sys.executable, "-P", "-c", ODD.format(change=change)],
        env=environment(FASTNN_CACHE_DIR=str(tmp_path / "cache")),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "0 1 2 3 4 5 6 7 8 False\n", done.stderr
    assert len(list(tmp_path.rglob("*.code"))) == 1


@needs_jit
def test_numbas_other_settings_do_not_get_into_code_that_is_kept(tmp_path):
    settings = "BOUNDSCHECK", "DEBUGINFO", "ENABLE_PROFILING", "DUMP_OPTIMIZED"
    code = """
from fastnn.graph import minimize
from fastnn.storage.kernels import loading
from fastnn.storage.kernels.machine import processor
print(minimize(lambda x: (x - 3)**2, start=0.0, learning_rate=0.5, steps=1).x[0])
loading.codes(["shuffle"], processor()._replace(name=""))
"""
    kept = []
    for value in ("0", "1"):
        folder = tmp_path / value
        changes = {f"NUMBA_{name}": value for name in settings}
        out = run_python(code, FASTNN_CACHE_DIR=str(folder), **changes)
        assert out.splitlines()[-1] == "3.0"
        kept.append({file.name: file.read_bytes() for file in folder.rglob("*.code")})
    assert kept[0] == kept[1] and len(kept[0]) == 2


def test_code_for_other_vectors_is_never_made_in_this_process(monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    other = processor()._replace(features="+other")
    with pytest.raises(TargetUnavailable, match="shuffle cannot be compiled for .*no Python"):
        loading.codes(["shuffle"], other)


@unchecked
@needs_jit
def test_shipped_code_that_is_damaged_is_told_of(tmp_path, monkeypatch):
    made_for = next(iter(LEVELS.values()))
    file = loading.shipped_file("shuffle", made_for, tmp_path)
    file.parent.mkdir()
    file.write_bytes(b"half of it")
    monkeypatch.setattr(loading, "SHIPPED", tmp_path)
    monkeypatch.setattr(cache_folders, "_warned", False)
    with pytest.warns(CacheWarning, match="which was installed, cannot be used"):
        assert loading._shipped("shuffle", made_for) is None


IN_ARCHIVE = """
import sys, warnings
warnings.simplefilter("error")  # a file that is not there is not a damaged one
import numpy as np
from fastnn.storage.kernels import kernel_cache, loading
orders = np.empty((1, 9), np.int64)
loading.entry("shuffle")(np.zeros(1, np.int64), 1, orders, 9)
assert ".zip" in loading.__file__ and sorted(orders[0]) == list(range(9))
print(kernel_cache.KNOWN, "numba" in sys.modules)
"""


@unchecked
@needs_jit
@pytest.mark.skipif(not processor().name, reason="nothing is shipped for this processor")
@pytest.mark.parametrize("shipped", [True, False])
def test_a_package_in_an_archive_takes_what_it_ships_and_keeps_nothing_else(shipped, tmp_path):
    archive, cache = tmp_path / "fastnn.zip", tmp_path / "cache"
    code = loading.codes(["shuffle"], processor())["shuffle"]
    with zipfile.ZipFile(archive, "w") as file:
        for path in PACKAGE.rglob("*.py"):
            file.write(path, path.relative_to(PACKAGE.parent))
        if shipped:
            content = loading.code_cache.seal(code.pack())
            file.writestr(f"fastnn/shipped/{processor().name}/shuffle.code", content)
            file.writestr("fastnn/shipped/SOURCES", loading.SOURCES)
    done = subprocess.run(
        [sys.executable, "-P", "-c", IN_ARCHIVE],
        env=os.environ | {"PYTHONPATH": str(archive), "FASTNN_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(shipped), str(not shipped)], done.stderr
    assert ("sources are not there" in done.stderr) == (not shipped)
    assert not list(cache.rglob("*.code"))


@pytest.mark.parametrize(
    ("value", "disabled"), [("1", True), ("2", True), ("0", False), ("off", False), ("", False)]
)
def test_numba_is_switched_off_by_what_numba_takes_for_that(value, disabled, monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", value)
    assert machine._disabled() == disabled


def test_a_build_leaves_alone_what_is_not_its_own(tmp_path, monkeypatch):
    mine = tmp_path / "Documents" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("long")
    (tmp_path / "x86-64-v4" / "folder").mkdir(parents=True)
    monkeypatch.setattr(build, "ENTRIES", {})
    assert build.main(["--out", str(tmp_path)]) == 0
    assert mine.read_text() == "long"
    with pytest.raises(SystemExit):
        build.main(["--out", str(mine)])
    foreign = "arm64" if machine.on_x86() else "x86-64-v4"
    with pytest.raises(SystemExit):
        build.main(["--levels", foreign])


FORK = """
import os, threading, time
import numpy as np
from fastnn import Dense, Network, Trainer, graph
X, y = np.ones((20, 3), np.float32), np.arange(20) % 2

def compile_rules():
    for i in range(8):
        graph.minimize(lambda x: (x - 3 - i) ** 2 + graph.exp(x / (i + 9)), start=0.0, steps=1)

graph.minimize(lambda x: x * x, start=0.0, steps=1)  # what it needs is imported, whole
thread = threading.Thread(target=compile_rules)
thread.start()
children = []
while thread.is_alive():
    child = os.fork()
    if child == 0:
        Trainer(Network(3, [Dense(2)])).fit(X, y, 1)
        os._exit(0)
    children.append(child)
    time.sleep(0.05)
print(sum(os.waitpid(child, 0)[1] for child in children), len(children) > 1)
"""


@unchecked
@needs_jit
@pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
def test_a_child_forked_while_another_thread_compiles_can_train(tmp_path):
    names = ["train_epoch_float32", "forward_float32", "shuffle"]
    loading.prepare(names)
    for name in names:  # the rules of the other thread are compiled anew each time
        kept = loading._kept_file(name, processor())
        if kept.exists():
            (tmp_path / kept.parent.name).mkdir(0o700, exist_ok=True)
            shutil.copy2(kept, tmp_path / kept.parent.name)
    assert run_python(FORK, "-W", "ignore", FASTNN_CACHE_DIR=str(tmp_path)).split() == ["0", "True"]


@needs_jit
def test_sources_that_changed_meanwhile_are_not_compiled_for_this_process(monkeypatch):
    monkeypatch.setattr(loading, "SOURCES", "those of yesterday")
    with pytest.raises(TargetUnavailable, match="sources have been changed.*start it again"):
        loading.codes(["shuffle"], Processor("", processor().cpu, processor().features))


COMPILE = """
import signal
from fastnn.storage.kernels import loading as compiled
signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever runs this may ignore
from fastnn.storage.kernels.machine import processor
print("begin", flush=True)
compiled.codes(["train_epoch_float32", "linear_train_epoch_float64"], processor()._replace(name=""))
"""


@needs_jit
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_a_compilation_and_its_processes(tmp_path):
    started = subprocess.Popen(
        [sys.executable, "-c", COMPILE],
        env=environment(FASTNN_CACHE_DIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    started.stdout.readline()
    time.sleep(1)
    started.send_signal(signal.SIGINT)  # to it alone: a terminal would send it to all
    begun = time.monotonic()
    _, said = started.communicate(timeout=30)
    assert time.monotonic() - begun < 5
    assert b"KeyboardInterrupt" in said
    with pytest.raises(ProcessLookupError):
        os.killpg(started.pid, 0)


@needs_jit
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="becomes another user")
def test_a_read_only_cache_of_roots_is_read(tmp_path):
    """As in an image of a container, which is made by root and run by somebody else."""
    code = """
import os
from fastnn.storage.kernels import loading as compiled
from fastnn.storage.kernels.machine import processor
made_for = processor()._replace(name="")
compiled.codes(["shuffle"], made_for)
compiled._compile = None
os.system(f"chmod -R a+rX {os.environ['FASTNN_CACHE_DIR']}")
os.setuid(54321)
compiled.codes(["shuffle"], made_for)
"""
    for above in [tmp_path, *tmp_path.parents]:
        if above.stat().st_uid == 0 and above != Path("/tmp"):
            above.chmod(above.stat().st_mode | 0o055)
    run_python(code, FASTNN_CACHE_DIR=str(tmp_path / "warm"))


@needs_jit
def test_entries_take_arrays_of_any_thread_at_once():
    orders = np.empty((2, 50), np.int64)
    loading.entry("shuffle")(np.arange(2), 2, orders, 50)
    assert (np.sort(orders, axis=1) == np.arange(50)).all()
