"""Pickles of users are read without running anything in them."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from openexpose.data.arrays import read_npz
from openexpose.data.safe_pickle import SparseMatrix, load_pickle
from openexpose.errors import InputError


class Malicious:
    """Writes a file when it is unpickled the ordinary way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


CONTENT = {
    "v": np.arange(12.0).reshape(4, 3),
    "names": np.array(["a", "b"], dtype=object),
    "order": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "number": np.float64(2.5),
    "plain": OrderedDict(a=[1, 2.0, "x", None, True], b=(b"bytes", {1, 2})),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers_read_back(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps(CONTENT, protocol=protocol))
    found = load_pickle(path)
    for key in ("v", "names", "order"):
        assert (found[key] == CONTENT[key]).all() and found[key].dtype == CONTENT[key].dtype
    assert found["number"] == 2.5 and found["plain"] == CONTENT["plain"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_programs_are_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "was_run"
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps({"v": np.zeros(3), "x": Malicious(trace)}, protocol=protocol))
    with pytest.raises(InputError, match=r"system.*was not run"):
        load_pickle(path)
    assert not trace.exists()


@pytest.mark.parametrize("reference", [eval, getattr, np.load, np.frombuffer, Path, type])
def test_nothing_but_the_listed_names_is_looked_up(tmp_path: Path, reference: object) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps(reference))
    with pytest.raises(InputError, match="wants"):
        load_pickle(path)


def test_object_arrays_in_npz_are_read_the_same_way(tmp_path: Path) -> None:
    path, trace = tmp_path / "names.npz", tmp_path / "was_run"
    np.savez(path, names=np.array(["a.jpg", b"b.jpg"], dtype=object))
    assert read_npz(path, {"names": (None,)})["names"].tolist() == ["a.jpg", "b.jpg"]
    np.savez(path, names=np.array([Malicious(trace)], dtype=object))
    with pytest.raises(InputError, match="system"):
        read_npz(path, {"names": (None,)})
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"junk", pickle.dumps(CONTENT)[:-40], b"\x80\x04Pouter\n."])
def test_damaged_pickles_are_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged\.pkl"):
        load_pickle(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_pickle(tmp_path / "absent.pkl")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("layout", ["csr", "csc", "coo"])
@pytest.mark.parametrize("noun", ["matrix", "array"])
def test_sparse_matrices_become_plain_arrays(tmp_path: Path, protocol: int, layout: str, noun: str) -> None:
    dense = np.random.default_rng(3).normal(size=(5, 7)) * (np.arange(35).reshape(5, 7) % 3 == 0)
    path = tmp_path / "sparse.pkl"
    path.write_bytes(pickle.dumps({"mtx": getattr(scipy.sparse, f"{layout}_{noun}")(dense)}, protocol=protocol))
    found = load_pickle(path)["mtx"]
    assert isinstance(found, SparseMatrix) and found.shape == (5, 7)
    np.testing.assert_array_equal(found.dense(), dense)


def test_a_matrix_becomes_an_array(tmp_path: Path) -> None:
    path = tmp_path / "matrix.pkl"
    path.write_bytes(pickle.dumps(np.asmatrix(np.eye(2)), protocol=2))
    found = load_pickle(path)
    assert type(found) is np.ndarray and (found == np.eye(2)).all()


def test_damaged_sparse_matrices_are_told(tmp_path: Path) -> None:
    path, matrix = tmp_path / "sparse.pkl", scipy.sparse.csr_matrix(np.eye(3))
    matrix.indices[1] = 9
    path.write_bytes(pickle.dumps(matrix))
    with pytest.raises(InputError, match="outside"):
        load_pickle(path).dense()
    path.write_bytes(pickle.dumps(scipy.sparse.lil_matrix(np.eye(3))))
    with pytest.raises(InputError, match="lil_matrix"):
        load_pickle(path)
