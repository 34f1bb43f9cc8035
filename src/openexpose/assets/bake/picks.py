"""The 21 single-vertex keypoints (nose, eyes, ears, toes, heels, finger tips) and the vertex order that goes with them.

Loaders of the SMPL-X format look these keypoints up by fixed vertex numbers.  So the vertices found here by
geometry are swapped to just those numbers; nothing else about the order of MakeHuman's vertices changes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from .shape import ShapeSpace
from .skeleton import joint
from .skinning import Skinning
from .source import MakeHumanSource

#: keypoint -> vertex number that loaders of the SMPL-X format use
FORMAT_VERTEX = {
    "nose": 9120, "reye": 9929, "leye": 9448, "rear": 616, "lear": 6, "rthumb": 8079, "rindex": 7669, "rmiddle": 7794,
    "rring": 7905, "rpinky": 8022, "lthumb": 5361, "lindex": 4933, "lmiddle": 5058, "lring": 5169, "lpinky": 5286,
    "LBigToe": 5770, "LSmallToe": 5780, "LHeel": 8846, "RBigToe": 8463, "RSmallToe": 8474, "RHeel": 8635,
}  # fmt: skip


def pick_vertices(
    source: MakeHumanSource, shape: ShapeSpace, skinning: Skinning, skin: Bool[np.ndarray, "V"]
) -> dict[str, int]:
    """Keypoint -> vertex: extreme vertices of the left side and their mirror images."""
    template, joints, weights = shape.template, shape.joints, skinning.weights

    def extreme(mask: Bool[np.ndarray, "V"], direction: Sequence[float] | np.ndarray) -> int:
        """The vertex of ``mask`` that lies farthest in a direction."""
        members = np.flatnonzero(mask)
        return int(members[np.argmax(template[members] @ np.asarray(direction, float))])

    eye = joints[joint("left_eye")]
    head = skin & (weights[:, joint("head")] > 0.5)
    below_eyes = (template[:, 1] < eye[1] - 0.01) & (template[:, 1] > eye[1] - 0.06)
    left = {"eye": extreme(skinning.eyeballs & (template[:, 0] > 0), (0, 0, 1))}
    left["ear"] = extreme(_ear_canal(template, eye, head), (1, 0, 0.3))
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        last = joint(f"left_{finger}3")
        left[finger] = extreme(skin & (weights[:, last] > 0.8), joints[last] - joints[last - 1])
    ankle = joint("left_ankle")
    heel = skin & (weights[:, ankle] > 0.5) & (template[:, 1] < joints[ankle, 1] - 0.03)
    feet = {
        "BigToe": extreme(_toe(source, 1), (0, 0, 1)),
        "SmallToe": extreme(_toe(source, 5), (0.4, 0, 1)),
        "Heel": extreme(heel, (0, -0.3, -1)),
    }
    picks = {"nose": extreme(head & below_eyes & (np.abs(template[:, 0]) < 0.02), (0, 0, 1))}
    for name, vertex in left.items():
        picks |= {f"l{name}": vertex, f"r{name}": int(shape.mirror[vertex])}
    for name, vertex in feet.items():
        picks |= {f"L{name}": vertex, f"R{name}": int(shape.mirror[vertex])}
    return picks


def _ear_canal(template: np.ndarray, eye: np.ndarray, head: np.ndarray) -> Bool[np.ndarray, "V"]:
    """Left side of the head around the ear's middle: from the eyes' height 3 cm down, at least 6 cm behind the eyes."""
    height = template[:, 1] - eye[1]
    return head & (template[:, 0] > 0) & (height < -0.005) & (height > -0.03) & (template[:, 2] < eye[2] - 0.06)


def _toe(source: MakeHumanSource, toe: int) -> Bool[np.ndarray, "V"]:
    bones = [str(bone).startswith(f"toe{toe}-") and str(bone).endswith(".L") for bone in source.bones]
    return source.bone_weights[:, bones].sum(1) > 0.6


def format_order(picks: dict[str, int], count: int) -> Int[np.ndarray, "V"]:
    """order[new] = old: the identity but for the swaps that bring every pick to its number in the format."""
    order = np.arange(count)
    for name, new in FORMAT_VERTEX.items():
        current = int(np.flatnonzero(order == picks[name])[0])
        order[[new, current]] = order[[current, new]]
    return order
