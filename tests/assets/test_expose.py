"""Import of released weights: a small made-up checkpoint with the released names, narrow networks, no licensed data."""

import pickle
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from tests.assets.released import PREFIX, STATE, VERTICES, Naive, body_buffers, save
from tests.body.toy import save_arrays, toy_arrays
from tests.nets.tiny_paper import SIDE, tiny_part
from torch import Tensor, nn

from openexpose.assets import expose
from openexpose.assets.expose import import_expose, merged_body_model, read_released
from openexpose.cli.main import main
from openexpose.errors import InputError
from openexpose.nets.part import PartNet
from openexpose.predict.bundle import BundleConfig
from openexpose.predict.parts import RECIPES
from openexpose.predict.pipeline import Predictor


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrow networks; the full ones are the same code at other sizes (tests of the oracle)."""
    monkeypatch.setattr(expose, "build_paper_part", tiny_part)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Checkpoint and body model. The model holds names as a pickle, too, as the official one does."""
    folder = tmp_path_factory.mktemp("released")
    arrays = toy_arrays() | {"joint2num": np.array({"pelvis": 0}, dtype=object), "gender": np.array("neutral")}
    checkpoint = save(folder / "data" / "checkpoints" / "model.ckpt", STATE | body_buffers())
    return checkpoint, save_arrays(folder / "SMPLX_NEUTRAL.npz", arrays)


def refused(call: Callable[[], object], out: Path | None = None) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert out is None or not any(out.rglob("*"))
    return str(caught.value)


@pytest.mark.parametrize("part", ["body", "hand", "face"])
@pytest.mark.parametrize("started", [False, True])
def test_the_networks_compute_what_the_released_arrays_say(files, part: str, started: bool) -> None:
    net, naive = read_released(files[0]).parts[part], Naive(part)
    rng = np.random.default_rng(0)
    image = rng.random((2, 3, SIDE[part], SIDE[part]))
    start = rng.normal(size=(2, RECIPES["paper"][part].size)) if started else None
    with torch.no_grad():
        seen, stages = net(torch.tensor(image).float(), None if start is None else torch.tensor(start).float())
    expected = naive.feature(image)
    np.testing.assert_allclose(seen.feature, expected, atol=1e-4)
    for got, stage in zip(stages, naive.parameters(expected, start), strict=True):
        np.testing.assert_allclose(got, stage, atol=1e-3 * max(1.0, np.abs(stage).max()))


def test_the_bundle_computes_the_same(files, tmp_path: Path) -> None:
    """ONNX networks and means of the written bundle against the released arrays; the bundle says what it is."""
    assert import_expose(*files, tmp_path / "out") == ()
    predictor, config = Predictor.load(tmp_path / "out", threads=1), BundleConfig.read(tmp_path / "out")
    assert (config.recipe, config.weak_camera, config.detector) == ("paper", True, "detector.onnx")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*config.provenance, "bundle.json", "means.npz"}
    assert "non-commercial" in config.provenance["hand_head.onnx"]
    rng = np.random.default_rng(1)
    for part, runner in predictor.parts.items():
        image = rng.random((3, 3, SIDE[part], SIDE[part])).astype(np.float32)
        naive, seen = Naive(part), runner.look(image)
        np.testing.assert_allclose(seen.feature, naive.feature(image), atol=1e-4)
        np.testing.assert_array_equal(runner.mean, STATE[f"{PREFIX[part]}regressor.mean_param"][0])
        got = runner.regress(seen, np.repeat(runner.mean[None], 3, 0))
        expected = naive.parameters(seen.feature, None)[-1]
        np.testing.assert_allclose(got, expected, atol=1e-3 * max(1.0, np.abs(expected).max()))


