"""Facts about the data sets: their content, their form, and what happens to bad files."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn import datasets
from fastnn.datasets import mnist_files
from fastnn.errors import CorruptFile, FastnnError, InvalidInput

CACHE_VARIABLE = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
Arrays = dict[str, Any]
Parts = tuple[Any, Any]
Make = Callable[..., Any]
GENERATORS = [datasets.moons, datasets.rings, datasets.spirals, datasets.xor]
each_generator = pytest.mark.parametrize("make", GENERATORS, ids=lambda make: make.__name__)


# digits


def test_digits_have_their_shape_type_and_range() -> None:
    X, y = datasets.digits()
    assert (X.shape, X.dtype, X.min(), X.max()) == ((1797, 64), np.float32, 0.0, 1.0)
    assert (y.shape, y.dtype) == ((1797,), np.int64)
    np.testing.assert_array_equal(X * 16, np.round(X * 16))


def test_digits_have_the_published_count_of_each_class() -> None:
    # optdigits.names of the UCI repository, class distribution of the test part.
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(datasets.digits()[1]).tolist() == counts


def test_digits_are_those_of_scikit_learn() -> None:
    shipped = pytest.importorskip("sklearn.datasets").load_digits()
    X, y = datasets.digits()
    np.testing.assert_array_equal(X * 16, shipped.data)
    np.testing.assert_array_equal(y, shipped.target)


def test_digits_are_fresh_arrays_each_time() -> None:
    datasets.digits()[0][:] = -1
    assert datasets.digits()[0].min() == 0


def test_importing_datasets_imports_only_numpy_and_the_standard_library() -> None:
    code = (
        "import numpy.random, sys; before = set(sys.modules); import fastnn.datasets; "
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(names - sys.stdlib_module_names - {'numpy', 'fastnn'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


# Point clouds


@each_generator
@pytest.mark.parametrize("n", [3, 4, 5, 100, 1001])
def test_points_have_their_shape_and_type_and_balanced_classes(make: Make, n: int) -> None:
    X, y = make(n=n)
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((n, 2), np.float32, (n,), np.int64)
    assert X.flags.c_contiguous and y.flags.c_contiguous
    counts = np.bincount(y)
    assert len(counts) == (3 if make is datasets.spirals else 2)
    assert counts.max() - counts.min() <= 1


@each_generator
def test_seed_alone_decides_the_points(make: Make) -> None:
    first, again, other = make(n=50, seed=3), make(n=50, seed=3), make(n=50, seed=4)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.isin(other[0], first[0]).any()


@each_generator
def test_labels_come_in_shuffled_order(make: Make) -> None:
    y = make(n=300)[1]
    changes = np.mean(y[1:] != y[:-1])
    assert 0.35 < changes < 0.8
    assert (make(n=300, seed=1)[1] != y).any()


@each_generator
def test_noise_has_the_asked_deviation_and_keeps_the_points(make: Make) -> None:
    exact, noisy = make(n=4000, noise=0.0), make(n=4000, noise=0.25)
    np.testing.assert_array_equal(exact[1], noisy[1])
    shift = noisy[0] - exact[0]
    assert shift.std() == pytest.approx(0.25, rel=0.05)
    assert abs(shift.mean()) < 0.02


def test_moons_without_noise_lie_on_two_half_circles() -> None:
    X, y = datasets.moons(n=500, noise=0.0)
    first, second = X[y == 0], X[y == 1]
    np.testing.assert_allclose(np.hypot(*first.T), 1, rtol=1e-6)
    np.testing.assert_allclose(np.hypot(*(second - (1.0, 0.5)).T), 1, rtol=1e-6)
    assert first[:, 1].min() >= 0 and second[:, 1].max() <= 0.5
    assert first[:, 0].min() < -0.9 and second[:, 0].max() > 1.9


def test_rings_without_noise_lie_on_two_circles() -> None:
    X, y = datasets.rings(n=500, noise=0.0, factor=0.25)
    np.testing.assert_allclose(np.hypot(*X.T), np.where(y == 0, 1, 0.25), rtol=1e-6)
    for ring in (0, 1):
        assert (np.ptp(X[y == ring], axis=0) > (1.9, 0.45)[ring]).all()


@pytest.mark.parametrize(("classes", "turns"), [(2, 1.0), (3, 0.5), (5, 2.25)])
def test_spirals_without_noise_lie_on_their_arms(classes: int, turns: float) -> None:
    X, y = datasets.spirals(n=503, classes=classes, noise=0.0, turns=turns)
    radius = np.hypot(*X.astype(np.float64).T)
    angle = 2 * np.pi * (turns * radius + y / classes)
    np.testing.assert_allclose(X, radius[:, None] * np.c_[np.cos(angle), np.sin(angle)], atol=1e-6)
    assert 0 < radius.min() < 0.05 and 0.95 < radius.max() < 1 + 1e-6


def test_xor_without_noise_is_decided_by_the_signs() -> None:
    X, y = datasets.xor(n=1002, noise=0.0)
    np.testing.assert_array_equal(y, (X[:, 0] > 0) ^ (X[:, 1] > 0))
    assert (X != 0).all() and np.abs(X).max() <= 1
    quadrants = np.bincount(2 * (X[:, 0] > 0) + (X[:, 1] > 0))
    assert quadrants.max() - quadrants.min() <= 1


@pytest.mark.parametrize(
    ("make", "name", "bad"),
    [
        *((make, "n", bad) for make in GENERATORS for bad in (1, -5, 2.5, "10", True, None)),
        *((make, "noise", bad) for make in GENERATORS for bad in (-0.1, np.nan, np.inf, "0", 1j)),
        *((make, "seed", bad) for make in GENERATORS for bad in (-1, 0.5, None)),
        *((datasets.rings, "factor", bad) for bad in (0.0, 1.0, -0.5, np.nan, "half")),
        *((datasets.spirals, "classes", bad) for bad in (1, 2.0, "3")),
        *((datasets.spirals, "turns", bad) for bad in (0.0, -1.0, np.inf, "1")),
    ],
)
def test_an_argument_out_of_range_is_named(make: Make, name: str, bad: object) -> None:
    with pytest.raises(InvalidInput, match=f"^{name} must be .*not "):
        make(**{name: bad})


def test_spirals_need_a_point_for_each_class() -> None:
    assert set(datasets.spirals(n=7, classes=7)[1]) == set(range(7))
    with pytest.raises(InvalidInput, match="at least 7"):
        datasets.spirals(n=6, classes=7)


# mnist: small files in its form


@pytest.fixture
def arrays() -> Arrays:
    generator = np.random.default_rng(5)
    small: Arrays = {}
    for part, n in (("train", 7), ("test", 3)):
        small[f"x_{part}"] = generator.integers(0, 256, (n, 28, 28), np.uint8)
        small[f"x_{part}"][0, 0, :2] = 0, 255
        small[f"y_{part}"] = generator.integers(0, 10, n, np.uint8)
    return small


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name an empty cache folder, which is not made yet, and unset FASTNN_DATA."""
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "fastnn" / "datasets"


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return head + array.tobytes()


