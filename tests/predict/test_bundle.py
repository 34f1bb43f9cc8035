"""Bundles: what is written is read, and what cannot be read is told."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.conftest import EXAMPLE, EXAMPLE_BOXES

from openexpose.errors import InputError
from openexpose.image.read import read_image
from openexpose.predict.bundle import (
    BundleConfig,
    PartConfig,
    Seen,
    Stopwatch,
    default_bundle,
    fast_bundle,
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


def based(folder: Path, **content: object) -> BundleConfig:
    (folder / "bundle.json").write_text(json.dumps({"name": "based", "base": "default"} | content), "utf-8")
    return BundleConfig.read(folder)


def test_a_bundle_with_a_base_tells_what_differs(tmp_path: Path) -> None:
    base = BundleConfig.read(default_bundle())
    assert based(tmp_path) == replace(base, name="based", base="default")
    body = asdict(base.parts["body"]) | {"looks": 1}
    content = {"parts": {"body": body}, "provenance": {"body_head.onnx": "made by a test"}}
    config = based(tmp_path, **content)
    assert config.parts == base.parts | {"body": PartConfig(**body)}
    assert config.provenance == base.provenance | content["provenance"] and config.detector == base.detector
    assert json.loads(config.json()) == {"name": "based", "base": "default"} | content
    assert json.loads(CONFIG.json()) == asdict(CONFIG), "without a base everything is told"


def test_files_are_a_bundles_own_or_its_bases(tmp_path: Path) -> None:
    config = based(tmp_path)
    (tmp_path / "body_head.onnx").write_bytes(b"own")
    assert config.file(tmp_path, "body_head.onnx") == tmp_path / "body_head.onnx"
    assert config.file(tmp_path, "hand_head.onnx") == default_bundle() / "hand_head.onnx"
    assert CONFIG.file(tmp_path, "hand_head.onnx") == tmp_path / "hand_head.onnx"


@pytest.mark.parametrize("base", ["fast", "..", 3, {}, ""])
def test_an_unknown_base_is_told(tmp_path: Path, base: object) -> None:
    with pytest.raises(InputError, match="the base") as error:
        based(tmp_path, base=base)
    assert "'default'" in str(error.value) and "\n" not in str(error.value)


def test_the_fast_bundle_has_a_smaller_body_network_and_all_else_of_the_default() -> None:
    own = {"bundle.json", "means.npz", "body_trunk.onnx", "body_head.onnx"}
    assert {path.name for path in fast_bundle().iterdir() if path.is_file()} == own
    fast, default = BundleConfig.read(fast_bundle()), BundleConfig.read(default_bundle())
    assert fast.json() == (fast_bundle() / "bundle.json").read_text("utf-8")
    assert (fast.name, fast.body_model, fast.detector) == ("fast", "freebody", default.detector)
    assert "pose_landmark_full" in fast.provenance["body_trunk.onnx"]
    sizes = [(folder / "body_trunk.onnx").stat().st_size for folder in (fast_bundle(), default_bundle())]
    assert sizes[0] < sizes[1] / 2
    runners = [open_parts(*pair, 1, "cpu") for pair in ((fast_bundle(), fast), (default_bundle(), default))]
    for part in SPECS:
        one, other = (some[part].mean for some in runners)
        assert part == "body" or np.array_equal(one, other)


def test_the_fast_bundle_sees_the_same_person() -> None:
    pixels, (_, box) = read_image(EXAMPLE).pixels, EXAMPLE_BOXES
    seen = []
    for folder in (default_bundle(), fast_bundle()):
        predictor = Predictor.load(folder)
        people = predictor(pixels, boxes=box[None])
        assert np.isfinite(predictor.mesh(people)).all()
        seen.append(predictor.trunk_points(0)["body"])
    clear = (seen[0][:, 2] > 0.5) & (seen[1][:, 2] > 0.5)
    apart = np.linalg.norm(seen[0][clear, :2] - seen[1][clear, :2], axis=-1)
    assert clear.sum() >= 5 and apart.mean() < 0.05 * (box[2:] - box[:2]).max()


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
