"""Datasets from the network: several mirrors, pinned checksums, and a cache that a bad file never enters."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Unpack

from fastfnn.data.dataset import Dataset, SplitOptions, assemble
from fastfnn.data.image_files import read_images
from fastfnn.data.opening import unexpected
from fastfnn.errors import DataError

FASHION_MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
FASHION_MNIST_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)

TIMEOUT_SECONDS = 30.0
ROUNDS = 2
PAUSE_SECONDS = 1.0
BLOCK_BYTES = 1 << 16


class _BadAnswerError(Exception):
    """What a mirror answered instead of the file; `again` when another attempt may go better."""

    def __init__(self, answer: str, again: bool) -> None:
        super().__init__(answer)
        self.again = again


def cache_folder() -> Path:
    """Where downloads are kept: FASTFNN_CACHE_DIR, or else the user's cache folder of this system."""
    chosen = os.environ.get("FASTFNN_CACHE_DIR")
    if chosen:
        return Path(chosen)
    import platformdirs

    return platformdirs.user_cache_path("fastfnn")


def fetch_fashion_mnist() -> list[Path]:
    """The four files of Fashion-MNIST (train images, train labels, test images, test labels), fetched if need be.

    Raises:
        DataError: as `fetch`.
    """
    return fetch(FASHION_MNIST_SHA256, FASHION_MNIST_MIRRORS, cache_folder() / "fashion-mnist")


def load_fashion_mnist(**options: Unpack[SplitOptions]) -> Dataset:
    """Fashion-MNIST: 60,000 training and 10,000 test images of 28 x 28 uint8 pixels, ten kinds of clothes.

    Raises:
        DataError: when it is neither in the cache nor to be had, or the split cannot be made.
    """
    return assemble("fashion-mnist", read_images(fetch_fashion_mnist(), n_classes=10), **options)


def fetch(
    sha256_of: Mapping[str, str], mirrors: Sequence[str], folder: Path, *, pause: float = PAUSE_SECONDS
) -> list[Path]:
    """Makes sure that `folder` holds every file with its checksum; files that it has already cause no request.

    Mirrors are tried in order. One that fails in passing (no connection, a truncated answer, a server error) gets a
    second chance after a pause of `pause` seconds. A file enters the folder whole and verified, or not at all.

    Args:
        sha256_of: file names and their SHA-256 (hex).
        mirrors: addresses that end with a slash; the file name is appended.

    Raises:
        DataError: listing each mirror with its answer, or naming the folder that cannot be written.
    """
    return [_fetch_one(name, sha256, mirrors, folder, pause) for name, sha256 in sha256_of.items()]


def _fetch_one(name: str, sha256: str, mirrors: Sequence[str], folder: Path, pause: float) -> Path:
    answers: dict[str, _BadAnswerError] = {}
    for attempt in range(ROUNDS):
        for mirror in mirrors:
            if mirror in answers and not answers[mirror].again:
                continue
            try:
                return _retrieve(mirror + name, name, sha256, folder)
            except _BadAnswerError as answer:
                answers[mirror] = answer
        if attempt + 1 < ROUNDS and any(answer.again for answer in answers.values()):
            time.sleep(pause)
    raise _nowhere(name, sha256, answers)


def _nowhere(name: str, sha256: str, answers: Mapping[str, _BadAnswerError]) -> DataError:
    listing = "; ".join(f"{mirror}{name} answered {answer}" for mirror, answer in answers.items())
    return unexpected(name, f"the file with SHA-256 {sha256} from one of {len(answers)} mirrors", listing)


def _retrieve(url: str, name: str, sha256: str, folder: Path) -> Path:
    """One file from one mirror by way of pooch, which writes beside the cache, verifies, then moves."""
    import pooch
    import requests

    try:
        return Path(pooch.retrieve(url, f"sha256:{sha256}", name, folder, downloader=_downloader(sha256)))
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise _BadAnswerError(f"HTTP status {status}", again=status >= 500) from None
    except requests.RequestException as error:
        raise _BadAnswerError(f"{type(error).__name__} ({error})", again=True) from None
    except OSError as error:
        raise unexpected(folder, "a cache folder that can be written", error.strerror or error) from None


def _downloader(sha256: str) -> Callable[[str, str, object], None]:
    """A downloader for pooch that closes its connections, and can say what a wrong file looks like."""

    def download(url: str, temporary: str, _manager: object) -> None:
        import requests

        digest, path = hashlib.sha256(), Path(temporary)
        plain = {"Accept-Encoding": "identity"}  # or requests would unpack the very gzip whose bytes are pinned
        with (
            requests.get(url, headers=plain, stream=True, timeout=TIMEOUT_SECONDS) as response,
            path.open("wb") as file,
        ):
            response.raise_for_status()
            for block in response.iter_content(BLOCK_BYTES):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != sha256:
            raise _BadAnswerError(_described(path, digest.hexdigest()), again=False)

    return download


def _described(path: Path, sha256: str) -> str:
    with path.open("rb") as file:
        return f"{path.stat().st_size} bytes with SHA-256 {sha256}, starting with {file.read(16)!r}"
