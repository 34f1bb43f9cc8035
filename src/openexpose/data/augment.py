"""The paper's training augmentation: choices are drawn first, then picture and labels obey the same choice.

Geometry is two things only: mirroring picture and labels (:func:`flip`), and the choice of one square crop
(:func:`training_crop`) that the sampler (:func:`openexpose.image.crop.sample_crop`) and the labels
(:func:`labels_in_crop`) share. Colour and resolution change the crop's samples alone. The cut to a piece of the person
is the extreme cropping of Joo et al. (Exemplar Fine-Tuning, 3DV 2021), which the paper uses for bodies.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from openexpose.body.keypoints import FLIP, JOINT_FLIP, PARTS, indices
from openexpose.data.sample import Sample
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop, box_around, crop_from_boxes
from openexpose.geometry.rotation import mirror_rotation, rotation_about_z
from openexpose.image.crop import sample_crop

Array = np.ndarray


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly the pictures of one part are varied. The defaults are those of the paper's body network."""

    flip_probability: float = 0.5
    """Share of mirrored bodies and faces. Hands: left ones are always mirrored, right ones never."""
    scale_sd: float = 0.25
    """The crop's side is multiplied by 1 + N(0, sd), clipped to 1 +- ``scale_limit``."""
    scale_limit: float = 0.25
    rotation_sd_deg: float = 30.0
    """The crop is turned by N(0, sd), clipped to +- ``rotation_limit_deg``, with ``rotation_probability``."""
    rotation_limit_deg: float = 60.0
    rotation_probability: float = 0.4
    channel_noise: float = 0.4
    """Each colour channel is multiplied by U(1 - noise, 1 + noise)."""
    jitter: float = 0.0
    """The crop's centre is moved by U(-jitter, jitter) times the longer side of the box, in x and y."""
    low_resolution_factors: tuple[float, ...] = (1.0,)
    """The crop is shrunk by one of these, drawn evenly, and blown up again."""
    cut_probability: float = 0.0
    """Share of people cut to one of ``CUTS``. The paper gives no number; ours is in ``AUGMENTATIONS``."""

    def __post_init__(self) -> None:
        for name in ("flip_probability", "rotation_probability", "cut_probability", "channel_noise"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} {getattr(self, name)}", "a number from 0 to 1")
        for name in ("scale_sd", "rotation_sd_deg", "rotation_limit_deg", "jitter"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise InputError(f"{name} {getattr(self, name)}", "a number not below 0")
        if not 0.0 <= self.scale_limit < 1.0:
            raise InputError(f"scale_limit {self.scale_limit}", "a number from 0 to below 1")
        if not self.low_resolution_factors or min(self.low_resolution_factors) < 1.0:
            raise InputError(f"low_resolution_factors {self.low_resolution_factors}", "at least one, none below 1")


NO_AUGMENTATION = AugmentConfig(
    flip_probability=0.0, scale_sd=0.0, rotation_probability=0.0, channel_noise=0.0, jitter=0.0
)
"""Crops as they are. Left hands are mirrored all the same: networks know right hands only."""

AUGMENTATIONS: dict[str, AugmentConfig] = {
    "body": AugmentConfig(cut_probability=0.3),
    "hand": AugmentConfig(flip_probability=0.0, jitter=0.2, low_resolution_factors=(1, 1.2, 1.5, 2, 3, 4)),
    "face": AugmentConfig(jitter=0.2, low_resolution_factors=(1, 1.2, 1.5, 2, 3, 4, 8)),
}
"""The paper's recipe for each part. The share of cut bodies is ours."""


@dataclass(frozen=True)
class Cut:
    """A piece of a person: the keypoints kept in view, and by how much the box around them is grown."""

    keypoints: Array
    margin: float = 1.0


def _arm(side: str) -> Cut:
    return Cut(np.r_[indices(f"{side}_shoulder", f"{side}_elbow"), PARTS[f"{side}_hand"]])


_SHOULDERS_UP = np.r_[indices("neck", "left_collar", "right_collar", "left_shoulder", "right_shoulder"), PARTS["head"]]
CUTS: dict[str, Cut] = {
    "upper body": Cut(
        np.r_[
            indices("pelvis", "spine1", "spine2", "spine3", "left_hip", "right_hip"),
            _SHOULDERS_UP,
            _arm("left").keypoints,
            _arm("right").keypoints,
        ]
    ),
    "shoulders up": Cut(_SHOULDERS_UP, 1.1),
    "head": Cut(PARTS["head"], 1.5),
    "left arm": _arm("left"),
    "right arm": _arm("right"),
    "legs": Cut(np.r_[indices("pelvis", "left_hip", "right_hip"), [4, 5, 7, 8, 10, 11], 60:66]),
}
"""The cuts of extreme cropping. Keypoints of a face or head end at the brows, so that those boxes are grown."""

_FEWEST, _SMALLEST = 3, 0.05  # labelled keypoints, and extent of their box relative to the whole one, that allow a cut


@dataclass(frozen=True)
class Augmentation:
    """One drawn variation. ``scale``, ``rotation_deg``, ``jitter`` and ``cut`` hold for the picture after ``flip``."""

    flip: bool = False
    """Mirror picture and labels first."""
    scale: float = 1.0
    """Factor on the crop's side."""
    rotation_deg: float = 0.0
    """Angle of the crop in the picture, clockwise as seen; the content turns the other way."""
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors on red, green and blue."""
    jitter: tuple[float, float] = (0.0, 0.0)
    """Shift of the crop's centre in x and y, in longer sides of the box."""
    low_resolution: float = 1.0
    """Factor by which the crop is shrunk and blown up again."""
    cut: str = ""
    """Key of ``CUTS``, or empty: the whole box."""


@dataclass(frozen=True)
class CropLabels:
    """The labels of a sample as they are seen in a crop."""

    keypoints: Float[Array, "144 3"]
    """x, y in crop coordinates ([-1, 1]^2 is the crop) and confidence. A keypoint beyond the crop keeps its confidence:
    networks shall learn where the unseen rest of a person is. ``inside`` tells them apart."""
    inside: Bool[Array, "144"]
    """Labelled and within the crop."""
    points_m: Float[Array, "144 4"] | None
    """x, y, z in metres, in axes turned with the crop, and validity."""
    pose: Float[Array, "55 3 3"] | None
    """As in the sample, with slot 0 in axes turned with the crop."""
    pose_valid: Bool[Array, "55"]

    @property
    def root(self) -> Float[Array, "3 3"] | None:
        """The absolute rotation of pelvis, wrist or head, if known."""
        return self.pose[0] if self.pose is not None and self.pose_valid[0] else None


def draw(rng: np.random.Generator, config: AugmentConfig, sample: Sample) -> Augmentation:
    """Draw a variation for a sample. The only place with chance; always takes the same number of random numbers.

    A cut is drawn evenly from those whose keypoints are labelled; where there are none, the box stays whole.
    """
    mirror, turn, cut, choice = rng.random(4)
    flipped = sample.left if sample.part == "hand" else bool(mirror < config.flip_probability)
    scale = 1.0 + np.clip(rng.normal(0.0, config.scale_sd), -config.scale_limit, config.scale_limit)
    limit = config.rotation_limit_deg
    angle = np.clip(rng.normal(0.0, config.rotation_sd_deg), -limit, limit)
    red, green, blue = rng.uniform(1.0 - config.channel_noise, 1.0 + config.channel_noise, 3).tolist()
    x, y = rng.uniform(-config.jitter, config.jitter, 2).tolist()
    factor = config.low_resolution_factors[rng.integers(len(config.low_resolution_factors))]
    cuts = _possible_cuts(sample, flipped) if cut < config.cut_probability else []
    return Augmentation(
        flip=flipped,
        scale=float(scale),
        rotation_deg=float(angle) if turn < config.rotation_probability else 0.0,
        gains=(red, green, blue),
        jitter=(x, y),
        low_resolution=float(factor),
        cut=cuts[int(choice * len(cuts))] if cuts else "",
    )


def _possible_cuts(sample: Sample, flipped: bool) -> list[str]:
    """Cuts (of the picture after a flip) with enough labelled keypoints to draw a box around."""
    points = sample.keypoints_px[FLIP] if flipped else sample.keypoints_px
    smallest = _SMALLEST * _longer_side(sample.box_xyxy_px)
    boxes = {name: _box_of_labelled(points, cut.keypoints) for name, cut in CUTS.items()}
    return [name for name, box in boxes.items() if box is not None and _longer_side(box) >= smallest]


def _box_of_labelled(points: Float[Array, "144 3"], chosen: Array) -> Float[Array, "4"] | None:
    kept = points[chosen]
    kept = kept[kept[:, 2] > 0]
    return box_around(kept[:, :2]) if len(kept) >= _FEWEST else None


def _longer_side(box: Float[Array, "4"]) -> float:
    return float((box[2:] - box[:2]).max())


def flip(pixels: UInt8[Array, "h w 3"], sample: Sample) -> tuple[UInt8[Array, "h w 3"], Sample]:
    """Mirror a picture and all its labels left-right.

    Left becomes right in keypoints, points and pose; a hand changes its side. The expression of bodies and faces is
    dropped, as in the paper's training: expression coefficients have no mirror image. ``image`` of the result still
    is the unmirrored file; use the pixels returned.
    """
    width = pixels.shape[1]
    keypoints = sample.keypoints_px[FLIP]
    keypoints[:, 0] = width - keypoints[:, 0]
    x1, y1, x2, y2 = sample.box_xyxy_px
    mirrored = replace(
        sample,
        box_xyxy_px=np.array([width - x2, y1, width - x1, y2], sample.box_xyxy_px.dtype),
        keypoints_px=keypoints,
        points_m=None if sample.points_m is None else _mirrored_points(sample.points_m),
        pose=None if sample.pose is None else mirror_rotation(sample.pose[JOINT_FLIP]),
        pose_valid=sample.pose_valid[JOINT_FLIP],
        expression=sample.expression if sample.part == "hand" else None,
        left=not sample.left if sample.part == "hand" else sample.left,
    )
    return np.ascontiguousarray(pixels[:, ::-1]), mirrored


def _mirrored_points(points_m: Float[Array, "144 4"]) -> Float[Array, "144 4"]:
    points_m = points_m[FLIP]
    points_m[:, 0] = -points_m[:, 0]
    return points_m


def training_crop(sample: Sample, box_scale: float, augmentation: Augmentation) -> Crop:
    """The crop to train on: around the box, or what the cut leaves of it; moved, grown and turned.

    Args:
        sample: after the flip.
        box_scale: side of the plain crop in longer sides of the box.

    Raises:
        InputError: the cut has no name in ``CUTS``.
    """
    box = np.asarray(sample.box_xyxy_px, float)
    margin = 1.0
    if augmentation.cut:
        if augmentation.cut not in CUTS:
            raise InputError(f"the cut {augmentation.cut!r}", f"one of {', '.join(CUTS)}")
        cut = CUTS[augmentation.cut]
        kept = _box_of_labelled(np.asarray(sample.keypoints_px, float), cut.keypoints)
        if kept is not None and _longer_side(kept) > 0:
            box, margin = kept, cut.margin
    crop = crop_from_boxes(box, box_scale * margin * augmentation.scale)
    centre = crop.centre_px + np.array(augmentation.jitter) * _longer_side(box)
    return Crop(centre, crop.side_px, np.asarray(np.radians(augmentation.rotation_deg)))


def labels_in_crop(sample: Sample, crop: Crop) -> CropLabels:
    """What a network that sees the crop shall answer.

    The camera is taken to turn with the crop about its optical axis: points and the absolute rotation are turned by
    minus the crop's angle. It does not turn towards the crop's centre, in line with the paper's training.

    Raises:
        InputError: the crop is mirrored: labels are mirrored beforehand, by :func:`flip`.
    """
    if crop.mirrored:
        raise InputError("a mirrored crop", "an unmirrored one", "Mirror picture and labels with flip() first.")
    xy = crop.from_image(np.asarray(sample.keypoints_px[:, :2], float))
    confidence = sample.keypoints_px[:, 2]
    turn = rotation_about_z(-crop.angle_rad)
    points, pose = sample.points_m, sample.pose
    if points is not None:
        points = np.concatenate([points[:, :3] @ turn.T, points[:, 3:]], 1)
    if pose is not None:
        pose = np.concatenate([(turn @ pose[0])[None], pose[1:]])
    inside = (np.abs(xy) <= 1.0).all(1) & (confidence > 0)
    return CropLabels(np.concatenate([xy, confidence[:, None]], 1), inside, points, pose, sample.pose_valid)


def channel_noise(image: Float[Array, "3 s s"], gains: tuple[float, float, float]) -> Float[Array, "3 s s"]:
    """Multiply the colour channels of a picture (0..1) by gains; clipped to 0..1."""
    return np.clip(image * np.asarray(gains, image.dtype)[:, None, None], 0.0, 1.0)


def low_resolution(image: Float[Array, "3 s s"], factor: float) -> Float[Array, "3 s s"]:
    """Shrink a picture by a factor (nearest sample, so that it aliases) and blow it up again (bilinear).

    Raises:
        InputError: the factor is below 1.
    """
    if factor < 1.0:
        raise InputError(f"a low-resolution factor of {factor}", "1 or more")
    size = image.shape[-1]
    small = max(1, round(size / factor))
    if small == size:
        return image
    nearest = ((np.arange(small) + 0.5) * size / small).astype(int)
    position = np.clip((np.arange(size) + 0.5) * small / size - 0.5, 0.0, small - 1.0)
    weights = np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(small))).astype(image.dtype)
    return weights @ image[:, nearest][:, :, nearest] @ weights.T


def augmented_crop(
    pixels: UInt8[Array, "h w 3"], sample: Sample, augmentation: Augmentation, *, box_scale: float, size: int
) -> tuple[Float[Array, "3 {size} {size}"], CropLabels, Sample]:
    """Picture and labels of one training example: flip, crop, channel noise, low resolution, in this order.

    Args:
        pixels: the sample's picture.
        box_scale: side of the plain crop in longer sides of the box.
        size: side of the network's input, samples.

    Returns:
        the crop (0..1), its labels, and the sample after the flip (for betas, expression and side).

    Raises:
        InputError: the cut has no name, the factor of resolution is below 1, or the crop is not finite.
    """
    if augmentation.flip:
        pixels, sample = flip(pixels, sample)
    crop = training_crop(sample, box_scale, augmentation)
    image = channel_noise(sample_crop(pixels, crop, size), augmentation.gains)
    return low_resolution(image, augmentation.low_resolution), labels_in_crop(sample, crop), sample
