"""Checkpoints: what is saved comes back whole; what is not a whole checkpoint of ours is told in one sentence."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from openexpose.errors import InputError
from openexpose.nets.checkpoint import RegressorConfig, build_regressor, load_regressor, read_config, save_regressor
from openexpose.nets.paper import load_paper_part
from openexpose.nets.regressor import IterativeRegressor
from openexpose.nets.trunk import TrunkOutput
from openexpose.predict.parts import SPECS

CONFIG = RegressorConfig("hand", 20, hidden=8, stages=2, feedback=False)


def fresh(seed: int = 0) -> IterativeRegressor:
    torch.manual_seed(seed)
    regressor = build_regressor(CONFIG)
    regressor.mean.copy_(torch.randn(len(regressor.mean)))
    regressor.evidence.std.copy_(torch.rand(20) + 0.5)
    return regressor.eval()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "hand.pt"
    save_regressor(path, fresh(), CONFIG, {"made": "by a test"})
    return path


def refused(path: Path) -> str:
    """The one sentence in which a checkpoint is refused."""
    with pytest.raises(InputError, match="openexpose train") as error:
        load_regressor(path)
    message = str(error.value)
    assert "\n" not in message and str(path) in message
    return message


def rewrite(path: Path, change: Callable[[dict], object]) -> Path:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def test_what_is_saved_comes_back(path: Path) -> None:
    loaded, provenance = load_regressor(path)
    assert provenance == {"made": "by a test"} and not loaded.training
    generator = torch.Generator().manual_seed(1)
    landmarks = torch.randn(3, 2, 3, generator=generator)
    feature, visibility = torch.randn(3, 12, generator=generator), torch.rand(3, 2, generator=generator)
    seen = TrunkOutput(feature, landmarks, visibility, None, visibility[:, 0])
    for got, expected in zip(loaded(seen), fresh()(seen), strict=True):
        torch.testing.assert_close(got, expected, atol=0, rtol=0)
    assert loaded.stages == CONFIG.stages


@pytest.mark.parametrize("part", SPECS)
def test_the_body_model_is_not_stored(part: str, tmp_path: Path) -> None:
    """Feedback reads the body layer, whose arrays are files of their own."""
    config = RegressorConfig(part, 20, hidden=8)
    save_regressor(tmp_path / "a.pt", build_regressor(config), config, {})
    assert (tmp_path / "a.pt").stat().st_size < 100_000
    assert load_regressor(tmp_path / "a.pt")[0].feedback is not None


def test_saving_leaves_nothing_beside_it(path: Path) -> None:
    save_regressor(path, fresh(1), CONFIG, {})
    assert [file.name for file in path.parent.iterdir()] == ["hand.pt"]
    torch.testing.assert_close(load_regressor(path)[0].mean, fresh(1).mean)


def test_a_failed_save_keeps_the_old_checkpoint(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(content: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError("no space left")

    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        save_regressor(path, fresh(1), CONFIG, {})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content["state"].pop("mean"), r"Missing key.*\"mean\""),
        (lambda content: content["state"].update(extra=torch.zeros(1)), r"Unexpected key.*\"extra\""),
        (lambda content: content["state"].update(mean=torch.zeros(3)), "state_dict"),
        (lambda content: content.pop("state"), "state"),
        (lambda content: content.pop("config"), "config"),
        (lambda content: content.pop("provenance"), "provenance"),
        (lambda content: content["config"].update(part="foot"), "foot"),
        (lambda content: content["config"].update(colour=1), "colour"),
        (lambda content: content["config"].update(hidden=16), "state_dict"),
        (lambda content: content["config"].update(feedback=True), "state_dict"),
        (lambda content: content.update(state=[1, 2]), "load"),
    ],
    ids="weight-gone weight-unknown weight-resized state-gone config-gone provenance-gone part-unknown option-unknown "
    "other-width other-feedback state-a-list".split(),
)
def test_loading_is_strict(path: Path, change: Callable[[dict], object], told: str) -> None:
    assert re.search(told, refused(rewrite(path, change)))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path)


@pytest.mark.parametrize("content", [b"text", b"PK\x03\x04" + bytes(40), bytes(100), pickle.dumps({"state": {}})])
def test_what_is_no_checkpoint_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path)


def test_a_checkpoint_of_another_part_is_told(path: Path) -> None:
    assert load_regressor(path, part="hand")[1] == {"made": "by a test"}
    with pytest.raises(InputError, match=r"hand\.pt', which is a checkpoint of the part 'hand'; .* 'face'"):
        load_regressor(path, part="face")


def test_a_checkpoint_of_another_recipe_is_told(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"hand\.pt', which holds .* recipe 'default'; expected .* recipe 'paper'$"):
        load_paper_part(path)
    torch.save({"config": {"part": "hand", "trunk": "resnet18", "recipe": "paper"}}, tmp_path / "paper.pt")
    for load in (load_regressor, read_config):
        with pytest.raises(InputError, match=r"paper\.pt', which holds .* recipe 'paper'; expected .* 'default'$"):
            load(tmp_path / "paper.pt")


def test_no_file_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.pt", tmp_path):
        assert "not a file" in refused(path)


class Intruder:
    """Would run code when it is unpickled."""

    ran: ClassVar[list[str]] = []

    def __reduce__(self) -> tuple[object, ...]:
        return Intruder.ran.append, ("ran",)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_foreign_objects_are_refused_and_not_run(path: Path, save: Callable[[object, Path], object]) -> None:
    content = torch.load(path, weights_only=True)
    content["provenance"] = Intruder()
    save(content, path)
    refused(path)
    assert not Intruder.ran
