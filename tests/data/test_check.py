"""``openexpose data check``: what is there, what is missing, and the exit code."""

from pathlib import Path

import numpy as np
import pytest
from tests.data import fixtures as made

from openexpose.cli.data import CheckData, Data, ListData
from openexpose.data.check import READERS, check_dataset, format_findings, read_dataset
from openexpose.errors import InputError

MADE = {
    "curated-fits": (4, 4, 4, 0, 4),
    "ehf": (2, 2, 2, 0, 0),
    "ffhq": (0, 0, 19, 0, 19),
    "freihand": (0, 8, 0, 8, 8),
    "h36m": (2, 0, 0, 2, 2),
    "spin": (3, 0, 0, 0, 3),
    "stirling": (0, 0, 0, 0, 0),
}
"""How many samples have keypoints of the body, of hands, of the face; 3D points; rotations."""
KINDS = ("body keypoints", "hand keypoints", "face keypoints", "3D points", "rotations")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets")
    made.write_all(folder)
    return folder


@pytest.mark.parametrize("name", MADE)
def test_findings_count_labels(datasets: Path, name: str) -> None:
    found = check_dataset(name, datasets / name)
    assert found.complete and found.decoded == min(found.samples, 20) and not found.skipped
    assert tuple(found.labels[kind] for kind in KINDS) == MADE[name]
    assert f"{name} (train): {found.samples} samples" in format_findings(found)


def test_every_reader_tells_an_empty_or_absent_folder(tmp_path: Path) -> None:
    for name in READERS:
        with pytest.raises(InputError):
            read_dataset(name, tmp_path)
        with pytest.raises(InputError, match="no folder"):
            read_dataset(name, tmp_path / "absent")
    with pytest.raises(InputError, match="one of coco"):
        read_dataset("imagenet", tmp_path)


def test_missing_and_damaged_pictures_and_skipped_samples_are_listed(tmp_path: Path, capsys) -> None:
    made.write_freihand(tmp_path, count=30, backgrounds=1)
    rgb = tmp_path / "training" / "rgb"
    for k in range(1, 13):
        (rgb / f"{k:08d}.jpg").unlink()
    (rgb / "00000023.jpg").write_bytes(b"no picture")
    xyz = np.zeros((30, 21, 3)) + [0.0, 0.0, 1.0]
    xyz[13] = np.nan
    (tmp_path / "training_xyz.json").unlink()
    made.write_json(tmp_path / "training_xyz.json", xyz.tolist())
    assert CheckData("freihand", tmp_path).run() == 1
    out = capsys.readouterr().out
    assert "23 samples" in out and "missing pictures: 12" in out and "and 2 more" in out
    assert "00000001.jpg" in out and "00000012.jpg" not in out
    assert "damaged pictures of 11 tried: 1" in out and "00000023" in out
    assert "skipped: 1" in out and "00000013" in out


def test_exit_codes(datasets: Path, tmp_path: Path, capsys) -> None:
    assert Data(CheckData("ffhq", datasets / "ffhq", "val")).run() == 0
    with pytest.raises(InputError, match="training_K"):  # which the command turns into exit code 2
        CheckData("freihand", tmp_path).run()
    made.write_curated_fits(tmp_path)
    made.rewrite(tmp_path / "train.npz", betas=np.full((4, 10), np.nan))
    with pytest.raises(InputError, match=r"no usable sample.*4 skipped.*train_0\.png"):
        CheckData("curated-fits", tmp_path).run()
    assert Data(ListData()).run() == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[-len(READERS) :]] == list(READERS)


def test_the_help_names_every_data_set() -> None:
    source = Path(CheckData.run.__code__.co_filename).read_text("utf-8")
    assert all(name in source for name in READERS)
