"""From labelled pictures to batches: crops, targets in the crop's frame, start vectors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from openexpose.body.keypoints import PARTS
from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel
from openexpose.data.augment import (
    Augmentation,
    AugmentConfig,
    CropLabels,
    augmented_crop,
    draw,
    flip,
    labels_in_crop,
    training_crop,
)
from openexpose.data.sample import Sample
from openexpose.data.start_noise import HandPrior, StartState, noisy_start
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import default_focal_px
from openexpose.geometry.rotation import matrix_to_sixd
from openexpose.losses import PartTarget
from openexpose.people import zero_pose
from openexpose.predict.bundle import PartConfig
from openexpose.predict.parts import PartSpec, decode, split
from openexpose.training.mixture import Listed, Mixture

Array = np.ndarray
Example = TypeVar("Example")

FEWEST_KEYPOINTS = 4
"""Pictures with fewer labelled keypoints of the part teach nothing."""
_REACH = 2.0
"""Of a picture, the square of so many body crops around the person goes into a batch, and the person's box anyway."""
_AROUND = 0.25
"""By so much of its longer side that box is grown: hands at its border are looked at with what is around them."""


@dataclass(frozen=True)
class PartSetup:
    """How pictures become examples of a part."""

    spec: PartSpec
    config: PartConfig
    model: BodyModel
    """Its name says whose coefficients count: those of other models are no targets. Its hand components are noise."""
    augmentation: AugmentConfig
    mean: Float[Array, "size"]
    """Where the network starts."""
    noise: bool
    """Hands and faces: disturb the start vectors as the paper does."""

    @property
    def coefficients(self) -> str:
        """The model of the coefficients, as :class:`Sample` names it."""
        return "freebody" if self.model.name == "freebody" else "smplx"


@dataclass(frozen=True)
class PartBatch:
    """Crops of a part."""

    image: Float[Tensor, "n 3 s s"]
    target: PartTarget
    start: Float[Tensor, "n size"]
    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BodyBatch:
    """Whole pictures with one person each; orientations and points in the picture's frame, 2D points in body crops."""

    pictures: list[UInt8[Tensor, "3 _ _"]]
    gains: Float[Tensor, "n 3"]
    """Factors on red, green and blue."""
    centre_px: Float[Tensor, "n 2"]
    side_px: Float[Tensor, "n"]
    angle_rad: Float[Tensor, "n"]
    focal_px: Float[Tensor, "n"]
    principal_px: Float[Tensor, "n 2"]
    target: PartTarget
    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def make_examples(
    mixture: Mixture | Listed, numbers: range, make: Callable[[Sample, np.random.Generator], Example], seed: int
) -> tuple[list[Example], list[str], list[str]]:
    """Examples of the draws ``numbers``, the names of their samples, and what was wrong with those left out.

    A sample that cannot be read is replaced by another one, if the mixture has others to give. Chance is a function of
    seed and number alone.

    Raises:
        InputError: so many samples in a row are broken that the data set as a whole must be; or none is usable.
    """
    examples, names, problems = [], [], []
    for number in numbers:
        broken = []
        for sample in mixture.instead(number):
            try:
                examples.append(make(sample, np.random.default_rng([seed, number])))
                names.append(sample.name)
                break
            except InputError as error:
                broken.append(str(error) if sample.name in str(error) else f"{sample.name}: {error}")
        else:
            if mixture.endless:
                raise InputError(f"{len(broken)} broken samples in a row, the last: {broken[-1]}", "readable pictures")
        problems += broken
    if not examples:
        raise InputError(f"no usable sample, the last: {problems[-1]}", "readable pictures")
    return examples, names, problems


def part_batch(setup: PartSetup, mixture: Mixture | Listed, numbers: range, seed: int) -> PartBatch:
    """The crops of some draws, as :func:`make_examples` makes them."""

    def make(sample: Sample, rng: np.random.Generator) -> tuple[Array, dict[str, Array], Array]:
        return part_example(setup, sample, rng)

    examples, names, problems = make_examples(mixture, numbers, make, seed)
    images, targets, starts = zip(*examples, strict=True)
    return PartBatch(_stack(images), _target(targets), _stack(starts), names, problems)


