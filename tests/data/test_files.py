"""load_dataset and read_features on files of every format, and what they say about bad ones."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastfnn.data import DATASETS, Dataset, csv_files, load_dataset, read_features, write_idx
from fastfnn.errors import DataError

X = np.arange(24, dtype=np.float32).reshape(8, 3)
Y = np.arange(8) % 2
IMAGES = np.arange(8 * 6, dtype=np.uint8).reshape(8, 2, 3)


def write(path: Path, text: str | bytes) -> Path:
    content = text.encode() if isinstance(text, str) else text
    pack = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(content))
    return path


def load(path: Path, **options: Any) -> Dataset:
    return load_dataset(path, **{"validation": None, **options})


class TestNames:
    def test_registry(self) -> None:
        assert list(DATASETS) == ["mnist", "fashion-mnist", "digits"]
        assert all(info.description and info.licence and info.source for info in DATASETS.values())
        assert [name for name, info in DATASETS.items() if info.offline] == ["mnist", "digits"]

    def test_unknown_name(self) -> None:
        expected = (
            "mnits: expected a file, a folder or one of mnist, fashion-mnist, digits, found no such file; did you"
        )
        with pytest.raises(DataError, match=f"{expected} mean 'mnist'"):
            load_dataset("mnits")

    def test_dataset_comes_back_as_it_is(self) -> None:
        data = Dataset.from_arrays(X, Y)
        assert load_dataset(data) is data

    def test_options_of_files_for_a_name(self) -> None:
        with pytest.raises(DataError, match=r"digits: expected no options of files .* found scale, label_column"):
            load_dataset("digits", scale=2.0, label_column=3)

    def test_unknown_format(self, tmp_path: Path) -> None:
        with pytest.raises(
            DataError, match=r"data.xlsx: expected a folder of IDX files .* found a file of type '.xlsx'"
        ):
            load(write(tmp_path / "data.xlsx", "?"))

    def test_unknown_option(self, tmp_path: Path) -> None:
        path = write(tmp_path / "data.csv", "1,2,0\n3,4,1\n")
        message = "options of its format .label_column, header, test., found 'label_colum'; did you mean 'label_column'"
        with pytest.raises(DataError, match=message):
            load(path, label_colum=0)


class TestIdxFolder:
    def fill(self, folder: Path, suffix: str = "", test: bool = True) -> Path:
        for part, n in (("train", 8), ("t10k", 4))[: 1 + test]:
            write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", IMAGES[:n])
            write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", Y[:n].astype(np.uint8) + 5)
        return folder

    @pytest.mark.parametrize("suffix", ["", ".gz"])
    def test_folder(self, tmp_path: Path, suffix: str) -> None:
        data = load(self.fill(tmp_path, suffix))
        assert data.classes.tolist() == [5, 6]
        assert data.image_shape == (2, 3)
        assert data.test is not None
        assert len(data.test) == 4

    def test_one_of_the_files_stands_for_the_folder(self, tmp_path: Path) -> None:
        assert len(load(self.fill(tmp_path) / "t10k-labels-idx1-ubyte").train) == 8

    def test_without_test_files(self, tmp_path: Path) -> None:
        assert load(self.fill(tmp_path, test=False)).test is None

    def test_missing_member(self, tmp_path: Path) -> None:
        (self.fill(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
        with pytest.raises(DataError, match=r"expected an IDX file named t10k-labels-idx1-ubyte.*, found t10k-images"):
            load(tmp_path)

    def test_folder_without_idx_files(self, tmp_path: Path) -> None:
        with pytest.raises(
            DataError, match=r"expected an IDX file named train-images-idx3-ubyte .*, found no such file"
        ):
            load(tmp_path)

    def test_test_labels_that_train_lacks_name_the_file(self, tmp_path: Path) -> None:
        write_idx(self.fill(tmp_path) / "t10k-labels-idx1-ubyte", np.full(4, 9, np.uint8))
        with pytest.raises(
            DataError, match=r"t10k-labels-idx1-ubyte: expected labels that .* \(5, 6\), found 9 at row 0"
        ):
            load(tmp_path)


class TestNpz:
    def test_one_pair(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", X=IMAGES, y=np.array(["a", "b"])[Y])
        data = load(tmp_path / "a.npz", validation=0.25)
        assert data.classes.tolist() == ["a", "b"]
        assert data.image_shape == (2, 3)
        assert (len(data.train), data.test) == (6, None)
        assert data.name == "a.npz"

    def test_train_and_test(self, tmp_path: Path) -> None:
        np.savez_compressed(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X[:3], y_test=Y[:3])
        data = load(tmp_path / "a.npz")
        assert data.test is not None
        assert len(data.test) == 3

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"a": X}, "a.npz: expected arrays x_train and y_train, or X and y, found a$"),
            ({"X": X}, "a.npz: expected an array y, found x$"),
            ({"X": X, "y": Y, "x_test": X}, "a.npz: expected an array y_test, found x, x_test, y"),
            ({"X": X, "y": Y[:3]}, "a.npz: y: expected 8 labels, one for each row of .*a.npz: x, found 3"),
            (
                {"X": X.astype(object), "y": Y},
                "a.npz: expected NumPy arrays without Python objects, found Object arrays",
            ),
        ],
    )
    def test_bad_contents(self, tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(DataError, match=message):
            load(tmp_path / "a.npz")

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"text"])
    def test_damaged(self, tmp_path: Path, content: bytes) -> None:
        with pytest.raises(DataError, match=r"a.npz: expected NumPy arrays without Python objects, found"):
            load(write(tmp_path / "a.npz", content))

    def test_corrupt_member(self, tmp_path: Path) -> None:
        np.savez_compressed(tmp_path / "a.npz", X=np.random.default_rng(0).random((50, 9)), y=np.arange(50) % 2)
        content = bytearray((tmp_path / "a.npz").read_bytes())
        content[200:260] = bytes(60)
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"a.npz: expected NumPy arrays"):
            load(tmp_path / "a.npz")


HEADED = "a,label,b\n1,x,2.5\n3,y,4\n\n5,x,-6e0\n"


class TestCsv:
    @pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
    def test_header_and_string_labels(self, tmp_path: Path, name: str) -> None:
        data = load(write(tmp_path / name, HEADED))
        assert data.train.features.dtype == np.float32
        assert data.train.features.tolist() == [[1, 2.5], [3, 4], [5, -6]]
        assert data.classes[data.train.labels].tolist() == ["x", "y", "x"]
        assert data.scale == 1.0

    @pytest.mark.parametrize("title", ["label", "Class", "TARGET", "y"])
    def test_label_names(self, tmp_path: Path, title: str) -> None:
        data = load(write(tmp_path / "a.csv", f"{title},0,1\n7,1,2\n8,3,4\n"))
        assert data.classes.tolist() == [7, 8]
        assert data.train.features.tolist() == [[1, 2], [3, 4]]

    def test_without_header_the_last_column_is_the_label(self, tmp_path: Path) -> None:
        data = load(write(tmp_path / "a.csv", "1,2,7\n3,4,8\n"))
        assert data.classes.tolist() == [7, 8]
        assert data.classes.dtype == np.int64

    def test_header_without_label_name(self, tmp_path: Path) -> None:
        assert load(write(tmp_path / "a.csv", "width,height,kind\n1,2,7\n3,4,8\n")).classes.tolist() == [7, 8]

    @pytest.mark.parametrize("column", [0, -3, "kind"])
    def test_label_column(self, tmp_path: Path, column: str | int) -> None:
        data = load(write(tmp_path / "a.csv", "kind,a,b\n7,1,2\n8,3,4\n"), label_column=column)
        assert data.train.features.tolist() == [[1, 2], [3, 4]]

    def test_forced_header(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "0,1,2\n1,2,7\n3,4,8\n")
        assert len(load(path).train) == 3
        assert len(load(path, header=True).train) == 2

    def test_byte_order_mark_quotes_and_carriage_returns(self, tmp_path: Path) -> None:
        data = load(write(tmp_path / "a.csv", b'\xef\xbb\xbf"label","a"\r\n"x, y","1"\r\n"z","2"\r\n'))
        assert data.classes.tolist() == ["x, y", "z"]

    def test_second_file_for_test(self, tmp_path: Path) -> None:
        test = write(tmp_path / "test.csv", "a,label,b\n9,y,9\n")
        data = load(write(tmp_path / "a.csv", HEADED), test=test)
        assert data.test is not None
        assert data.test.labels.tolist() == [1]

    def test_large_integer_labels_stay_exact(self, tmp_path: Path) -> None:
        data = load(write(tmp_path / "a.csv", f"1,{2**60}\n2,{2**60 + 1}\n"))
        assert data.classes.tolist() == [2**60, 2**60 + 1]

    def test_fast_path_reads_in_blocks_like_the_strict_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(csv_files, "BLOCK_LINES", 5)
        table = np.random.default_rng(0).standard_normal((23, 4)).round(4)
        labels = np.arange(23) % 3
        text = "\n".join(",".join(map(str, [*row, label])) for row, label in zip(table, labels, strict=True))
        fast = load(write(tmp_path / "a.csv", text))
        monkeypatch.setattr(csv_files, "_read_numbers", csv_files._read_strictly)
        strict = load(tmp_path / "a.csv")
        assert fast.fingerprint == strict.fingerprint
        np.testing.assert_array_equal(fast.train.features, table.astype(np.float32))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1,2,0\n3,?,1\n", r"a.csv: line 2, column 2: expected a finite number, found '\?'"),
            ("a,b,label\n1,2,0\n\n3,,1\n", r"a.csv: line 4, column 2 \('b'\): expected a finite number, found ''"),
            ("a,label,b\n1,0,2\n1,0,nan\n", r"a.csv: line 3, column 3 \('b'\): expected a finite number, found 'nan'"),
            ("1,2,0\n3,inf,1\n", "line 2, column 2: expected a finite number, found 'inf'"),
            ("1,2,0\n3,1e39,1\n", "line 2, column 2: expected a finite number, found '1e39'"),
            ("1,2,0\n3,4\n", "a.csv: line 2: expected 3 cells, as in the first line, found 2"),
            ("1,2,0\n3,4,5,1\n", "a.csv: line 2: expected 3 cells, as in the first line, found 4"),
            ("a,label\n1,x\n2, \n", r"a.csv: line 3, column 2 \('label'\): expected a label, found an empty cell"),
            ("1,0.5\n2,0.25\n", "a.csv: labels: expected labels that are whole numbers, found 0.5 at row 0"),
            ("1,nan\n2,1\n", "a.csv: labels: expected labels that are whole numbers, found nan at row 0"),
            ("1,x\n2,x\n", "a.csv: labels: expected at least two classes, found one only, 'x'"),
            ("", "a.csv: expected at least one row, found an empty file"),
            ("\n\n", "a.csv: expected at least one row, found an empty file"),
            ("a,label\n", "a.csv: expected at least one row, found a header only"),
            ("1\n2\n", "a.csv: expected at least one column of features, found 1 column"),
        ],
    )
    def test_errors(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            load(write(tmp_path / "a.csv", text))

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            ("lable", r"expected a label column 'lable', found \['a', 'label', 'b'\]; did you mean 'label'"),
            (3, "expected a label column 3, found 3 columns"),
        ],
    )
    def test_wrong_label_column(self, tmp_path: Path, column: str | int, message: str) -> None:
        with pytest.raises(DataError, match=message):
            load(write(tmp_path / "a.csv", HEADED), label_column=column)

    def test_not_text(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"a.csv: expected UTF-8 text, found byte 0xff"):
            load(write(tmp_path / "a.csv", b"1,2\n\xff\xfe,3\n"))

    def test_corrupt_gzip(self, tmp_path: Path) -> None:
        write(tmp_path / "a.csv.gz", "1,2,0\n" * 1000)
        content = (tmp_path / "a.csv.gz").read_bytes()
        (tmp_path / "a.csv.gz").write_bytes(content[:-10])
        with pytest.raises(DataError, match=r"a.csv.gz: byte \d+ .*expected intact gzip data"):
            load(tmp_path / "a.csv.gz")


SVM = "0 1:1.5 3:2 # a comment\n1 2:4\n0 3:-1\n"


class TestSvmlight:
    @pytest.mark.parametrize("name", ["a.svm", "a.svmlight", "a.libsvm", "a.svm.gz", "a.svm.bz2"])
    def test_formats(self, tmp_path: Path, name: str) -> None:
        data = load(write(tmp_path / name, SVM))
        assert data.train.features.toarray().tolist() == [[1.5, 0, 2], [0, 4, 0], [0, 0, -1]]
        assert data.train.features.dtype == np.float32
        assert data.train.labels.tolist() == [0, 1, 0]

    def test_second_file_for_test_has_the_same_columns(self, tmp_path: Path) -> None:
        data = load(write(tmp_path / "a.svm", SVM), test=write(tmp_path / "t.svm", "1 1:5\n"))
        assert data.test is not None
        assert data.test.features.toarray().tolist() == [[5, 0, 0]]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("0 1:1\n1 two:2\n", "a.svm: line 2: expected a label and column:value pairs, found '1 two:2'"),
            ("0 1:1\ncat 2:2\n", "a.svm: line 2: expected a label and column:value pairs, found 'cat 2:2'"),
            ("", "a.svm: expected at least one row, found none"),
            ("# nothing\n", "a.svm: expected at least one row, found none"),
            ("0 1:1\n0.5 1:2\n", "a.svm: labels: expected labels that are whole numbers, found 0.5 at row 1"),
            ("0 2:1 1:1\n1 1:2\n", "a.svm: expected SVMlight data, found an error of its reader .*sorted"),
        ],
    )
    def test_errors(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            load(write(tmp_path / "a.svm", text))

    @pytest.mark.parametrize("name", ["a.svm.gz", "a.svm.bz2"])
    def test_damaged_compression(self, tmp_path: Path, name: str) -> None:
        content = write(tmp_path / name, SVM * 100).read_bytes()
        (tmp_path / name).write_bytes(content[:-10])
        with pytest.raises(DataError, match=f"{name}: expected intact compressed data, found"):
            load(tmp_path / name)
        (tmp_path / name).write_bytes(b"text")
        with pytest.raises(DataError, match=f"{name}: expected"):
            load(tmp_path / name)


class TestReadFeatures:
    def test_idx_images(self, tmp_path: Path) -> None:
        write_idx(tmp_path / "images.gz", IMAGES)
        features = read_features(tmp_path / "images.gz")
        assert features.dtype == np.uint8
        np.testing.assert_array_equal(features, IMAGES.reshape(8, 6))

    def test_npy_and_npz(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", X)
        np.savez(tmp_path / "a.npz", X=X)
        for name in ("a.npy", "a.npz"):
            np.testing.assert_array_equal(read_features(tmp_path / name), X)

    def test_csv_without_labels(self, tmp_path: Path) -> None:
        assert read_features(write(tmp_path / "a.csv", "1,2\n3,4\n")).tolist() == [[1, 2], [3, 4]]

    def test_csv_label_column_is_left_out(self, tmp_path: Path) -> None:
        assert read_features(write(tmp_path / "a.csv", HEADED)).tolist() == [[1, 2.5], [3, 4], [5, -6]]

    def test_svmlight(self, tmp_path: Path) -> None:
        assert read_features(write(tmp_path / "a.svm", SVM), n_features=5).shape == (3, 5)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.csv", b"1,2\n3,x\n", "a.csv: line 2, column 2: expected a finite number, found 'x'"),
            ("a.npz", b"", "a.npz: expected NumPy arrays without Python objects"),
            ("a.npy", b"junk", "a.npy: expected NumPy arrays without Python objects"),
            ("a.bin", b"junk", "a.bin: byte 0: expected an IDX magic number that starts with 00 00"),
        ],
    )
    def test_errors(self, tmp_path: Path, name: str, content: bytes, message: str) -> None:
        with pytest.raises(DataError, match=message):
            read_features(write(tmp_path / name, content))

    def test_wrong_number_of_features(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"a.csv: expected 3 features, found 2"):
            read_features(write(tmp_path / "a.csv", "1,2\n3,4\n"), n_features=3)

    def test_npz_without_features(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", data=X)
        with pytest.raises(DataError, match=r"a.npz: expected an array X, found data"):
            read_features(tmp_path / "a.npz")

    def test_npz_that_holds_a_single_array(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", X)
        (tmp_path / "a.npy").rename(tmp_path / "a.npz")
        with pytest.raises(DataError, match=r"a.npz: expected an NPZ archive, found a single array"):
            read_features(tmp_path / "a.npz")

    def test_nan_in_npy(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.array([[1, np.nan]]))
        with pytest.raises(DataError, match=r"a.npy: expected finite numbers, found nan at row 0, column 1"):
            read_features(tmp_path / "a.npy")

    def test_no_file_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"none.csv: expected IDX images, .*, found no such file"):
            read_features(tmp_path / "none.csv")
        with pytest.raises(DataError, match=r"found a folder"):
            read_features(tmp_path)
