"""MNIST from a server, here one on this machine: what is asked for, kept and left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mnist_cases import Arrays, assert_holds, published, write_idx

from fastnn import datasets
from fastnn.datasets import mnist_files
from fastnn.errors import CorruptFile, FastnnError


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