def part_example(
    setup: PartSetup, sample: Sample, rng: np.random.Generator
) -> tuple[Float[Array, "3 s s"], dict[str, Array], Float[Array, "size"]]:
    """Crop, target and start vector of one sample.

    Boxes of lone hands and faces are the whole picture: their crop is it.

    Raises:
        InputError: the picture cannot be read, or too little of the part is labelled.
    """
    _check(sample, setup)
    scale = setup.config.crop_scale if setup.spec.name == "body" else 1.0
    augmentation, pixels = draw(rng, setup.augmentation, sample), sample.read_pixels()
    image, labels, flipped = augmented_crop(pixels, sample, augmentation, box_scale=scale, size=setup.config.size)
    start = setup.mean
    if setup.noise and setup.spec.name != "body":
        start = _noisy(setup, labels.root, rng)
    return image, target_rows(setup, labels, flipped), start


def plain_target(setup: PartSetup, sample: Sample) -> dict[str, Array]:
    """The target of a sample's plain crop, as :func:`part_example` makes it, without reading the picture.

    Raises:
        InputError: too little of the part is labelled.
    """
    _check(sample, setup)
    if sample.left:  # mirrored about any column: the crop goes with it
        sample = flip(np.zeros((1, 1, 3), np.uint8), sample)[1]
    scale = setup.config.crop_scale if setup.spec.name == "body" else 1.0
    return target_rows(setup, labels_in_crop(sample, training_crop(sample, scale, Augmentation())), sample)


def body_batch(setup: PartSetup, mixture: Mixture | Listed, numbers: range, seed: int) -> BodyBatch:
    """The pictures of some draws, as :func:`make_examples` makes them."""

    def make(sample: Sample, rng: np.random.Generator) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        return body_example(setup, sample, rng)

    examples, names, problems = make_examples(mixture, numbers, make, seed)
    pictures = [torch.from_numpy(example[0]) for example in examples]
    views = {name: _stack([example[2][name] for example in examples]) for name in examples[0][2]}
    return BodyBatch(pictures, target=_target([e[1] for e in examples]), names=names, problems=problems, **views)


def body_example(
    setup: PartSetup, sample: Sample, rng: np.random.Generator
) -> tuple[UInt8[Array, "3 h w"], dict[str, Array], dict[str, Array]]:
    """Picture (the surroundings of the person), target and view of one sample. Errors as :func:`part_example`."""
    _check(sample, setup)
    augmentation, pixels = draw(rng, setup.augmentation, sample), sample.read_pixels()
    if augmentation.flip:
        pixels, sample = flip(pixels, sample)
    height, width = pixels.shape[:2]
    crop = training_crop(sample, setup.config.crop_scale, augmentation)
    upright = Crop(crop.centre_px, crop.side_px, np.zeros(()))
    target = target_rows(setup, labels_in_crop(sample, upright), sample)
    target["projected"] = crop.from_image(np.asarray(sample.keypoints_px[:, :2], float))
    low, high = _surroundings(sample, crop, width, height)
    region = np.ascontiguousarray(pixels[low[1] : high[1], low[0] : high[0]].transpose(2, 0, 1))
    view = {
        "gains": np.array(augmentation.gains),
        "centre_px": crop.centre_px - low,
        "side_px": np.asarray(crop.side_px),
        "angle_rad": np.asarray(crop.angle_rad),
        "focal_px": np.asarray(sample.focal_px or default_focal_px(width, height)),
        "principal_px": np.array([width, height]) / 2.0 - low,
    }
    return region, target, view


def _surroundings(sample: Sample, crop: Crop, width: int, height: int) -> tuple[Int[Array, "2"], Int[Array, "2"]]:
    """Corners of what is kept of the picture: all that crops of the person, of hands and of the face may look at.

    A crop that was cut to a piece of the person does not hide the rest from the attention.
    """
    box, reach = np.asarray(sample.box_xyxy_px, float), 0.5 * _REACH * float(crop.side_px)
    margin = _AROUND * float((box[2:] - box[:2]).max())
    first = np.minimum(crop.centre_px - reach, box[:2] - margin)
    last = np.maximum(crop.centre_px + reach, box[2:] + margin)
    low = np.clip(np.floor(first), 0, [width - 1, height - 1]).astype(int)
    return low, np.clip(np.ceil(last), low + 1, [width, height]).astype(int)


