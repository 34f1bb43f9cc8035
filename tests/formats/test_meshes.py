"""OBJ and PLY sequences, read back by another program's reader."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from openexpose.body.mesh import posed_mesh
from openexpose.body.model import BodyModel
from openexpose.formats.export import export
from openexpose.motion import Motion, still


def read(path: Path) -> trimesh.Trimesh:
    options = {"maintain_order": True} if path.suffix == ".obj" else {}
    return trimesh.load(path, process=False, **options)


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_every_frame_reads_back(kind: str, tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    paths = export(motion, kind, tmp_path, "walk", body)
    names = [path.relative_to(tmp_path).as_posix() for path in paths]
    assert names == [f"walk_{track.id}_{kind}/{frame:06d}.{kind}" for track in motion.tracks for frame in track.frames]
    for track in motion.tracks:
        people = track.people
        posed = posed_mesh(body, people.pose, people.betas, people.expression)
        shift = people.transl[:, None]
        for frame, vertices, joints in zip(track.frames, posed.vertices + shift, posed.joints + shift, strict=True):
            mesh = read(tmp_path / f"walk_{track.id}_{kind}" / f"{frame:06d}.{kind}")
            np.testing.assert_allclose(mesh.vertices, vertices * (1, -1, -1), atol=2e-6)
            np.testing.assert_array_equal(mesh.faces, body.faces)
            np.testing.assert_allclose(mesh.vertices[body.extra_vertices], joints[55:76] * (1, -1, -1), atol=1e-4)


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_a_lone_part_is_written_alone_and_a_photo_without_folder(
    kind: str, tmp_path: Path, motion: Motion, body: BodyModel
) -> None:
    hands = still(replace(motion.tracks[0].people[:2], part="left-hand"), "a.jpg")
    assert [path.name for path in export(hands, kind, tmp_path, "a", body)] == [f"a_1.{kind}", f"a_2.{kind}"]
    mesh = read(tmp_path / f"a_2.{kind}")
    assert np.ptp(mesh.vertices, axis=0).max() < 0.4 and mesh.faces.max() < len(mesh.vertices) < 3000
