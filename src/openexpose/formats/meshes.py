"""Meshes as OBJ (text) or PLY (binary) files, one a frame and person, as sequences for any 3D program.

Axes are those of our GLB: x right, y up, z towards the camera, which is at the origin; metres.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.model import BodyModel
from openexpose.body.part import part_surface
from openexpose.formats.atomic import check_writable, write_whole
from openexpose.formats.moments import is_still, meshes
from openexpose.motion import Clip, Track

Array = np.ndarray

_TO_Y_UP = np.array([1.0, -1.0, -1.0], np.float32)


def write_obj(path: Path, vertices_m: Float[Array, "v 3"], faces: Int[Array, "f 3"]) -> None:
    """Write a mesh as OBJ, rounded to 0.001 mm.

    Args:
        path: the file to make.
        vertices_m: camera frame, metres.
        faces: triangles, counter-clockwise seen from outside.

    Raises:
        InputError: the file cannot be written.
    """
    points = (vertices_m * _TO_Y_UP).ravel().tolist()
    text = ("v %.6f %.6f %.6f\n" * len(vertices_m)) % tuple(points)
    text += ("f %d %d %d\n" * len(faces)) % tuple((faces + 1).ravel().tolist())
    write_whole(path, f"# openexpose: metres, y up\n{text}".encode())


def write_ply(path: Path, vertices_m: Float[Array, "v 3"], faces: Int[Array, "f 3"]) -> None:
    """Write a mesh as binary PLY. Arguments and errors as :func:`write_obj`."""
    header = (
        "ply\nformat binary_little_endian 1.0\ncomment openexpose: metres, y up\n"
        f"element vertex {len(vertices_m)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, faces
    write_whole(path, header.encode() + (vertices_m * _TO_Y_UP).astype("<f4").tobytes() + rows.tobytes())


def write_meshes(out: Path, stem: str, clip: Clip, track: Track, model: BodyModel, kind: str) -> list[Path]:
    """Write a person's meshes: of a clip ``STEM_obj/000012.obj`` for frame 12, of a photo ``STEM.obj``; of a lone part
    only that.

    Args:
        out: folder to write into.
        stem: what files are named after.
        clip: tells photos from clips.
        track: the person.
        model: the person's body model.
        kind: ``obj`` or ``ply``.

    Returns:
        The files, by frame.

    Raises:
        InputError: a file cannot be written.
    """
    single = is_still(clip)
    folder = out if single else out / f"{stem}_{kind}"
    check_writable(folder)
    rows, faces = part_surface(model, track.people.part)
    write = write_obj if kind == "obj" else write_ply
    paths = []
    for posed in meshes(track, model):
        paths.append(folder / (f"{stem}.{kind}" if single else f"{posed.frame:06d}.{kind}"))
        write(paths[-1], posed.vertices_m[rows], faces)
    return paths
