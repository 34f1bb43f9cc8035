"""Names of joints as other systems write them, and named points as predictions hold them."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES
from openexpose.errors import InputError

Array = np.ndarray

HEAD_TOP = "head_top"
"""LSP's 14th joint; SMPL-X has none, so that it has no place among the 144."""
_KNOWN = frozenset((*KEYPOINT_NAMES, HEAD_TOP))
_OTHER = {"mid_hip": "pelvis", "midhip": "pelvis", "top_of_head": HEAD_TOP, "headtop": HEAD_TOP, "top_head": HEAD_TOP}
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[LR])(?=[A-Z][a-z])")


def joint_name(name: str) -> str:
    """The project's name of a joint: one of :data:`~openexpose.body.keypoints.KEYPOINT_NAMES`, or ``head_top``.

    Those are COCO's names, too. Also understood: LSP's and OpenPose's spellings (``Right ankle``, ``r_ankle``,
    ``RAnkle``, ``MidHip``) and finger tips as ``left_thumb_tip`` or ``left_thumb4``. ``head`` is SMPL-X's joint at the
    skull's base, not LSP's top of the head, and ``left_eye`` is COCO's keypoint, not the eyeball.

    Raises:
        InputError: no such joint; names near ones.
    """
    if name in _KNOWN:
        return name
    plain = re.sub(r"[\s\-.]+", "_", _WORDS.sub("_", name.strip())).lower()
    plain = re.sub(r"^([lr])_", lambda side: {"l": "left_", "r": "right_"}[side[1]], plain)
    plain = re.sub(r"(?<=thumb|index|iddle|pinky|_ring)(_tip|_?4)$", "", plain)
    plain = _OTHER.get(plain, plain)
    if plain in _KNOWN:
        return plain
    near = get_close_matches(plain, sorted(_KNOWN), 3, 0.5)
    fix = f"Near ones: {', '.join(near)}." if near else ""
    raise InputError(f"the joint name '{name}'", "names of COCO, LSP or of openexpose's 144 keypoints", fix)


def joint_names(names: Sequence[str]) -> tuple[str, ...]:
    """:func:`joint_name` of each.

    Raises:
        InputError: an unknown name, or two names for one joint.
    """
    known = tuple(joint_name(str(name)) for name in names)
    twice = sorted({name for name in known if known.count(name) > 1})
    if twice:
        raise InputError(f"two joints with the name {twice[0]}", "every joint once")
    return known


def keypoints_144(points_px: Float[Array, "n c"], names: Sequence[str]) -> Float[Array, "144 2"]:
    """Named 2D points (columns x, y, maybe more) in the order of the 144, NaN where there is none.

    Raises:
        InputError: not one point a name, or NaN or infinity.
    """
    points = np.asarray(points_px, float)
    if points.ndim != 2 or points.shape[1] < 2 or len(points) != len(names):
        raise InputError(f"2D keypoints of shape {points.shape} for {len(names)} names", "x, y for each name")
    if not np.isfinite(points[:, :2]).all():
        raise InputError("2D keypoints with NaN or infinity", "finite numbers", "Leave out what is not known.")
    found = np.full((len(KEYPOINT_NAMES), 2), np.nan)
    for name, point in zip(names, points, strict=True):
        if name in INDEX:
            found[INDEX[name]] = point[:2]
    return found
