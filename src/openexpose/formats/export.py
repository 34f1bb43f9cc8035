"""Motions in the formats of other tools. Importing this imports nothing heavy."""

from pathlib import Path
from typing import TYPE_CHECKING

from openexpose.errors import InputError

if TYPE_CHECKING:
    from openexpose.body.model import BodyModel
    from openexpose.motion import Motion

FORMATS: dict[str, str] = {
    "npz": "our own files: STEM.npz of a photo, STEM_1.npz a person of a clip",
    "expose": "the npz files of the original ExPose, one a frame and person",
    "amass": "AMASS's npz (SMPL-X), a file a person; Blender's SMPL-X add-on loads it, too",
    "glb": "glTF: skinned, animated bodies, all people in one file (`predict --save glb` of photos: plain meshes)",
    "usd": "UsdSkel: skinned, animated bodies, all people in one file (needs the extra 'usd')",
    "bvh": "a skeleton's motion, a file a person, joints named as in SMPL-X",
    "bvh-mixamo": "the same, joints named as in Mixamo",
    "obj": "meshes, a file a frame and person",
    "ply": "the same, binary",
    "joints-json": "named joints in pixels and metres, all frames and people in one file",
    "joints-csv": "the same as a table, a row a frame and person",
    "openpose": "OpenPose's JSON (BODY_25, hands, face), a file a frame",
    "mediapipe": "MediaPipe's landmarks of body, hands and face as JSON, a file a frame",
}
"""What can be written, and what it is."""


def export(
    motion: "Motion", name: str, out: Path, stem: str, model: "BodyModel", fps: float | None = None
) -> list[Path]:
    """Write a motion in one format; every file appears whole.

    Args:
        motion: the people.
        name: one of :data:`FORMATS`.
        out: folder to write into; made if it is not there.
        stem: what files are named after.
        model: the people's body model.
        fps: frame rate of amass, glb, usd and bvh; None: the clip's. The other formats keep the clip's frames.

    Returns:
        The files; none where a format has a file a person and there is nobody.

    Raises:
        InputError: no such format, people of another body model, an impossible frame rate, a library that is not
            installed, or a file that cannot be written.
    """
    from openexpose.formats.atomic import check_writable
    from openexpose.formats.moments import check_model

    if name not in FORMATS:
        raise InputError(f"the format '{name}'", f"one of {', '.join(FORMATS)}")
    check_model(motion, model)
    check_writable(out)
    if name in ("npz", "amass", "bvh", "bvh-mixamo", "obj", "ply"):
        return _by_person(motion, name, out, stem, model, fps)
    return _by_clip(motion, name, out, stem, model, fps)


def _by_person(motion: "Motion", name: str, out: Path, stem: str, model: "BodyModel", fps: float | None) -> list[Path]:
    """Formats with files of their own for every person."""
    from openexpose.formats.amass import write_amass
    from openexpose.formats.meshes import write_meshes
    from openexpose.formats.moments import is_still
    from openexpose.formats.native import write_npz
    from openexpose.formats.tracks import write_track
    from openexpose.motion import joined

    if name == "npz" and is_still(motion.clip) and motion.tracks:
        people = joined([track.people for track in motion.tracks])
        write_npz(out / f"{stem}.npz", people, image_name=motion.clip.name, focal_source="given")
        return [out / f"{stem}.npz"]
    paths: list[Path] = []
    for track in motion.tracks:
        own = f"{stem}_{track.id}"
        if name in ("obj", "ply"):
            paths += write_meshes(out, own, motion.clip, track, model, name)
            continue
        suffix = {"npz": ".npz", "amass": "_amass.npz", "bvh": ".bvh", "bvh-mixamo": "_mixamo.bvh"}[name]
        paths.append(out / f"{own}{suffix}")
        if name == "npz":
            write_track(paths[-1], motion.clip, track, focal_source="given")
        elif name == "amass":
            write_amass(paths[-1], motion.clip, track, model, fps)
        else:
            from openexpose.formats.bvh import write_bvh

            write_bvh(paths[-1], motion.clip, track, model, "mixamo" if name == "bvh-mixamo" else "smplx", fps)
    return paths


def _by_clip(motion: "Motion", name: str, out: Path, stem: str, model: "BodyModel", fps: float | None) -> list[Path]:
    """Formats that hold all people together."""
    from openexpose.formats.expose import write_expose
    from openexpose.formats.joints import write_joints_csv, write_joints_json
    from openexpose.formats.mediapipe import write_mediapipe
    from openexpose.formats.openpose import write_openpose

    if name == "expose":
        return write_expose(out, stem, motion, model)
    if name == "openpose":
        return write_openpose(out, stem, motion, model)
    if name == "mediapipe":
        return write_mediapipe(out, stem, motion, model)
    suffix = {"glb": ".glb", "usd": ".usdc", "joints-json": "_joints.json", "joints-csv": "_joints.csv"}[name]
    path = out / f"{stem}{suffix}"
    if name == "joints-json":
        write_joints_json(path, motion, model)
    elif name == "joints-csv":
        write_joints_csv(path, motion, model)
    elif name == "glb":
        from openexpose.formats.animated_glb import write_animated_glb

        write_animated_glb(path, motion, model, fps)
    else:
        from openexpose.formats.usd import write_usd

        write_usd(path, motion, model, fps)
    return [path]
