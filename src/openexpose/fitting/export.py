"""Fits as labelled samples: what networks can be trained on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from openexpose.data.sample import Part, Sample
from openexpose.errors import InputError
from openexpose.fitting.lone import LONE_PARTS
from openexpose.fitting.observed import OWN_KEYPOINTS, Observed
from openexpose.people import POSE_SLICES, People

Array = np.ndarray

MODELS = ("freebody", "smplx", "mano", "flame")
"""Body models whose coefficients a sample can name."""
_FINE = {"left_hand": "left_hand_pose", "right_hand": "right_hand_pose", "face": "jaw_pose"}
_EYES = (POSE_SLICES["leye_pose"], POSE_SLICES["reye_pose"])


def samples_of(
    people: People, joints_m: Float[Array, "n 144 3"], observed: Sequence[Observed], image: Path
) -> list[Sample]:
    """The fitted people, hands or faces of one picture.

    2D keypoints are those that were fitted to, with their confidences; 3D points and rotations are the fit's. Of whole
    bodies the fingers, the jaw and the expression of hands and faces that were not seen are unknown. Lone parts have
    the box whose crop a part's network looks at.

    Args:
        people: as :func:`openexpose.fitting.result.people_of` makes them.
        joints_m: their keypoints, camera frame, metres; NaN of those that the body model lacks.
        observed: what each was fitted to.
        image: the picture.

    Raises:
        InputError: the fits are of a body model that samples do not know.
    """
    if people.body_model not in MODELS:
        fix = "Turn the fits' parameters into SMPL-X's with `openexpose transfer`."
        raise InputError(f"samples of the model '{people.body_model}'", f"one of {', '.join(MODELS)}", fix)
    half = 0.5 * people.crop_side_px[:, None]
    square = np.concatenate([people.crop_centre_px - half, people.crop_centre_px + half], 1)
    samples = []
    for k, one in enumerate(observed):
        slots, keypoints = _known(people.part, one)
        valid = keypoints & np.isfinite(joints_m[k]).all(-1)
        face = people.part == "face" or (people.part == "whole" and one.has("face"))
        part: Part = "body" if people.part == "whole" else "face" if people.part == "face" else "hand"
        samples.append(
            Sample(
                name=one.name,
                image=image,
                part=part,
                box_xyxy_px=people.bbox_xyxy[k] if part == "body" else square[k],
                keypoints_px=one.keypoints_px,
                points_m=np.concatenate([np.where(valid[:, None], joints_m[k], 0.0), valid[:, None]], 1),
                pose=people.pose[k],
                pose_valid=slots,
                betas=people.betas[k],
                expression=people.expression[k] if face else None,
                coefficients=people.body_model,
                focal_px=people.focal_px,
                left=people.part == "left-hand",
            )
        )
    return samples


def _known(part: str, observed: Observed) -> tuple[Bool[Array, "55"], Bool[Array, "144"]]:
    """Which rotations and which 3D points a fit tells."""
    slots, keypoints = np.zeros(55, bool), np.zeros(144, bool)
    if part != "whole":
        slots[list(LONE_PARTS[part].joints)] = keypoints[LONE_PARTS[part].keypoints] = True
        return slots, keypoints
    slots[:], keypoints[:] = True, True
    for eye in _EYES:
        slots[eye] = False
    for name, pose in _FINE.items():
        if not observed.has(name):
            slots[POSE_SLICES[pose]] = False
            keypoints[OWN_KEYPOINTS[name]] = False
    return slots, keypoints
