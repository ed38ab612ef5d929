"""IDX files: round trips, and one test for each way a file can be wrong."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastfnn.data import read_idx, write_idx
from fastfnn.data.idx import read_images_and_labels
from fastfnn.errors import DataError

DTYPES = [np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]
IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def encoded(array: np.ndarray, code: int = 8) -> bytes:
    """An IDX file written by hand."""
    return bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(DTYPES))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5)))
    path = tmp_path_factory.mktemp("idx") / f"array{suffix}"
    write_idx(path, array)
    back = read_idx(path)
    assert back.dtype == array.dtype
    assert back.dtype.isnative
    assert back.flags.writeable
    np.testing.assert_array_equal(back, array)


def test_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", np.array([[1, -2]], np.int16))
    assert (tmp_path / "a").read_bytes() == bytes.fromhex("00000b02 00000001 00000002 0001 fffe")
    write_idx(tmp_path / "b.gz", IMAGES)
    assert gzip.decompress((tmp_path / "b.gz").read_bytes()) == encoded(IMAGES)


def test_gzip_output_does_not_depend_on_time_or_name(tmp_path: Path) -> None:
    write_idx(tmp_path / "a.gz", IMAGES)
    write_idx(tmp_path / "b.gz", IMAGES)
    content = (tmp_path / "a.gz").read_bytes()
    assert content == (tmp_path / "b.gz").read_bytes()
    assert content[4:8] == bytes(4)


def test_gzip_is_recognised_by_content_not_by_name(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_idx(write(tmp_path / "packed", gzip.compress(encoded(IMAGES)))), IMAGES)
    np.testing.assert_array_equal(read_idx(write(tmp_path / "plain.gz", encoded(IMAGES))), IMAGES)


def test_gzip_of_several_members(tmp_path: Path) -> None:
    content = encoded(IMAGES)
    path = write(tmp_path / "members", gzip.compress(content[:9]) + gzip.compress(content[9:]))
    np.testing.assert_array_equal(read_idx(path), IMAGES)


def test_non_contiguous_and_foreign_byte_order_arrays_are_written_right(tmp_path: Path) -> None:
    array = np.arange(12, dtype=">i4").reshape(3, 4).T
    write_idx(tmp_path / "a", array)
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), array)


GOOD = encoded(IMAGES)
BAD = {
    "empty": (b"", "byte 0: expected an IDX magic number .4 bytes from byte 0., found the end of the file"),
    "short magic": (b"\0\0", "byte 2: expected an IDX magic number"),
    "html": (b"<!DOCTYPE html>", "byte 0: expected an IDX magic number that starts with 00 00, found 3c 21"),
    "type": (b"\0\0\x07\x01", "byte 2: expected an IDX type code .0x08, .*, found 0x07"),
    "no dimension": (b"\0\0\x08\x00", "byte 3: expected at least one dimension, found 0"),
    "short header": (GOOD[:11], "byte 11: expected the sizes of 3 dimensions .12 bytes from byte 4., found the end"),
    "zero size": (GOOD[:8] + bytes(4) + GOOD[12:], "byte 8: expected a positive size of dimension 1, found 0"),
    "short": (GOOD[:-1], r"byte 39: expected 40 bytes for uint8 elements of shape \(2, 3, 4\), found the end of the"),
    "trailing": (GOOD + b"abc", "byte 40: expected the end of the file, found 3 trailing bytes"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_plain_file(tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    with pytest.raises(DataError, match=rf"bad-file: {message}"):
        read_idx(write(tmp_path / "bad-file", content))


BAD_GZIP = {
    "short": (gzip.compress(GOOD[:-1]), r"byte 39: expected 40 bytes for uint8 .* found the end of the content"),
    "trailing": (gzip.compress(GOOD + b"abc"), "byte 40: expected the end of the file, found trailing bytes"),
    "truncated": (gzip.compress(GOOD)[:-12], "expected intact gzip data, found corrupt or truncated gzip"),
    "cut off in the checksum": (gzip.compress(GOOD)[:-3], "expected intact gzip data, found corrupt or truncated"),
    "wrong checksum": (gzip.compress(GOOD)[:-8] + bytes(8), "expected intact gzip data, .*CRC"),
    "damaged": (gzip.compress(GOOD)[:10] + b"\xff" * 30, "byte 0 of .*expected intact gzip data, found corrupt"),
    "junk after it": (gzip.compress(GOOD) + b"junk", "byte 40 .*expected intact gzip data, found corrupt"),
}


@pytest.mark.parametrize("case", BAD_GZIP)
def test_bad_gzip_file(tmp_path: Path, case: str) -> None:
    content, message = BAD_GZIP[case]
    with pytest.raises(DataError, match=f"bad-file: .*{message}"):
        read_idx(write(tmp_path / "bad-file", content))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_implausible_dimensions_allocate_nothing(tmp_path: Path, pack: type[bytes]) -> None:
    path = write(tmp_path / "huge", pack(b"\0\0\x0e\x02" + b"\xff" * 8 + bytes(100)))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"float64 elements of shape \(4294967295, 4294967295\), found"):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_gzip_bomb_is_read_one_byte_further_than_its_header_says(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb", gzip.compress(encoded(IMAGES) + bytes(100 << 20), compresslevel=1))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"byte 40: expected the end of the file, found trailing bytes"):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: expected a file that can be opened, found no such file"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"expected a file that can be opened, found a folder"):
        read_idx(tmp_path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3, np.int64), "expected an array of uint8, .*float64, found int64"),
        (np.zeros(3, bool), "found bool"),
        (np.zeros((2, 0), np.uint8), r"at least one dimension, each from 1 .* found shape \(2, 0\)"),
        (np.uint8(3), r"found shape \(\)"),
    ],
)
def test_arrays_that_idx_cannot_hold(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_idx(tmp_path / "a", array)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "a", IMAGES)

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(DataError, match=r"a: expected a file that can be written, found No space left on device"):
        write_idx(tmp_path / "a", IMAGES + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), IMAGES)


def test_write_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a file that can be written, found No such file"):
        write_idx(tmp_path / "missing" / "a", IMAGES)


class TestPairs:
    def pair(self, folder: Path, images: np.ndarray, labels: np.ndarray) -> tuple[Path, Path]:
        write_idx(folder / "images", images)
        write_idx(folder / "labels", labels)
        return folder / "images", folder / "labels"

    def test_good(self, tmp_path: Path) -> None:
        images, labels = read_images_and_labels(*self.pair(tmp_path, IMAGES, np.array([9, 0], np.uint8)), n_classes=10)
        assert images.shape == (2, 3, 4)
        assert labels.tolist() == [9, 0]

    def test_images_that_are_labels(self, tmp_path: Path) -> None:
        labels = np.array([1, 2], np.uint8)
        expected = r"images: byte 2: expected images \(uint8 in 3 dimensions, magic 00 00 08 03\), found uint8 in 1 dim"
        with pytest.raises(DataError, match=expected):
            read_images_and_labels(*self.pair(tmp_path, labels, labels))

    def test_labels_of_another_type(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"labels: byte 2: expected labels .*, found int32 in 1 dimensions"):
            read_images_and_labels(*self.pair(tmp_path, IMAGES, np.array([1, 2], np.int32)))

    def test_counts_differ(self, tmp_path: Path) -> None:
        paths = self.pair(tmp_path, IMAGES, np.array([1, 2, 3], np.uint8))
        with pytest.raises(DataError, match=r"images: expected as many images as .*labels has labels \(3\), found 2"):
            read_images_and_labels(*paths)

    def test_label_out_of_range(self, tmp_path: Path) -> None:
        paths = self.pair(tmp_path, IMAGES, np.array([1, 10], np.uint8))
        with pytest.raises(DataError, match=r"labels: byte 9: expected a label from 0 to 9, found 10"):
            read_images_and_labels(*paths, n_classes=10)