def without(*names: str) -> dict[str, Tensor]:
    return {name: value for name, value in STATE.items() if name not in names}


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (without("smplx.backbone.conv1.weight"), r"smplx\.backbone\.\*: weights without conv1\.weight"),
        (without("smplx.hand_predictor.backbone.bn1.running_var"), r"hand_predictor\.backbone\.\*: .*bn1\.running_var"),
        (without("smplx.regressor.mean_param"), r"without smplx\.regressor\.mean_param"),
        (
            without("smplx.head_predictor.regressor.module.output_layer.bias", "smplx.backbone.bn1.bias"),
            r"bn1\.bias.*without smplx\.head_predictor\.regressor\.module\.output_layer\.bias",
        ),
        (STATE | {"smplx.backbone.conv1.weight": torch.zeros(7, 3, 3, 3)}, r"conv1\.weight \[7, 3, 3, 3\] instead of"),
        (STATE | {"smplx.regressor.module.layer_000.0.weight": torch.zeros(8, 300)}, r"smplx\.regressor\.\*: .*state"),
        (STATE | {"smplx.regressor.module.layer_000.0.weight": torch.zeros(8)}, r"smplx\.regressor\.\*"),
        (
            STATE | {"smplx.hand_predictor.regressor.mean_param": torch.zeros(1, 100)},
            r"hand_predictor\.regressor.*mean",
        ),
        (STATE | {"smplx.head_predictor.backbone.layer9.weight": torch.zeros(2)}, r"unknown layer9\.weight"),
        (
            STATE | {"smplx.regressor.mean_param": torch.full((1, 341), torch.nan)},
            r"NaN .*smplx\.regressor\.mean_param",
        ),
        ({"fc.weight": torch.zeros(2, 2)}, r"without smplx\.regressor\.mean_param"),
    ],
)
def test_what_is_missing_or_of_another_shape_is_named(tmp_path: Path, state: dict[str, Tensor], told: str) -> None:
    path = save(tmp_path / "model.ckpt", state)
    with pytest.raises(InputError, match=told) as caught:
        read_released(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_only_what_nobody_knows_is_reported(tmp_path: Path) -> None:
    strange = {"smplx.shoulder_predictor.weight": torch.zeros(3), "epoch": torch.zeros(1)}
    assert read_released(save(tmp_path / "a.ckpt")).surplus == ()
    assert read_released(save(tmp_path / "b.ckpt", STATE | strange)).surplus == tuple(strange)


@pytest.mark.parametrize("zipped", [False, True])
def test_old_and_new_torch_files_are_read(tmp_path: Path, zipped: bool) -> None:
    """torch wrote no zip files before 1.6, when the released file was made; optimisers and the like may lie in it."""
    optimiser = torch.optim.Adam([nn.Parameter(torch.zeros(3))]).state_dict()
    scheduler = {"milestones": Counter([60, 100]), "gamma": 0.1, "last_epoch": 4}
    content = {"model": STATE, "iteration": 3, "optimizer": optimiser, "scheduler": scheduler}
    torch.save(content, tmp_path / "model.ckpt", _use_new_zipfile_serialization=zipped)
    assert zipfile.is_zipfile(tmp_path / "model.ckpt") == zipped
    mean = read_released(tmp_path / "model.ckpt").parts["hand"].regressor.mean
    torch.testing.assert_close(mean, STATE["smplx.hand_predictor.regressor.mean_param"][0])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_checkpoint_is_refused(files, tmp_path: Path, share: float) -> None:
    content = files[0].read_bytes()
    path = tmp_path / "model.ckpt"
    path.write_bytes(content[: int(share * len(content))])
    told = refused(lambda: import_expose(path, files[1], tmp_path / "out"), tmp_path / "out")
    assert "does not load" in told and "\n" not in told


class Intruder:
    """Would run code when it is unpickled."""

    ran: ClassVar[list[str]] = []

    def __reduce__(self) -> tuple[object, ...]:
        return Intruder.ran.append, ("ran",)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_checkpoint_that_wants_to_run_something_is_refused_and_not_run(files, tmp_path: Path, write) -> None:
    path = tmp_path / "model.ckpt"
    write({"model": STATE, "arguments": Intruder()}, path)
    assert "does not load" in refused(lambda: import_expose(path, files[1], tmp_path / "out"), tmp_path / "out")
    assert not Intruder.ran


def zip_of(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def found_in(source: Path) -> Tensor:
    with expose._checkpoint_in(source) as checkpoint:
        return read_released(checkpoint).parts["body"].regressor.mean


def test_folder_zip_and_file_are_the_same(files, tmp_path: Path) -> None:
    content, junk = files[0].read_bytes(), {"data/conf.yaml": b"a: 1", "__MACOSX/data/._model.ckpt": b"junk"}
    archive = zip_of(tmp_path / "expose_data.zip", {"data/checkpoints/model.ckpt": content, **junk})
    (files[0].parent / "latest_checkpoint").write_text("data/checkpoints/model.ckpt")
    for source in (files[0], files[0].parent, files[0].parents[1], archive):
        torch.testing.assert_close(found_in(source), STATE["smplx.regressor.mean_param"][0])


def test_of_several_checkpoints_the_released_one_counts(files, tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(files[0].read_bytes())
    (tmp_path / "older.ckpt").write_bytes(b"")
    found_in(tmp_path)
    (tmp_path / "model.ckpt").rename(tmp_path / "newer.ckpt")
    assert "with 2 checkpoints" in refused(lambda: found_in(tmp_path))
    archive = zip_of(tmp_path / "data.zip", {"a/model.ckpt": b"", "b/model.ckpt": b""})
    assert "with 2 checkpoints" in refused(lambda: found_in(archive))


def damaged_zip(path: Path) -> Path:
    zip_of(path, {"data/model.ckpt": bytes(np.random.default_rng(0).integers(0, 256, 5000, np.uint8))})
    content = bytearray(path.read_bytes())
    content[100:3000] = bytes(2900)
    path.write_bytes(bytes(content))
    return path


def encrypted_zip(path: Path) -> Path:
    zip_of(path, {"data/model.ckpt": b"secret"})
    content = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: folder / "nowhere", "does not exist"),
        (lambda folder: folder, "with 0 checkpoints"),
        (lambda folder: zip_of(folder / "a.zip", {"readme.txt": b"hello"}), "does not load"),
        (lambda folder: damaged_zip(folder / "a.zip"), "cannot be unpacked"),
        (lambda folder: encrypted_zip(folder / "a.zip"), "cannot be unpacked"),
        (lambda folder: folder / "text.ckpt", "does not load"),
    ],
)
def test_sources_without_a_checkpoint_are_told(tmp_path: Path, make: Callable[[Path], Path], told: str) -> None:
    source = make(tmp_path)
    if source.suffix == ".ckpt":
        source.write_text("not weights")
    message = refused(lambda: found_in(source))
    assert told in message and "\n" not in message


