"""What a page carries: the body model and the motion, as one gzipped bundle of arrays each.

A bundle is a little-endian uint32 (length of the header), the header as JSON, and the arrays, each at a multiple of
eight bytes after the header. Pose rotations travel as quaternions of int16 (the pelvis' of float32), blend shapes as
int16 of a common step.
"""

import gzip
import json
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int16

from openexpose import __version__
from openexpose.body.model import BodyModel
from openexpose.body.part import part_surface
from openexpose.errors import InputError
from openexpose.formats.native import part_keypoints
from openexpose.geometry.rotation import matrix_to_quaternion
from openexpose.motion import Motion, Track
from openexpose.render.overlay import person_colour

Array = np.ndarray

FREE_MODEL = "freebody"
_STEP_M = 4e-6  # of blend shapes, metres per unit of a coefficient; larger where they reach beyond int16
_ONE = 32767  # of quaternions
_TYPES = {"f8": "f8", "f4": "f4", "i4": "i4", "i2": "i2", "u2": "u2", "u1": "u1"}


def check_free(model_name: str) -> None:
    """Refuse body models that may not be passed on: a page holds the whole model.

    Raises:
        InputError: it is not the free body.
    """
    if model_name != FREE_MODEL:
        raise InputError(
            f"a page with the body model '{model_name}' inside, which its licence may forbid to pass on",
            f"people of the free body ({FREE_MODEL})",
            "Save as obj or ply instead: these hold meshes only.",
        )


@lru_cache(maxsize=1)
def pack_model(model: BodyModel, part: str) -> bytes:
    """The body model as a bundle; of its triangles those of ``People.part``."""
    rows, faces = part_surface(model, part)
    moved = np.flatnonzero((model.expression_dirs != 0).any((1, 2)))
    steps, arrays = {}, {}
    for name, directions in (
        ("shape_dirs", model.shape_dirs.transpose(2, 1, 0)),
        ("expression_dirs", model.expression_dirs[moved].transpose(2, 1, 0)),
        ("pose_dirs", model.pose_dirs.directions.transpose(0, 2, 1)),
    ):
        arrays[name], steps[name] = _stepped(directions)
    vertex, joint = np.nonzero(model.weights)
    arrays |= {
        "template": model.v_template.T.astype(np.float32),
        "faces": rows[faces].astype(np.uint16 if len(model.v_template) <= 0xFFFF else np.int32),
        "expression_rows": moved.astype(np.int32),
        "pose_starts": model.pose_dirs.starts.astype(np.int32),
        "pose_rows": model.pose_dirs.vertices.astype(np.int32),
        "weight_counts": np.bincount(vertex, minlength=len(model.v_template)).astype(np.uint8),
        "weight_joints": joint.astype(np.uint8),
        "weights": model.weights[vertex, joint].astype(np.float32),
        "joint_template": model.joint_template.astype(np.float32),
        "joint_shape_dirs": model.joint_shape_dirs.transpose(2, 0, 1).astype(np.float32),
        "joint_expression_dirs": model.joint_expression_dirs.transpose(2, 0, 1).astype(np.float32),
        "parents": model.parents.astype(np.int32),
        "extra": model.extra_vertices.astype(np.int32),
        "landmarks": model.landmark_vertices.astype(np.int32),
        "landmark_shares": model.landmark_barycentric.astype(np.float32),
        "contours": model.contour_vertices.astype(np.int32),
        "contour_shares": model.contour_barycentric.astype(np.float32),
    }
    return bundle({"steps": steps, "name": model.name}, arrays)


def pack_motion(motion: Motion, extra: dict[str, Any]) -> bytes:
    """People over time as a bundle.

    Args:
        motion: who moves; of one picture size, camera, part and body model.
        extra: more entries of the header.

    Raises:
        InputError: the tracks differ in one of these.
    """
    people = [track.people for track in motion.tracks]
    if len({(p.image_size, p.focal_px, *p.principal_px, p.part, p.body_model) for p in people}) > 1:
        raise InputError(f"tracks of '{motion.clip.name}' with different cameras or parts", "one camera for all")
    header: dict[str, Any] = {"version": __version__, "name": motion.clip.name, "fps": motion.clip.fps, "tracks": []}
    arrays: dict[str, Array] = {"times": np.asarray(motion.clip.times_s, np.float64)}
    if people:
        first = people[0]
        header |= {"image_size": list(first.image_size), "focal_px": first.focal_px, "part": first.part}
        header |= {"principal_px": [float(value) for value in first.principal_px]}
        header |= {"keypoints": part_keypoints(first.part).tolist()}
    for number, track in enumerate(motion.tracks):
        colour = np.rint(255 * person_colour(track.id - 1)).astype(int)
        header["tracks"].append({"id": track.id, "colour": "#{:02x}{:02x}{:02x}".format(*colour)})
        arrays |= {f"{number}.{name}": values for name, values in _track_arrays(track).items()}
    return bundle(header | extra, arrays)


def bundle(header: dict[str, Any], arrays: dict[str, Array]) -> bytes:
    """A header and arrays, gzipped; the same input gives the same bytes."""
    places, chunks, offset = {}, [], 0
    for name, values in arrays.items():
        data = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        places[name] = {"type": _TYPES[data.dtype.str[1:]], "shape": data.shape, "offset": offset}
        content = data.tobytes() + b"\0" * (-data.nbytes % 8)
        chunks.append(content)
        offset += len(content)
    text = json.dumps(header | {"arrays": places}, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(len(text) + 4) % 8)
    return gzip.compress(len(text).to_bytes(4, "little") + text + b"".join(chunks), 6, mtime=0)


def _track_arrays(track: Track) -> dict[str, Array]:
    people = track.people
    quaternions = matrix_to_quaternion(people.pose.astype(np.float64))
    same_shape = bool((people.betas == people.betas[:1]).all())
    return {
        "frames": track.frames.astype(np.int32),
        "orient": quaternions[:, 0].astype(np.float32),  # its error would move hands and feet the most
        "pose": _steps(np.rint(quaternions[:, 1:] * _ONE).astype(np.int16).reshape(len(people), -1)),
        "transl": people.transl.astype(np.float32),
        "betas": people.betas[: 1 if same_shape else None].astype(np.float32),
        "expression": people.expression.astype(np.float32),
        "confidence": np.rint(255 * np.clip(people.joint_confidence, 0, 1)).astype(np.uint8),
        "score": people.score.astype(np.float32),
    }


def _steps(values: Int16[Array, "n c"]) -> Int16[Array, "c n"]:
    """Each number's change from frame to frame, modulo 2^16: half as large once compressed."""
    return np.diff(values, axis=0, prepend=np.zeros_like(values[:1])).T


def _stepped(directions: Float[Array, "*shape"]) -> tuple[Int16[Array, "*shape"], float]:
    """Numbers as multiples of a step."""
    step = max(_STEP_M, float(np.abs(directions).max(initial=0.0)) / _ONE)
    return np.rint(directions / step).astype(np.int16), step
