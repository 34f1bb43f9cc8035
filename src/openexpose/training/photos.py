"""Fitted people in photos (:mod:`openexpose.data.sample_shards`) for the default recipe: where its trunk looks at them,
and what its regressor shall answer."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import Bool, Float, UInt8

from openexpose.data.sample import Sample
from openexpose.data.sample_shards import read_sample_shard
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import default_focal_px, fit_weak, locate, project_perspective, view_rotation
from openexpose.predict.parts import BODY

Array = np.ndarray

_OWN_MODEL = "freebody"
_FEWEST = 4
"""Labelled keypoints that a person needs."""
_FAR = 0.2
"""Crop coordinates: a tenth of the crop's side."""
_CHUNK = 1 << 20


def is_photos(shard: Path) -> bool:
    """Whether a shard holds samples, and no renders."""
    return shard.name.startswith("samples-")


def people_in_photos(shard: Path) -> list[Sample]:
    """The people of a shard that the default recipe learns from: whole bodies whose pose, shape and 3D points, of the
    free body, are known.

    Raises:
        InputError: a damaged shard.
    """
    return _people(shard, shard.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _people(shard: Path, changed_ns: int) -> list[Sample]:
    return [
        sample
        for sample in read_sample_shard(shard, "all").samples
        if sample.part == "body"
        and sample.coefficients == _OWN_MODEL
        and sample.betas is not None
        and sample.pose is not None
        and sample.points_m is not None
        and sample.pose_valid[:22].all()
        and np.count_nonzero((sample.keypoints_px[:, 2] > 0) & (sample.points_m[:, 3] > 0)) >= _FEWEST
    ]


def photos_digest(shard: Path) -> str:
    """Of all that the shard holds."""
    digest = hashlib.sha256()
    with shard.open("rb") as file:
        while content := file.read(_CHUNK):
            digest.update(content)
    return digest.hexdigest()[:16]


def photos_with_boxes(shard: Path) -> Iterator[tuple[UInt8[Array, "h w 3"], Float[Array, "n 4"]]]:
    """Every photo and the boxes of its people, in the order of :func:`people_in_photos`."""
    for _, group in groupby(people_in_photos(shard), key=lambda sample: sample.image):
        people = list(group)
        yield people[0].read_pixels(), np.stack([np.asarray(one.box_xyxy_px, float) for one in people])


def photo_labels(people: Sequence[Sample], crop: Crop) -> dict[str, Array]:
    """Labels by the names of :class:`~openexpose.losses.PartTarget`, with weights that are 0 where nothing is known.

    The frame is that of the crop, as in :func:`openexpose.training.targets.part_labels`. Keypoints that are not
    labelled lie where the fit has them, and count as hidden; points that are not known lie at the root.

    Args:
        people: those of :func:`people_in_photos`.
        crop: one of each person, in the photo.
    """
    sizes, labels = np.array([_size(one) for one in people], float), [np.asarray(one.keypoints_px) for one in people]
    focal_px = np.array([one.focal_px or default_focal_px(*_size(one)) for one in people], float)
    fitted = np.stack([np.asarray(one.points_m, float) for one in people])
    visible, known = np.stack([told[:, 2] for told in labels]), fitted[..., 3]
    points = np.where(known[..., None] > 0, fitted[..., :3] - fitted[:, BODY.root_joint, None, :3], 0.0)
    spots = np.stack([told[:, :2] for told in labels])
    for k, hidden in enumerate(visible == 0):
        sure = ~hidden & (known[k] > 0)
        transl = locate(points[k, sure], spots[k, sure], float(focal_px[k]), sizes[k] / 2)
        spots[k, hidden] = project_perspective(points[k, hidden] + transl, float(focal_px[k]), sizes[k] / 2)
    spots = crop.from_image(spots)
    pose = np.stack([np.asarray(one.pose, float) for one in people])
    turned = np.swapaxes(view_rotation(crop, focal_px[:, None], sizes / 2), -1, -2)
    pose[:, 0], points = turned @ pose[:, 0], points @ np.swapaxes(turned, -1, -2)
    return {
        "pose": pose,
        "betas": _coefficients([one.betas for one in people], BODY.num_betas),
        "expression": _coefficients([one.expression for one in people], BODY.num_expression),
        "points": points,
        "projected": spots,
        "visible": visible,
        "camera": np.stack([fit_weak(points[k, told], spots[k, told]) for k, told in enumerate(known > 0)]),
        "pose_weight": np.stack([one.pose_valid for one in people]),
        "betas_weight": np.ones(len(people)),
        "expression_weight": np.array([one.expression is not None for one in people]),
        "points_weight": known,
    }


def agreeing(labels: dict[str, Array]) -> Bool[Array, "n"]:
    """Of whom 3D points lie, in the picture, where their keypoints are labelled: off by less than a tenth of the crop
    in the mean. Others are fits that failed, and would teach nonsense.

    Args:
        labels: as :func:`photo_labels` gives them.
    """
    camera, points = labels["camera"][:, None], labels["points"][..., :2]
    off = np.linalg.norm(camera[..., :1] * (points + camera[..., 1:]) - labels["projected"], axis=-1)
    weight = (labels["visible"] > 0) * labels["points_weight"]
    return (off * weight).sum(1) < _FAR * weight.sum(1)


def _size(sample: Sample) -> tuple[int, int]:
    """Width and height of a sample's photo, from its header."""
    content = sample.image if isinstance(sample.image, bytes) else sample.image.read_bytes()
    with PIL.Image.open(io.BytesIO(content)) as picture:
        return picture.size


def _coefficients(values: Sequence[Array | None], count: int) -> Float[Array, "n count"]:
    found = np.zeros((len(values), count))
    for row, value in zip(found, values, strict=True):
        if value is not None:
            row[: len(value)] = value[:count]
    return found
