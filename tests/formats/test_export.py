"""What is common to all formats: names, models, folders, and files that read back as motions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from openexpose.body.model import BodyModel
from openexpose.cli.export import Format
from openexpose.errors import InputError
from openexpose.formats.export import FORMATS, export
from openexpose.formats.tracks import read_motion
from openexpose.motion import Motion, still

OURS = ("npz", "expose", "amass", "obj", "ply", "joints-json", "joints-csv", "openpose", "mediapipe")


def test_the_command_line_offers_every_format() -> None:
    assert get_args(Format) == (*FORMATS, "html")


@pytest.mark.parametrize("name", OURS)
def test_the_files_that_are_told_are_those_that_are_there(
    name: str, tmp_path: Path, motion: Motion, body: BodyModel
) -> None:
    for place, people, stem in ((tmp_path / "clip", motion, "walk"), (tmp_path / "photo", photo(motion), "still")):
        paths = export(people, name, place, stem, body)
        assert sorted(paths) == sorted(path for path in place.rglob("*") if path.is_file())
        assert all(path.relative_to(place).parts[0].startswith(stem) for path in paths)


@pytest.mark.parametrize("name", OURS)
def test_nobody_is_no_error(name: str, tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    paths = export(replace(motion, tracks=()), name, tmp_path, "walk", body)
    by_person = name in ("npz", "expose", "amass", "obj", "ply")
    assert len(paths) == (0 if by_person else 6 if name in ("openpose", "mediapipe") else 1)
    for path in paths:
        if path.suffix == ".json":
            assert json.loads(path.read_text())


def photo(motion: Motion) -> Motion:
    return still(motion.tracks[0].people[:2], "still.jpg")


def test_npz_reads_back(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    back = read_motion(export(motion, "npz", tmp_path, "walk", body))
    for ours, theirs in zip(motion.tracks, back.tracks, strict=True):
        assert ours.id == theirs.id
        np.testing.assert_array_equal(ours.frames, theirs.frames)
        np.testing.assert_array_equal(ours.people.pose, theirs.people.pose)
    (path,) = export(photo(motion), "npz", tmp_path, "still", body)
    assert [track.id for track in read_motion([path]).tracks] == [1, 2]


def test_unknown_formats_and_other_models_are_refused(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    with pytest.raises(InputError, match=r"'fbx'.*glb"):
        export(motion, "fbx", tmp_path, "walk", body)
    with pytest.raises(InputError, match=r"'freebody' for 'SMPLX_MALE'.*Leave out --body-model"):
        export(motion, "obj", tmp_path, "walk", replace(body, name="SMPLX_MALE"))
    track = motion.tracks[0]
    other = replace(track, people=replace(track.people, body_model="SMPLX_NEUTRAL"))
    with pytest.raises(InputError, match=r"--body-model SMPLX_NEUTRAL\.npz"):
        export(replace(motion, tracks=(other,)), "obj", tmp_path, "walk", body)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", OURS)
def test_places_that_cannot_be_written_are_told(name: str, tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        export(motion, name, tmp_path / "file", "walk", body)