def test_body_buffers_come_from_whom_one_says(files) -> None:
    buffers, plain = read_released(files[0]).buffers, toy_arrays()
    mine = merged_body_model(files[1], buffers, "file")
    assert "joint2num" not in mine and "gender" not in mine
    for name, value in plain.items():
        np.testing.assert_array_equal(mine[name], value.astype(mine[name].dtype))
    theirs = merged_body_model(files[1], buffers, "checkpoint")
    same = {
        "v_template": "v_template", "J_regressor": "J_regressor", "weights": "lbs_weights", "f": "faces_tensor",
        "lmk_faces_idx": "lmk_faces_idx", "lmk_bary_coords": "lmk_bary_coords",
        "dynamic_lmk_faces_idx": "dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords": "dynamic_lmk_b_coords",
    }  # fmt: skip
    for name, buffer in same.items():
        np.testing.assert_allclose(theirs[name], buffers[buffer].numpy(), rtol=1e-6)
        assert not np.array_equal(theirs[name], mine[name])
    columns = np.arange(400.0)
    columns[:10] += 500.0
    columns[300:310] = 700.0 + np.arange(10)
    np.testing.assert_array_equal(theirs["shapedirs"], np.broadcast_to(columns, (VERTICES, 3, 400)))
    pose = np.zeros((VERTICES, 3, 486), np.float32)
    pose[8, 2, 17] = 0.75
    np.testing.assert_array_equal(theirs["posedirs"], pose)
    np.testing.assert_array_equal(theirs["kintree_table"], mine["kintree_table"])


def test_a_narrow_file_of_smplx_1_0_will_do(files, tmp_path: Path) -> None:
    """20 columns: 10 of shape, then 10 of expression."""
    arrays = toy_arrays()
    narrow = save_arrays(tmp_path / "narrow.npz", arrays | {"shapedirs": arrays["shapedirs"][..., :20]})
    buffers = read_released(files[0]).buffers
    merged = merged_body_model(narrow, buffers, "checkpoint")["shapedirs"]
    assert merged.shape[-1] == 20
    np.testing.assert_allclose(merged[..., :10], buffers["shapedirs"].numpy())
    np.testing.assert_allclose(merged[..., 10:], buffers["expr_dirs"].numpy())


