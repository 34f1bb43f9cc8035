"""Bundles: what is written is read, and what cannot be read is told."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from openexpose.errors import InputError
from openexpose.predict.bundle import (
    BundleConfig,
    PartConfig,
    Seen,
    Stopwatch,
    default_bundle,
    open_parts,
    open_session,
)
from openexpose.predict.parts import SPECS
from openexpose.predict.pipeline import Predictor

CONFIG = BundleConfig(
    "test",
    "freebody",
    {name: PartConfig(64 + k, 1.5, k == 1, 1 + k, k == 2, 0.25, 0.3) for k, name in enumerate(SPECS)},
    "detector.onnx",
    {"detector.onnx": "made by a test; Ünïcode"},
)


def write(folder: Path, change: Callable[[dict], object] = lambda raw: None) -> Path:
    raw = asdict(CONFIG)
    change(raw)
    (folder / "bundle.json").write_text(json.dumps(raw), "utf-8")
    return folder


def test_what_is_written_is_read(tmp_path: Path, tiny_bundle: Path) -> None:
    assert BundleConfig.read(write(tmp_path)) == CONFIG
    raw = json.loads((tiny_bundle / "bundle.json").read_text("utf-8"))
    assert asdict(BundleConfig.read(tiny_bundle)) == raw
    assert set(raw["provenance"]) == {path.name for path in tiny_bundle.glob("*.onnx")}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda raw: raw["parts"].pop("hand"), "'face'"),
        (lambda raw: raw["parts"].update(foot=raw["parts"]["hand"]), "foot"),
        (lambda raw: raw["parts"]["hand"].pop("size"), "size"),
        (lambda raw: raw["parts"]["hand"].update(colour=1), "colour"),
        (lambda raw: raw.update(parts=[]), "bundle"),
        (lambda raw: raw.pop("parts"), "parts"),
        (lambda raw: raw.pop("name"), "name"),
        (lambda raw: raw.update(version=2), "version"),
    ],
    ids="part-gone part-unknown field-gone field-unknown parts-a-list parts-gone name-gone top-unknown".split(),
)
def test_a_wrong_bundle_json_is_told(tmp_path: Path, change: Callable[[dict], object], told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        BundleConfig.read(write(tmp_path, change))
    assert "bundle.json" in str(error.value) and "\n" not in str(error.value) and error.value.fix


@pytest.mark.parametrize("content", [b"", b"not json", b"[1, 2]", b"\xff\xfe", b'"text"'])
def test_what_is_no_bundle_json_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bundle.json").write_bytes(content)
    with pytest.raises(InputError, match=r"bundle\.json"):
        BundleConfig.read(tmp_path)


def test_a_folder_without_a_bundle_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"without a bundle\.json"):
            Predictor.load(folder)


def test_sessions_tell_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"without 'hand_trunk\.onnx'"):
        open_session(tmp_path / "hand_trunk.onnx", 1, "cpu")
    (tmp_path / "junk.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"'junk\.onnx', which onnxruntime cannot load"):
        open_session(tmp_path / "junk.onnx", 1, "cpu")
    with pytest.raises(InputError, match=r"the device 'abacus'.*'cpu'"):
        open_session(default_bundle() / "detector.onnx", 1, "abacus")


def test_a_device_of_another_build_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InputError, match="the device 'cuda'"):
        open_session(default_bundle() / "detector.onnx", 1, "cuda")


@pytest.mark.parametrize("damage", ["gone", "junk", "part-gone"])
def test_damaged_means_are_told(tiny_bundle: Path, tmp_path: Path, damage: str) -> None:
    for path in tiny_bundle.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    means = tmp_path / "means.npz"
    if damage == "gone":
        means.unlink()
    elif damage == "junk":
        means.write_bytes(b"no arrays")
    else:
        np.savez(means, body=np.zeros(SPECS["body"].size))
    with pytest.raises(InputError, match=r"means\.npz"):
        open_parts(tmp_path, BundleConfig.read(tmp_path), 1, "cpu")


def test_rows_are_chosen_from_two_looks() -> None:
    def seen(value: float, some: bool) -> Seen:
        rows = np.full((3, 4, 3), value)
        optional = (rows, rows[:, 0, 1]) if some else (None, None)
        return Seen(rows[:, :, 0], rows, rows[:, :, 1], optional[0], rows[:, 0, 0], optional[1])

    use = np.array([True, False, True])
    both = seen(0.0, True).where(use, seen(1.0, True))
    for array in vars(both).values():
        np.testing.assert_array_equal(array.reshape(3, -1), np.repeat(use[:, None], array[0].size, 1))
    mixed = seen(0.0, True).where(use, seen(1.0, False))
    assert mixed.world is None and mixed.handedness is None
    np.testing.assert_array_equal(mixed.certainty, mixed.presence)


def test_a_stopwatch_adds_up_and_forgets_nothing() -> None:
    watch = Stopwatch()
    for _ in range(2):
        with watch.stage("a"):
            before = dict(watch.seconds)
    with pytest.raises(KeyError), watch.stage("b"):
        raise KeyError
    assert set(watch.seconds) == {"a", "b"} and watch.seconds["a"] >= before["a"] >= 0
