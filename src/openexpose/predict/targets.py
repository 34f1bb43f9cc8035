"""What the trunks saw, as targets for the refinement."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import KEYPOINT_NAMES, LEFT_HAND21, PARTS
from openexpose.geometry.boxes import Crop
from openexpose.predict.bundle import Seen
from openexpose.predict.collect import Answer
from openexpose.predict.landmarks import CORRESPONDENCES

Array = np.ndarray

_SIGMA_2D = {"wrist": 0.018, "knee": 0.022, "elbow": 0.025, "ankle": 0.025, "heel": 0.027, "hip": 0.045, "thumb3": 0.06}
_SIGMA_2D_ELSE = 0.033
"""How far the trunk's landmarks lie from our joints on renders, over the size of the body in the picture."""
_SIGMA_PART = {"face": 0.015, "left_hand": 0.012, "right_hand": 0.012}
"""The same for a few landmarks of the face and hand trunks."""
_PALM = [0, 5, 9, 13, 17]
_FACE = [8, 27, 30, 33, 36, 39, 42, 45, 48, 54]
"""Which of them: wrist and knuckles; chin, nose, corners of eyes and mouth (iBUG numbers)."""


@dataclass(frozen=True)
class Targets:
    """What the joints of each person should agree with."""

    keypoints: Int[Array, "k"]
    """Which of the 144 keypoints the targets are for."""
    points_px: Float[Array, "p k 2"]
    """Where they were seen, pixels."""
    weight: Float[Array, "p k"]
    """Trust 0..1: visibility."""
    sigma: Float[Array, "k"]
    """Standard deviation of the targets, as a share of the person's size in the picture."""
    size_px: Float[Array, "p"]
    """Extent of each person in the picture, pixels: the unit of ``sigma``."""

    def __getitem__(self, rows: Array) -> "Targets":
        """The targets of the people ``rows``."""
        return replace(self, points_px=self.points_px[rows], weight=self.weight[rows], size_px=self.size_px[rows])


def pose_targets(crop: Crop, seen: Seen) -> Targets:
    """What the pose trunk saw, as targets: its landmarks."""
    landmark, keypoint = (np.array(column) for column in CORRESPONDENCES["body"])
    trust = seen.visibility[:, landmark] * seen.presence[:, None]
    points = crop.to_image(seen.landmarks[:, landmark, :2].astype(float))
    names = [KEYPOINT_NAMES[k].removeprefix("left_").removeprefix("right_") for k in keypoint]
    return Targets(
        keypoints=keypoint,
        points_px=points,
        weight=trust,
        sigma=np.array([_SIGMA_2D.get(name, _SIGMA_2D_ELSE) for name in names]),
        size_px=np.maximum(np.ptp(points, axis=1).max(-1), 8.0),
    )


def with_part(targets: Targets, name: str, answer: Answer) -> Targets:
    """Let what a hand or face trunk saw replace what the pose trunk saw of that part, where its answer is used.

    Args:
        targets: so far.
        name: ``left_hand``, ``right_hand`` or ``face``.
        answer: of that part's network.
    """
    use = answer.used
    part = PARTS["head" if name == "face" else name]
    weight = np.where(use[:, None] & np.isin(targets.keypoints, part), 0.0, targets.weight)
    landmark, keypoint = (np.array(column) for column in CORRESPONDENCES["face" if name == "face" else "hand"])
    if name == "left_hand":
        keypoint = LEFT_HAND21
    rows = _FACE if name == "face" else _PALM
    points = answer.crop.to_image(answer.seen.landmarks[:, landmark[rows], :2].astype(float))
    trust = np.repeat((answer.seen.certainty * use)[:, None], len(rows), 1)
    return replace(
        targets,
        keypoints=np.concatenate([targets.keypoints, keypoint[rows]]),
        points_px=np.concatenate([targets.points_px, points], 1),
        weight=np.concatenate([weight, trust], 1),
        sigma=np.concatenate([targets.sigma, np.full(len(rows), _SIGMA_PART[name])]),
    )