def published(arrays: Arrays) -> dict[str, bytes]:
    """Return the four .gz files by name."""
    return {
        file.name: gzip.compress(idx(arrays[key])) for key, file in mnist_files.MNIST_FILES.items()
    }


def write_idx(folder: Path, arrays: Arrays) -> Path:
    for name, content in published(arrays).items():
        (folder / name).write_bytes(content)
    return folder


def assert_holds(parts: Parts, arrays: Arrays) -> None:
    for (X, y), part in zip(parts, ("train", "test"), strict=True):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        assert (X.dtype, y.dtype, X.min(), X.max()) == (np.float32, np.int64, 0, 1)
        expected = images.reshape(len(images), 784).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(X, expected)
        np.testing.assert_array_equal(y, labels)


@pytest.fixture
def expected_sums(arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the small arrays' checksums stand for MNIST's."""
    sums = {
        key: mnist_files.MnistFile(
            file.name,
            hashlib.sha256(published(arrays)[file.name]).hexdigest(),
            hashlib.sha256(arrays[key].tobytes()).hexdigest(),
        )
        for key, file in mnist_files.MNIST_FILES.items()
    }
    monkeypatch.setattr(mnist_files, "MNIST_FILES", sums)


def test_mnist_reads_an_npz_file(tmp_path: Path, arrays: Arrays) -> None:
    np.savez_compressed(tmp_path / "any.npz", **arrays)
    assert_holds(datasets.mnist(tmp_path / "any.npz"), arrays)
    assert_holds(datasets.mnist(str(tmp_path / "any.npz")), arrays)


def test_mnist_reads_a_folder_with_mnist_npz(tmp_path: Path, arrays: Arrays) -> None:
    np.savez(tmp_path / "mnist.npz", **arrays)
    assert_holds(datasets.mnist(tmp_path), arrays)


def test_mnist_reads_a_folder_of_idx_files(tmp_path: Path, arrays: Arrays) -> None:
    assert_holds(datasets.mnist(write_idx(tmp_path, arrays)), arrays)


def test_mnist_reads_unpacked_idx_files(tmp_path: Path, arrays: Arrays) -> None:
    for file in write_idx(tmp_path, arrays).glob("*.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert_holds(datasets.mnist(tmp_path), arrays)


@pytest.mark.usefixtures("expected_sums")
def test_mnist_prefers_the_folder_in_fastnn_data(
    tmp_path: Path, cache: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "mnist.npz", **arrays)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    assert_holds(datasets.mnist(), arrays)
    assert not cache.exists()


@pytest.mark.usefixtures("expected_sums")
def test_mnist_looks_into_the_cache_where_fastnn_data_has_none(
    tmp_path: Path, cache: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir(parents=True)
    write_idx(cache, arrays)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    assert_holds(datasets.mnist(), arrays)


@pytest.mark.usefixtures("cache")
def test_mnist_that_is_found_must_have_the_published_sums(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTNN_DATA", str(write_idx(tmp_path, arrays)))
    with pytest.raises(CorruptFile, match=r"x_train in .* is not MNIST's.*remove"):
        datasets.mnist()


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere.npz", "nowhere.npz does not exist"), (3, "file or folder name, not 3")],
)
def test_mnist_refuses_a_path_that_is_not_there(path: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        datasets.mnist(path)


def test_mnist_names_the_files_that_a_folder_lacks(tmp_path: Path, arrays: Arrays) -> None:
    (write_idx(tmp_path, arrays) / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InvalidInput, match="neither mnist.npz nor t10k-labels-idx1-ubyte.gz$"):
        datasets.mnist(tmp_path)


def test_fastnn_data_must_be_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInput, match="FASTNN_DATA is .*not a folder"):
        datasets.mnist()


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_a_truncated_npz_file_is_corrupt(tmp_path: Path, arrays: Arrays, kept: int) -> None:
    file = tmp_path / "cut.npz"
    np.savez(file, **arrays)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CorruptFile, match=r"cut\.npz is not an \.npz file.*replace it"):
        datasets.mnist(file)


def test_a_flipped_byte_in_an_npz_file_is_corrupt(tmp_path: Path, arrays: Arrays) -> None:
    file = tmp_path / "flipped.npz"
    np.savez(file, **arrays)
    content = bytearray(file.read_bytes())
    content[content.index(arrays["x_train"].tobytes()) + 99] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptFile, match="CRC"):
        datasets.mnist(file)


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("kept", [0, 3, 7, 30, -1])
def test_a_truncated_idx_file_is_corrupt(
    tmp_path: Path, arrays: Arrays, kept: int, suffix: str
) -> None:
    file = write_idx(tmp_path, arrays) / "train-images-idx3-ubyte.gz"
    content = file.read_bytes() if suffix else gzip.decompress(file.read_bytes())
    file.with_suffix(suffix).write_bytes(content[:kept])
    with pytest.raises(CorruptFile, match=r"train-images-idx3-ubyte.* not a whole IDX file"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize(
    "head", [b"\x00\x00\x0d\x01\x00\x00\x00\x07", b"PK\x08\x01\x00\x00\x00\x07"]
)
def test_an_idx_file_of_another_type_is_corrupt(
    tmp_path: Path, arrays: Arrays, head: bytes
) -> None:
    file = write_idx(tmp_path, arrays) / "train-labels-idx1-ubyte"
    file.write_bytes(head + bytes(7))
    with pytest.raises(CorruptFile, match="does not start with 0, 0, 8"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("x_train", np.zeros((7, 28, 28), np.float32), r"x_train .* is float32 \(7, 28, 28\)"),
        ("x_test", np.zeros((3, 784), np.uint8), r"x_test .* is uint8 \(3, 784\)"),
        ("x_test", np.zeros((), np.uint8), r"x_test .* is uint8 \(\)"),
        ("y_test", np.zeros((3, 1), np.uint8), r"y_test .* is uint8 \(3, 1\)"),
        ("y_test", np.zeros((0,), np.uint8), r"y_test .* is uint8 \(0,\)"),
        ("y_train", np.zeros(6, np.uint8), "7 images but 6 labels in its train part"),
        ("y_train", np.full(7, 10, np.uint8), "y_train .* has label 10"),
        ("y_train", np.array([None] * 7), "Object arrays cannot be loaded"),
    ],
)
def test_arrays_of_another_form_are_corrupt(
    tmp_path: Path, arrays: Arrays, key: str, value: np.ndarray, message: str
) -> None:
    changed = {**arrays, key: value}
    np.savez(tmp_path / "other.npz", **changed)
    with pytest.raises(CorruptFile, match=message):
        datasets.mnist(tmp_path / "other.npz")


# mnist: downloads from a server on this machine


class Handler(BaseHTTPRequestHandler):
    """Serves `files` by path and notes in `asked` what was asked for."""

    def __init__(self, files: dict[str, bytes], asked: list[str], *args: Any) -> None:
        """Keep both before the base class, which answers the request at once."""
        self.files, self.asked = files, asked
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer one request."""
        self.asked.append(self.path)
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        # A body that ends before the stated length is what a broken connection looks like.
        self.send_header("Content-Length", str(len(content) + self.path.startswith("/cut/")))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests clean."""


class Server:
    """What the server on this machine serves, what it was asked, and where it is."""

    def __init__(self) -> None:
        """Bind a free port."""
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self.files, self.asked))
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def serve(self, folder: str, files: dict[str, bytes]) -> None:
        """Offer `files` in `folder`."""
        self.files.update({f"/{folder}/{name}": content for name, content in files.items()})


@pytest.fixture
def server(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    urls = (f"{server.url}/first/", f"{server.url}/second/")
    monkeypatch.setattr(mnist_files, "MNIST_URLS", urls)
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def content_of(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.mark.usefixtures("expected_sums")
def test_mnist_is_downloaded_once_into_the_cache(
    server: Server, cache: Path, arrays: Arrays
) -> None:
    server.serve("first", published(arrays))
    assert_holds(datasets.mnist(), arrays)
    assert content_of(cache) == sorted(published(arrays))
    assert len(server.asked) == 4
    assert_holds(datasets.mnist(), arrays)
    assert len(server.asked) == 4


@pytest.mark.usefixtures("expected_sums")
def test_only_missing_files_are_downloaded(server: Server, cache: Path, arrays: Arrays) -> None:
    cache.mkdir(parents=True)
    (write_idx(cache, arrays) / "t10k-images-idx3-ubyte.gz").unlink()
    server.serve("first", published(arrays))
    assert_holds(datasets.mnist(), arrays)
    assert server.asked == ["/first/t10k-images-idx3-ubyte.gz"]


@pytest.mark.usefixtures("expected_sums", "cache")
@pytest.mark.parametrize("fault", ["missing", "damaged", "cut"])
def test_the_second_address_stands_in_for_the_first(
    server: Server, arrays: Arrays, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = (f"{server.url}/{fault}/", f"{server.url}/second/")
    monkeypatch.setattr(mnist_files, "MNIST_URLS", urls)
    server.serve("damaged", {name: b"damaged" for name in published(arrays)})
    server.serve("cut", published(arrays))
    server.serve("second", published(arrays))
    assert_holds(datasets.mnist(), arrays)
    assert len(server.asked) == 8


@pytest.mark.usefixtures("expected_sums")
def test_a_download_with_a_wrong_sum_leaves_nothing_behind(
    server: Server, cache: Path, arrays: Arrays
) -> None:
    files = published(arrays)
    files["t10k-images-idx3-ubyte.gz"] += b"\x00"
    server.serve("first", files)
    with pytest.raises(CorruptFile, match=r"t10k-images.*SHA-256 .* instead of .*FASTNN_DATA"):
        datasets.mnist()
    assert content_of(cache) == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]


def test_without_a_network_the_message_says_where_the_files_go(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(FastnnError) as caught:
        datasets.mnist()
    assert not isinstance(caught.value, CorruptFile)
    for part in ("train-images-idx3-ubyte.gz", server.url, str(cache), "FASTNN_DATA"):
        assert part in str(caught.value)
    assert content_of(cache) == []


@pytest.mark.usefixtures("expected_sums")
def test_an_interrupted_write_leaves_nothing_behind(
    server: Server, cache: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(source: object, target: object) -> None:
        raise KeyboardInterrupt

    server.serve("first", published(arrays))
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        datasets.mnist()
    assert content_of(cache) == []


@pytest.mark.usefixtures("expected_sums")
def test_a_cache_that_cannot_be_written_is_named(
    server: Server, cache: Path, arrays: Arrays
) -> None:
    server.serve("first", published(arrays))
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    with pytest.raises(FastnnError, match="cannot be written.*FASTNN_DATA"):
        datasets.mnist()


# mnist: the real data


@pytest.fixture(scope="module")
def real(data_folder: Path) -> Parts:
    if not (data_folder / "mnist.npz").is_file():
        pytest.skip(f"FASTNN_DATA={data_folder} has no mnist.npz")
    return datasets.mnist()


def test_mnist_has_its_published_counts(real: Parts) -> None:
    (X_train, y_train), (X_test, y_test) = real
    assert (X_train.shape, y_train.shape) == ((60000, 784), (60000,))
    assert (X_test.shape, y_test.shape) == ((10000, 784), (10000,))
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (np.bincount(y_train).tolist(), np.bincount(y_test).tolist()) == (train, test)


def test_mnist_has_its_well_known_mean_and_deviation(real: Parts) -> None:
    # 0.1307 and 0.3081 are the constants that MNIST examples everywhere normalise with.
    X = real[0][0]
    assert (X.min(), X.max(), X.dtype) == (0, 1, np.float32)
    assert float(X.mean(dtype=np.float64)) == pytest.approx(0.1307, abs=5e-5)
    assert float(X[:6000].std(dtype=np.float64)) == pytest.approx(0.3081, abs=2e-3)
