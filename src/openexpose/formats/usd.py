"""People over time as a USD file (UsdSkel): meshes that skeletons and blend shapes move, and the camera."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.formats.atomic import write_whole
from openexpose.motion import Motion


def write_usd(path: str | Path, motion: Motion, model: BodyModel, fps: float | None = None) -> None:
    """Write a clip's people as binary USD: each a SkelRoot ``/clip/person_<id>`` with a mesh, a skeleton of 55 joints
    with SMPL-X's names, its animation, and blend shapes (:class:`openexpose.formats.rig.BlendShapes`): expressions and,
    for editing, shapes, which change the mesh and not the skeleton.

    Metres, y up, the camera ``/clip/camera`` at the origin looking along -z. Time codes count frames at a constant
    rate from the start of the clip. Who is not there yet, or no more, is invisible. Of a lone part the mesh is only
    that. Needs the package usd-core.

    Args:
        path: where to (``.usdc``); an existing file is replaced, and a file appears whole or not at all.
        motion: whom; may hold nobody.
        model: the body model that the coefficients belong to.
        fps: frames a second; None: the clip's.

    Raises:
        InputError: usd-core is not installed, a frame rate that is none, coefficients that are not the model's, or a
            place that cannot be written to.
    """
    if find_spec("pxr") is None:
        raise InputError("an installation without usd-core", "it, to write USD files", "pip install 'openexpose[usd]'")
    from openexpose.formats.usd_stage import stage_of

    stage = stage_of(motion, model, fps)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "clip.usdc"
        try:
            stage.GetRootLayer().Export(str(whole))
            content = whole.read_bytes()
        except (RuntimeError, OSError) as error:  # RuntimeError: usd-core's own
            raise InputError(f"{path} cannot be written ({error})", "a disk with room for it") from None
    write_whole(path, content)