@pytest.mark.parametrize("source", ["file", "checkpoint"])
def test_the_bundles_body_model_is_the_chosen_one(files, tmp_path: Path, source, monkeypatch) -> None:
    monkeypatch.setattr(expose, "export_plain_part", lambda *_: None)
    import_expose(*files, tmp_path, source)
    with np.load(tmp_path / "body_model.npz") as content:
        mean = content["v_template"].mean()
    assert (mean > 0.5) == (source == "checkpoint")
    assert source in BundleConfig.read(tmp_path).provenance["body_model.npz"]


def body_file(path: Path, **changes: np.ndarray) -> Path:
    return save_arrays(path, toy_arrays() | changes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: {"v_template": a["v_template"][:6890]}, "6890 vertices"),
        (lambda a: {"shapedirs": a["shapedirs"][..., :16]}, "16 columns"),
        (lambda a: {"weights": a["weights"][:, :24]}, "'weights' of shape"),
        (lambda a: {"f": a["f"][:20], "lmk_faces_idx": a["lmk_faces_idx"] % 20,
                    "dynamic_lmk_faces_idx": a["dynamic_lmk_faces_idx"] % 20}, "'f' of shape"),
    ],
)  # fmt: skip
def test_another_body_model_is_refused(files, tmp_path: Path, change: Callable[[dict], dict], told: str) -> None:
    path, out = body_file(tmp_path / "body.npz", **change(toy_arrays())), tmp_path / "out"
    assert told in refused(lambda: import_expose(files[0], path, out), out)


def test_a_body_model_with_more_vertices_is_refused(files, tmp_path: Path) -> None:
    arrays, count = toy_arrays(), VERTICES + 1
    for name in ("v_template", "shapedirs", "posedirs", "weights"):
        arrays[name] = np.concatenate([arrays[name], arrays[name][:1]])
    arrays["J_regressor"] = np.pad(arrays["J_regressor"], [(0, 0), (0, 1)])
    path, out = save_arrays(tmp_path / "body.npz", arrays), tmp_path / "out"
    told = refused(lambda: import_expose(files[0], path, out), out)
    assert f"({count}, 3)" in told and f"({VERTICES}, 3)" in told


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_what_is_no_body_model_is_refused(files, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "body.npz").write_bytes(content)
    for name in ("body.npz", "nowhere.npz"):
        refused(lambda name=name: import_expose(files[0], tmp_path / name, tmp_path / "out"), tmp_path / "out")


def test_nothing_is_left_of_an_export_that_fails(files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(net: PartNet, side_px: int, folder: Path, origin: str) -> None:
        (folder / f"{net.spec.name}_trunk.onnx").write_bytes(b"half")
        if net.spec.name == "face":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(expose, "export_plain_part", export)
    told = refused(lambda: import_expose(*files, tmp_path / "out"), tmp_path / "out")
    assert "No space left" in told


def test_command_line(files, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expose, "export_plain_part", lambda *_: None)
    out = tmp_path / "out"
    words = ["import-expose", str(files[0].parents[1]), "--body-model", str(files[1]), "--out", str(out)]
    assert main(words) == 0
    told = capsys.readouterr()
    assert f"--bundle {out}" in told.out and not told.err
    path = save(tmp_path / "strange.ckpt", STATE | {"smplx.tail.weight": torch.zeros(1)})
    assert main([words[0], str(path), *words[2:], "--body-buffers", "file"]) == 0
    assert "1 arrays of the checkpoint" in (err := capsys.readouterr().err) and "smplx.tail.weight" in err


@pytest.mark.parametrize("missing", ["checkpoint", "body model"])
def test_command_line_tells_bad_input_in_one_line(files, tmp_path: Path, capsys, missing: str) -> None:
    source, model = (tmp_path / "no" if missing == "checkpoint" else files[0]), tmp_path / "no.npz"
    assert main(["import-expose", str(source), "--body-model", str(model), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert not told.out and told.err.startswith("openexpose: ") and told.err.count("\n") == 1
    assert not any((tmp_path / "out").iterdir())