def _check(sample: Sample, setup: PartSetup) -> None:
    part = setup.spec.name
    chosen = list(setup.spec.keypoints)
    seen = int((sample.keypoints_px[:, 2] > 0).sum())  # of either side: left hands are mirrored later
    if sample.part != part:
        raise InputError(f"{sample.name}: a picture of a {sample.part}", f"one of a {part}")
    if seen < min(FEWEST_KEYPOINTS, len(chosen)):
        raise InputError(f"{sample.name}: {seen} labelled keypoints", f"at least {FEWEST_KEYPOINTS}")


def target_rows(setup: PartSetup, labels: CropLabels, sample: Sample) -> dict[str, Array]:
    """One row of :class:`PartTarget`, by its fields' names; what is not known has weight 0."""
    spec, chosen = setup.spec, list(setup.spec.keypoints)
    num_betas, num_expression = spec.model_size
    betas_known = sample.betas is not None and sample.coefficients == setup.coefficients
    faces_share = {("flame", "smplx"), (setup.coefficients, setup.coefficients)}  # SMPL-X has FLAME's expressions
    expression_known = sample.expression is not None and (sample.coefficients, setup.coefficients) in faces_share
    pose = zero_pose(1)[0] if labels.pose is None else labels.pose
    points = labels.points_m
    if points is None:
        points = _posed_points(setup, pose, labels.pose_valid, sample) if betas_known else np.zeros((144, 4))
    return {
        "pose": pose,
        "pose_weight": labels.pose_valid * float(labels.pose is not None),
        "betas": _padded(sample.betas if betas_known else None, num_betas),
        "betas_weight": np.asarray(float(betas_known)),
        "expression": _padded(sample.expression if expression_known else None, num_expression),
        "expression_weight": np.asarray(float(expression_known)),
        "points": points[chosen, :3],
        "points_weight": points[chosen, 3],
        "projected": labels.keypoints[chosen, :2],
        "visible": labels.keypoints[chosen, 2],
        "camera": np.array([1.0, 0.0, 0.0]),
    }


def _posed_points(
    setup: PartSetup, pose: Float[Array, "55 3 3"], valid: Array, sample: Sample
) -> Float[Array, "144 4"]:
    """3D keypoints of a fitted body whose data set tells none: the body model in the fit's pose. Body points only."""
    points = np.zeros((144, 4))
    if sample.part == "body" and valid[:22].all():
        num_betas, num_expression = setup.spec.model_size
        betas, expression = _padded(sample.betas, num_betas), np.zeros(num_expression)
        points[:, :3] = keypoints(setup.model, pose[None], betas[None], expression[None])[0]
        points[PARTS["body"], 3] = 1.0
    return points


def _padded(values: Array | None, count: int) -> Float[Array, "count"]:
    padded = np.zeros(count)
    if values is not None:
        known = min(count, len(values))
        padded[:known] = values[:known]
    return padded


def _noisy(setup: PartSetup, truth: Array | None, rng: np.random.Generator) -> Float[Array, "size"]:
    """The mean start vector, entries of it replaced by :func:`noisy_start`."""
    spec, vector = setup.spec, setup.mean.copy()
    mean = decode(vector[None].astype(np.float32), spec)
    joints = list(spec.pose_slots[1:])
    rest = StartState(mean.pose[0, 0], mean.pose[0, joints], mean.betas[0], mean.expression[0][: spec.num_expression])
    hand = HandPrior(setup.model.hand_mean[1], setup.model.hand_components[1]) if spec.name == "hand" else None
    start = noisy_start(rng, spec.name, rest, truth, hand)
    sixd, betas, expression, _ = split(vector[None], spec)
    if start.root is not rest.root:
        sixd[0, 0] = matrix_to_sixd(start.root)
    if start.joints is not rest.joints:
        sixd[0, 1:] = matrix_to_sixd(start.joints)
    betas[0], expression[0] = start.betas, start.expression
    return vector


def _stack(arrays: Sequence[Any]) -> Tensor:
    return torch.from_numpy(np.stack(arrays).astype(np.float32))


def _target(rows: Sequence[dict[str, Array]]) -> PartTarget:
    return PartTarget(**{name: _stack([row[name] for row in rows]) for name in rows[0]})
