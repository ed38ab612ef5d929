"""Downloads, against a local server that lies in every way that mirrors do."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fastfnn.data import downloads, load_dataset, write_idx
from fastfnn.data.downloads import FASHION_MNIST_SHA256, cache_folder, fetch
from fastfnn.errors import DataError

GOOD = gzip.compress(b"good content" * 1000, mtime=0)
SHA256 = hashlib.sha256(GOOD).hexdigest()
HTML = b"<!DOCTYPE html><html>Sign in to this network</html>"


class LyingServer:
    """Serves /good/, /wrong/, /html/, /truncated/, /missing/, /broken/ and /recovering/, and counts requests."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"file.gz": GOOD}
        self.requests: list[str] = []
        lies = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lies.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def mirror(self, way: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{way}/"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(handler.path)
        _, way, name = handler.path.split("/")
        content = self.files[name]
        first = self.requests.count(handler.path) == 1
        status = {"missing": 404, "broken": 503, "recovering": 503 if first else 200}.get(way, 200)
        body = {"wrong": content[:-1] + b"?", "html": HTML, "truncated": content[:50]}.get(way, content)
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content) if way == "truncated" else len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LyingServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    lying = LyingServer()
    yield lying
    lying.close()


def get(server: LyingServer, folder: Path, *ways: str) -> Path:
    (path,) = fetch({"file.gz": SHA256}, [server.mirror(way) for way in ways], folder, pause=0)
    return path


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


LIES = {
    "wrong": rf"wrong/file.gz answered {len(GOOD)} bytes with SHA-256 [0-9a-f]{{64}}, starting with b'\\x1f\\x8b",
    "html": rf"html/file.gz answered {len(HTML)} bytes with SHA-256 [0-9a-f]{{64}}, starting with b'<!DOCTYPE html>",
    "truncated": "truncated/file.gz answered ChunkedEncodingError",
    "missing": "missing/file.gz answered HTTP status 404",
    "broken": "broken/file.gz answered HTTP status 503",
}


@pytest.mark.parametrize("lie", LIES)
def test_one_liar_then_a_good_mirror(server: LyingServer, tmp_path: Path, lie: str) -> None:
    path = get(server, tmp_path, lie, "good")
    assert path == tmp_path / "file.gz"
    assert path.read_bytes() == GOOD
    assert server.requests == [f"/{lie}/file.gz", "/good/file.gz"]
    assert contents(tmp_path) == ["file.gz"]


@pytest.mark.parametrize("lie", LIES)
def test_only_a_liar(server: LyingServer, tmp_path: Path, lie: str) -> None:
    with pytest.raises(DataError, match=LIES[lie]):
        get(server, tmp_path, lie)
    assert contents(tmp_path) == []


def test_all_liars_are_listed(server: LyingServer, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        get(server, tmp_path, *LIES)
    message = str(caught.value)
    assert message.startswith(f"file.gz: expected the file with SHA-256 {SHA256} from one of 5 mirrors, found http")
    assert "\n" not in message
    assert all(server.mirror(lie) in message for lie in LIES)
    assert contents(tmp_path) == []


def test_only_passing_failures_get_a_second_chance(server: LyingServer, tmp_path: Path) -> None:
    assert get(server, tmp_path, "missing", "html", "recovering").read_bytes() == GOOD
    assert server.requests == ["/missing/file.gz", "/html/file.gz", "/recovering/file.gz", "/recovering/file.gz"]


def test_no_connection(tmp_path: Path, server: LyingServer) -> None:
    with pytest.raises(DataError, match=r"answered ConnectionError"):
        fetch({"file.gz": SHA256}, ["http://127.0.0.1:9/"], tmp_path, pause=0)
    assert contents(tmp_path) == []


def test_second_call_makes_no_request(server: LyingServer, tmp_path: Path) -> None:
    get(server, tmp_path, "good")
    get(server, tmp_path, "good")
    assert server.requests == ["/good/file.gz"]


def test_a_damaged_file_in_the_cache_is_replaced(server: LyingServer, tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(GOOD[:100])
    assert get(server, tmp_path, "good").read_bytes() == GOOD


def test_cache_folder_that_cannot_be_made(server: LyingServer, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match=r"taken.*: expected a cache folder that can be written, found Not a directory"):
        get(server, tmp_path / "taken" / "cache", "good")


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FASTFNN_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FASTFNN_CACHE_DIR")
    assert cache_folder().name == "fastfnn"


def test_fashion_mnist_is_pinned_to_the_published_files() -> None:
    assert len(FASHION_MNIST_SHA256) == 4
    assert all(len(sha256) == 64 for sha256 in FASHION_MNIST_SHA256.values())
    assert len(downloads.FASHION_MNIST_MIRRORS) >= 2


def test_load_fashion_mnist_from_mirrors(
    server: LyingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    for name in FASHION_MNIST_SHA256:
        n = 20 if name.startswith("train") else 10
        images = rng.integers(0, 256, (n, 4, 4), dtype=np.uint8)
        write_idx(tmp_path / name, images if "images" in name else np.arange(n, dtype=np.uint8) % 10)
        server.files[name] = (tmp_path / name).read_bytes()
    sha256_of = {name: hashlib.sha256(server.files[name]).hexdigest() for name in FASHION_MNIST_SHA256}
    monkeypatch.setattr(downloads, "FASHION_MNIST_SHA256", sha256_of)
    monkeypatch.setattr(downloads, "FASHION_MNIST_MIRRORS", [server.mirror("html"), server.mirror("good")])
    monkeypatch.setenv("FASTFNN_CACHE_DIR", str(tmp_path / "cache"))
    data = load_dataset("fashion-mnist", validation=0.25)
    assert {role: len(split) for role, split in data.splits().items()} == {"train": 15, "validation": 5, "test": 10}
    assert contents(tmp_path / "cache" / "fashion-mnist") == sorted(FASHION_MNIST_SHA256)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
