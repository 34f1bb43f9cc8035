"""Fits of the people in one photo, from both starts."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from threadpoolctl import threadpool_limits

from openexpose.body.model import BodyModel, load_body_model
from openexpose.curation.record import FitRecord
from openexpose.fitting.fit import aim_at, fit
from openexpose.fitting.keypoint_files import read_keypoints
from openexpose.fitting.observed import Observed, confident, observe
from openexpose.fitting.penalties import Priors
from openexpose.fitting.result import people_of, start_of
from openexpose.geometry.camera import default_focal_px
from openexpose.image.read import Image
from openexpose.people import People
from openexpose.predict.parts import BODY
from openexpose.predict.pipeline import Predictor

Array = np.ndarray

_SAME = 0.2
"""People whose shared keypoints are nearer than this share of the smaller one's size are one and the same."""
_SHARED = 4


class Fitter:
    """Fits the people of photo after photo; the networks are opened for the first one.

    Args:
        threads: of one network.
        bundle: folder with the networks; None: the packaged one.
    """

    def __init__(self, threads: int = 2, bundle: Path | None = None) -> None:
        self._threads, self._bundle = threads, bundle

    @cached_property
    def model(self) -> BodyModel:
        """The free body, for which the networks answer."""
        return load_body_model(num_betas=BODY.num_betas, num_expression=BODY.num_expression)

    @cached_property
    def priors(self) -> Priors:
        """The packaged ones."""
        return Priors.load()

    @cached_property
    def predictor(self) -> Predictor:
        """The bundle's networks.

        Raises:
            InputError: no such bundle.
        """
        return Predictor.load(self._bundle, threads=self._threads)

    def __call__(
        self,
        image: Image,
        *,
        keypoints: Path | None = None,
        boxes: Float[Array, "people 4"] | None = None,
        focal_px: float | None = None,
    ) -> list[FitRecord]:
        """Fit everybody of whom enough was seen.

        The label is the fit that begins at the networks' answer, and stays near it: it is the nearer one to the truth
        (docs/results.md). The one from the mean pose is there to be compared with it.

        Args:
            image: the photo.
            keypoints: a file to read them from; None: those that our own trunks see.
            boxes: of the people, pixels; None: the detector's.
            focal_px: None: :func:`~openexpose.geometry.camera.default_focal_px`.

        Raises:
            InputError: a keypoint file that cannot be used.
        """
        focal = focal_px or default_focal_px(image.width, image.height)
        observed, answered = self._seen(image, keypoints, boxes, focal)
        return self.records(observed, answered, focal) if observed else []

    def records(self, observed: Sequence[Observed], answered: People, focal_px: float) -> list[FitRecord]:
        """The fits of people of one photo.

        Args:
            observed: what was seen of each, at least one.
            answered: the networks' answers about them.
            focal_px: of the photo's camera.

        Raises:
            InputError: too little was seen of somebody.
        """
        aim, start = aim_at(observed, np.full(len(observed), focal_px)), start_of(answered)
        with threadpool_limits(1, "blas"):  # many small products: threads would only wait for each other
            ours, other = (fit(self.model, self.priors, aim, start=begin).state for begin in (start, None))
        people = people_of(self.model, ours, observed, focal_px)
        rows = [np.array([k]) for k in range(len(observed))]
        return [
            FitRecord(people[row], one.keypoints_px, one.source, start[row], ours[row], other[row])
            for row, one in zip(rows, observed, strict=True)
        ]

    def _seen(
        self, image: Image, keypoints: Path | None, boxes: Array | None, focal_px: float
    ) -> tuple[list[Observed], People]:
        """What was seen of those of whom it is enough, and the networks' answers about them."""
        name, size = image.path.name, (image.width, image.height)
        if keypoints is not None:
            given = [confident(one) for one in read_keypoints(keypoints, image=name, image_size=size)]
            given = [one for one in given if one.has("body")]
            boxes = np.array([one.box_xyxy_px for one in given]).reshape(-1, 4)
            return given, self.predictor(image.pixels, boxes=boxes, focal_px=focal_px)
        people = self.predictor(image.pixels, boxes=boxes, focal_px=focal_px)
        found = [confident(one, fewest=0) for one in observe(self.predictor, people, name)]
        use = np.array([one.has("body") for one in found], bool)
        if boxes is None:
            use[use] = distinct([one for one, used in zip(found, use.tolist(), strict=True) if used])
        return [one for one, used in zip(found, use.tolist(), strict=True) if used], people[use]


def distinct(observed: Sequence[Observed]) -> Bool[Array, "people"]:
    """Which people to keep, where a detector found somebody twice: of each pair, who was seen better."""
    keep = np.ones(len(observed), bool)
    order = np.argsort([-one.keypoints_px[:, 2].sum() for one in observed], kind="stable")
    for place, row in enumerate(order):
        keep[row] = not any(keep[other] and _same(observed[row], observed[other]) for other in order[:place])
    return keep


def _same(one: Observed, other: Observed) -> bool:
    points, others = one.keypoints_px, other.keypoints_px
    both = (points[:, 2] > 0) & (others[:, 2] > 0)
    if np.count_nonzero(both) < _SHARED:
        return False
    size = min(float(np.ptp(each.box_xyxy_px.reshape(2, 2), axis=0).max()) for each in (one, other))
    return float(np.linalg.norm(points[both, :2] - others[both, :2], axis=1).mean()) < _SAME * size
