"""Known cameras for a fit: a calibrated camera's numbers, one for all photos or one a photo, from a JSON file.

The numbers are those of OpenCV's calibration: K or fx, fy, cx, cy (pixels; the first pixel's centre is at 0), the
distortion k1 k2 p1 p2 k3, and R, t, which take the rig's frame (the world, metres) to the camera's.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from openexpose.data.arrays import read_json
from openexpose.errors import InputError
from openexpose.fitting.observed import Observed
from openexpose.geometry.lens import distorted, undistorted
from openexpose.geometry.rotation import project_to_so3, rotvec_to_matrix
from openexpose.image.read import Image
from openexpose.image.remap import remap

Array = np.ndarray

_KEYS = ("K", "fx", "fy", "cx", "cy", "distortion", "R", "t", "image_size")
_FOUR = ("fx", "fy", "cx", "cy")
_EXPECTED = '{"K": 3 x 3} or {"fx", "fy", "cx", "cy"} as JSON, of one camera or by the names of photos'
_MOST_PX, _MOST_OBLONG, _FARTHEST_M = 1e7, 4.0, 1000.0
_SAME = 1e-6
_SKEW_PX = 1e-3


@dataclass(frozen=True, eq=False)
class KnownCamera:
    """A calibrated camera."""

    focal_px: Float[Array, "2"]
    """Across and down."""
    principal_px: Float[Array, "2"]
    """Principal point; the first pixel's centre is at 0.5."""
    lens: Float[Array, "5"]
    """k1, k2, p1, p2, k3 (:mod:`openexpose.geometry.lens`)."""
    image_size: tuple[int, int] | None = None
    """Width and height of its pictures; None: not told."""
    rotation: Float[Array, "3 3"] | None = None
    """Of the world's frame to the camera's; None: not known."""
    transl_m: Float[Array, "3"] | None = None
    """Of the same."""

    @property
    def pinhole(self) -> bool:
        """Whether it has square pixels and no distortion, as everything else here supposes."""
        return abs(self.focal_px[0] / self.focal_px[1] - 1.0) < _SAME and not self.lens.any()

    @property
    def straight(self) -> "KnownCamera":
        """The camera with square pixels and without distortion at the same place, with the same columns."""
        if self.pinhole:
            return self
        aspect = float(self.focal_px[0] / self.focal_px[1])
        size = self.image_size
        return replace(
            self,
            focal_px=self.focal_px[[0, 0]],
            principal_px=self.principal_px * [1.0, aspect],
            lens=np.zeros(5),
            image_size=None if size is None else (size[0], max(1, round(size[1] * aspect))),
        )

    def straightened(self, points_px: Float[Array, "n 2"], what: str) -> Float[Array, "n 2"]:
        """Where :attr:`straight` shows the points that this camera shows at ``points_px``.

        Returns:
            NaN for points beyond the picture where the distortion folds.

        Raises:
            InputError: a point in the picture lies where the distortion folds (``what``: whose it is).
        """
        plane = undistorted((points_px - self.principal_px) / self.focal_px, self.lens)
        size = np.array(self.image_size or (np.inf, np.inf))
        lost = np.isnan(plane).any(-1) & ((points_px >= 0) & (points_px <= size)).all(-1)
        if lost.any():
            place = np.round(points_px[lost][0]).astype(int).tolist()
            got = f"{what} at {place}, which the distortion {self.lens.tolist()} shows nowhere"
            raise InputError(got, "points where the calibration holds", "Check the order k1 k2 p1 p2 k3.")
        return plane * self.straight.focal_px + self.straight.principal_px

    def shown(self, points_px: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
        """Where this camera shows the points that :attr:`straight` shows at ``points_px``."""
        plane = (points_px - self.straight.principal_px) / self.straight.focal_px
        return distorted(plane, self.lens) * self.focal_px + self.principal_px

    def straighten(self, image: Image) -> Image:
        """The photo that :attr:`straight` would have taken: black where this one saw nothing."""
        size = self.straight.image_size
        if self.pinhole or size is None:
            return image
        return replace(image, pixels=remap(image.pixels, size, self.shown))

    def straighten_keypoints(self, seen: Observed) -> Observed:
        """What :attr:`straight` would have seen of a person; without what a detector guessed beyond the lens.

        Raises:
            InputError: a keypoint in the picture lies where the distortion folds.
        """
        points, there = seen.keypoints_px.copy(), seen.keypoints_px[:, 2] > 0
        points[there, :2] = self.straightened(points[there, :2], f"{seen.name}: a keypoint")
        points[np.isnan(points).any(1)] = 0.0
        return replace(seen, keypoints_px=points, image_size=self.straight.image_size or seen.image_size)

    def straighten_boxes(self, boxes_xyxy_px: Float[Array, "p 4"], what: str) -> Float[Array, "p 4"]:
        """Tight boxes in :attr:`straight`'s picture around the corners and middles of sides that the lens shows.

        Raises:
            InputError: one in the picture lies where the distortion folds.
        """
        share = np.array([[x, y] for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0)])
        spots = boxes_xyxy_px[:, None, :2] + share * (boxes_xyxy_px[:, None, 2:] - boxes_xyxy_px[:, None, :2])
        straight = self.straightened(spots.reshape(-1, 2), what).reshape(spots.shape)
        return np.concatenate([np.nanmin(straight, 1), np.nanmax(straight, 1)], -1)

    def to_world(self, points_m: Float[Array, "*n 3"]) -> Float[Array, "*n 3"]:
        """Points of the camera's frame in the world's, metres.

        Raises:
            InputError: R and t are not known.
        """
        if self.rotation is None or self.transl_m is None:
            raise InputError("a camera without R and t", "a camera with both")
        return (points_m - self.transl_m) @ self.rotation


