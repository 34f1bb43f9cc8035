"""A photo and its camera as a fit sees them: square pixels without distortion, whatever the calibration says."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Float

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.cli.prediction import focal_of
from openexpose.errors import InputError
from openexpose.fitting.camera_file import Cameras, KnownCamera
from openexpose.fitting.observed import Observed
from openexpose.formats.atomic import write_whole
from openexpose.geometry.boxes import check_boxes
from openexpose.geometry.camera import default_focal_px
from openexpose.geometry.rotation import matrix_to_rotvec
from openexpose.image.read import Image, real_path
from openexpose.people import People

Array = np.ndarray

_JPEG_QUALITY = 95


@dataclass(frozen=True, eq=False)
class Shot:
    """A photo and its pinhole camera."""

    photo: Image
    """As it was read."""
    image: Image
    """As the pinhole camera would have taken it."""
    focal_px: float
    principal_px: Float[Array, "2"]
    focal_source: str
    """``given``, ``exif`` or ``default``."""
    known: KnownCamera | None = None
    """The calibrated camera of ``photo``."""

    def straightened(self, seen: Observed) -> Observed:
        """Keypoints of the photo as those of the image."""
        return seen if self.known is None or self.known.pinhole else self.known.straighten_keypoints(seen)

    def straightened_boxes(self, boxes_xyxy_px: Float[Array, "p 4"]) -> Float[Array, "p 4"]:
        """Boxes in the photo as boxes in the image.

        Raises:
            InputError: one lies where the distortion folds, or outside the straightened picture.
        """
        if self.known is None or self.known.pinhole or not len(boxes_xyxy_px):
            return boxes_xyxy_px
        what = f"{self.photo.path.name}: a box"
        boxes = self.known.straighten_boxes(boxes_xyxy_px, what)
        return check_boxes(boxes.tolist(), self.image.width, self.image.height, f"{what}, straightened")

    def report(self, people: People, joints_m: Float[Array, "p 144 3"]) -> dict[str, Any]:
        """What STEM_fit.json tells of a calibrated camera, and of people in its world.

        Args:
            people: camera's frame.
            joints_m: their keypoints, camera's frame, metres.
        """
        if self.known is None:
            return {}
        told: dict[str, Any] = {"camera": {"focal_px": self.focal_px, "principal_px": self.principal_px.tolist()}}
        told["camera"]["undistorted"] = not self.known.pinhole
        if self.known.rotation is None:
            return told
        joints = self.known.to_world(joints_m)
        orientation = matrix_to_rotvec(self.known.rotation.T @ people.pose[:, 0].astype(float))
        rest_pelvis = joints_m[:, 0] - people.transl  # orientation turns about it
        transl = joints[:, 0] - rest_pelvis
        told["world"] = [
            {
                "global_orient": orientation[k].round(6).tolist(),
                "transl_m": transl[k].round(5).tolist(),
                "joints_3d": {
                    name: place.round(5).tolist()
                    for name, place in zip(KEYPOINT_NAMES, joints[k], strict=True)
                    if np.isfinite(place).all()
                },
            }
            for k in range(len(people))
        ]
        return told

    def write_straightened(self, out: Path) -> None:
        """Write STEM_undistorted.jpg, which the results' pixels are about, if it differs from the photo."""
        if self.known is None or self.known.pinhole:
            return
        file = io.BytesIO()
        PIL.Image.fromarray(self.image.pixels).save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        write_whole(_straightened_path(out, self.photo.path), file.getvalue())


def shot_of(photo: Image, focal_length: float | None, fov: float | None, cameras: Cameras | None) -> Shot:
    """A photo with the camera that is known of it, or with the focal length as in ``openexpose predict``.

    Raises:
        InputError: the camera file has no camera of it, or one for pictures of another size.
    """
    if cameras is None:
        focal = focal_of(photo, focal_length, fov)
        middle = np.array([photo.width, photo.height]) / 2.0
        return Shot(photo, photo, focal.px or default_focal_px(photo.width, photo.height), middle, focal.source)
    known = cameras.of(photo.path.name, (photo.width, photo.height))
    straight = known.straight
    return Shot(photo, known.straighten(photo), float(straight.focal_px[0]), straight.principal_px, "given", known)


def check_straightened(out: Path, images: Sequence[Path]) -> None:
    """See that no input picture would be replaced by a straightened one.

    Raises:
        InputError: one would.
    """
    inputs = {real_path(path) for path in images}
    for path in images:
        if real_path(_straightened_path(out, path)) in inputs:
            got = f"an input picture that the undistorted '{path.name}' would replace"
            raise InputError(got, "an output folder without input pictures", "Choose another --out.")


def _straightened_path(out: Path, photo: Path) -> Path:
    return out / f"{photo.stem}_undistorted.jpg"