@dataclass(frozen=True, eq=False)
class Cameras:
    """What a camera file holds: one camera for all photos, or cameras by photos' names."""

    source: Path
    all: KnownCamera | None
    each: dict[str, KnownCamera]

    def of(self, name: str, size: tuple[int, int]) -> KnownCamera:
        """The camera of a photo; its ``image_size`` is the photo's.

        Args:
            name: of the photo's file.
            size: its width and height, pixels.

        Raises:
            InputError: there is none for it, or one for pictures of another size.
        """
        camera = self.all or self.each.get(name)
        if camera is None:
            raise InputError(f"'{self.source}' without '{name}'", f"the camera of '{name}'")
        if camera.image_size not in (None, size):
            told = "{} x {}".format(*camera.image_size or ())
            fix = "Scale K to the photo, or give the photo that was calibrated."
            raise InputError(f"'{name}' of {size[0]} x {size[1]} pixels", f"{told} pixels as in '{self.source}'", fix)
        return replace(camera, image_size=size)


def read_cameras(path: Path) -> Cameras:
    """Read a camera file.

    Raises:
        InputError: no such file, no JSON, or numbers that no camera has; all in one sentence.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise InputError(f"'{path}' without a camera", _EXPECTED)
    if set(_KEYS) & content.keys() or not all(isinstance(value, dict) for value in content.values()):
        return Cameras(path, _camera(content, f"'{path}'"), {})
    return Cameras(path, None, {name: _camera(value, f"'{path}' for '{name}'") for name, value in content.items()})


def _camera(content: dict[str, Any], source: str) -> KnownCamera:
    unknown = sorted(content.keys() - set(_KEYS))
    if unknown:
        raise InputError(f"{source} with '{unknown[0]}'", f"some of {', '.join(_KEYS)}")
    focal, principal = _intrinsics(content, source)
    if not (focal.min() >= 1.0 and focal.max() <= _MOST_PX and focal.max() <= _MOST_OBLONG * focal.min()):
        raise InputError(f"{source} with the focal lengths {focal.tolist()}", "pixels, 1 or more, nearly the same")
    if np.abs(principal).max() > _MOST_PX:
        raise InputError(f"{source} with the principal point {principal.tolist()}", "pixels")
    lens = np.zeros(5)
    if content.get("distortion") is not None:
        told = _numbers(content["distortion"], "distortion", source, (4, 5))
        lens[: len(told)] = told
    size = None
    if content.get("image_size") is not None:
        width, height = _numbers(content["image_size"], "image_size", source, (2,))
        if min(width, height) < 1 or width % 1 or height % 1:
            raise InputError(f"{source} with the image_size {[width, height]}", "width and height, whole pixels")
        size = int(width), int(height)
    return KnownCamera(focal, principal + 0.5, lens, size, *_place(content, source))


def _intrinsics(content: dict[str, Any], source: str) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
    """fx, fy and cx, cy."""
    told = [name for name in _FOUR if content.get(name) is not None]
    if content.get("K") is None:
        if len(told) < len(_FOUR):
            raise InputError(f"{source} without {', '.join(n for n in _FOUR if n not in told)}", _EXPECTED)
        fx, fy, cx, cy = (float(_numbers(content[name], name, source, (1,))[0]) for name in _FOUR)
        return np.array([fx, fy]), np.array([cx, cy])
    if told:
        raise InputError(f"{source} with K and {told[0]}", "one of them")
    K = _numbers(content["K"], "K", source, (9,)).reshape(3, 3)
    if np.abs(K[[0, 1], [1, 0]]).max() > _SKEW_PX or np.abs(K[2] - [0.0, 0.0, 1.0]).max() > _SAME:
        raise InputError(f"{source} with K = {K.tolist()}", "[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
    return np.array([K[0, 0], K[1, 1]]), K[:2, 2]


def _place(content: dict[str, Any], source: str) -> tuple[Array | None, Array | None]:
    """R and t, or None."""
    if (content.get("R") is None) != (content.get("t") is None):
        raise InputError(f"{source} with only one of R and t", "both or none")
    if content.get("R") is None:
        return None, None
    told = _numbers(content["R"], "R", source, (9, 3))
    rotation = told.reshape(3, 3) if len(told) == 9 else rotvec_to_matrix(told)
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise InputError(f"{source} with an R that does not turn", "a rotation matrix, or a rotation vector (radians)")
    transl = _numbers(content["t"], "t", source, (3,))
    if np.linalg.norm(transl) > _FARTHEST_M:
        raise InputError(f"{source} with t = {transl.tolist()}", "metres")
    return project_to_so3(rotation), transl


def _numbers(value: Any, what: str, source: str, counts: tuple[int, ...]) -> Float[Array, "n"]:
    """Finite numbers, nested or not.

    Raises:
        InputError: others, or so many.
    """
    expected = f"{' or '.join(map(str, counts))} finite number{'s' if max(counts) > 1 else ''}"
    try:
        numbers = np.asarray(value)
    except ValueError:
        numbers = np.zeros(0, object)
    if numbers.dtype.kind not in "if" or numbers.size not in counts or not np.isfinite(numbers).all():
        raise InputError(f"{source} with {what} = {json.dumps(value)[:80]}", expected)
    return numbers.astype(float).ravel()
