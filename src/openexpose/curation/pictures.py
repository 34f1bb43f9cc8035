"""What a reviewer sees of a fit: the photo around the person, the mesh over it, from the side, and as numbers."""

import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import Float, UInt8

from openexpose.body.mesh import posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.curation.prepare import check_unchanged
from openexpose.curation.store import FitRecord, PhotoRow, Store
from openexpose.errors import InputError
from openexpose.geometry.boxes import box_around
from openexpose.geometry.camera import project_perspective
from openexpose.image.read import read_image
from openexpose.render.overlay import render_overlay, side_view

Array = np.ndarray
Picture = UInt8[Array, "height width 3"]
Region = tuple[int, int, int, int]
"""x, y, width, height: whole pixels of the upright photo."""

_SEEN_MARGIN, _FITTED_MARGIN = 0.12, 0.6  # of the longer side of the person's box: always shown, and shown at most
_SMALLEST_PX = 64
_LONGEST_PX = 2048  # of the pictures that are sent
_QUALITY = 90
_PHOTOS, _BODIES, _JPEGS = 2, 32, 96  # kept in memory


class Pictures:
    """Views of the fits of a project, drawn when they are first asked for and then kept for a while.

    Safe to use from several threads. Methods that draw on the photo raise InputError where it has gone, cannot be read
    or is not the one that was fitted.

    Args:
        folder: the project's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model: Callable[[int, int], BodyModel] = lru_cache(2)(_load_model)
        self._pixels: Callable[[Path, str], Picture] = lru_cache(_PHOTOS)(_read_pixels)
        self._body: Callable[[int], _Body] = lru_cache(_BODIES)(self._pose)
        self._jpeg: Callable[[int, str], bytes] = lru_cache(_JPEGS)(self._draw)

    def photo(self, number: int) -> bytes:
        """The whole photo of a fit as JPEG."""
        return self._jpeg(number, "photo")

    def crop(self, number: int) -> bytes:
        """The photo in the fit's region, as JPEG."""
        return self._jpeg(number, "crop")

    def overlay(self, number: int) -> bytes:
        """The same with the mesh over it, drawn at the photo's resolution."""
        return self._jpeg(number, "overlay")

    def side(self, number: int) -> bytes:
        """The mesh from the right of the photo."""
        return self._jpeg(number, "side")

    def region(self, number: int) -> Region:
        """Which part of the photo the pictures of a fit show."""
        return self._body(number).region

    def vertices(self, number: int) -> Float[Array, "v 3"]:
        """The mesh, metres, camera frame, float32."""
        return self._body(number).vertices

    def keypoints(self, number: int) -> Float[Array, "144 3"]:
        """The fit's keypoints, metres, camera frame."""
        return self._body(number).joints

    def record(self, number: int) -> FitRecord:
        """The fit."""
        return self._body(number).record

    def faces(self) -> Float[Array, "f 3"]:
        """The triangles of every mesh, uint32."""
        return self._model(10, 20).faces.astype(np.uint32)

    def _pose(self, number: int) -> "_Body":
        with Store.open(self._folder) as store:
            record = store.record(number)
        people = record.people
        if people.body_model != "freebody":
            fix = "Prepare the project again."
            raise InputError(f"fit {number} of the body model '{people.body_model}'", "the free body", fix)
        model = self._model(people.betas.shape[-1], people.expression.shape[-1])
        posed = posed_mesh(model, people.pose, people.betas, people.expression)
        transl = people.transl[0].astype(np.float32)
        return _Body(record, posed.vertices[0] + transl, posed.joints[0] + transl)

    def _draw(self, number: int, kind: str) -> bytes:
        body = self._body(number)
        people, (x, y, width, height) = body.record.people, body.region
        K = (people.focal_px, float(people.principal_px[0]), float(people.principal_px[1]))
        faces = self._model(people.betas.shape[-1], people.expression.shape[-1]).faces
        if kind == "side":
            return _jpeg(side_view(body.vertices[None], faces, K, people.image_size[1]))
        with Store.open(self._folder) as store:
            photo = store.fit(number).photo
        pixels = self._photo_of(photo)
        if kind == "photo":
            return _jpeg(pixels)
        cut = pixels[y : y + height, x : x + width]
        if kind == "overlay":
            cut = render_overlay(cut, body.vertices[None], faces, (K[0], K[1] - x, K[2] - y))
        return _jpeg(cut)

    def _photo_of(self, photo: PhotoRow) -> Picture:
        pixels = self._pixels(photo.path, photo.sha256)
        if pixels.shape[:2] != (photo.height, photo.width):
            got = f"{photo.path} is {pixels.shape[1]} x {pixels.shape[0]} pixels now"
            raise InputError(got, f"{photo.width} x {photo.height} as when it was fitted", "Prepare the project again.")
        return pixels


class _Body:
    """A posed fit and the region in which it is shown."""

    def __init__(self, record: FitRecord, vertices: Float[Array, "v 3"], joints: Float[Array, "144 3"]) -> None:
        self.record, self.vertices, self.joints = record, vertices, joints
        self.region = region_of(record, vertices)


def region_of(record: FitRecord, vertices: Float[Array, "v 3"]) -> Region:
    """The part of the photo to show: all that was seen of the person with a margin, and the mesh as far as it stays
    near. A fit that went far astray does not make the person small."""
    people = record.people
    width, height = people.image_size
    box = np.asarray(people.bbox_xyxy[0], float)
    seen = record.keypoints_px[record.keypoints_px[:, 2] > 0, :2]
    if len(seen):
        around = box_around(seen)
        box = np.r_[np.minimum(box[:2], around[:2]), np.maximum(box[2:], around[2:])]
    side = float((box[2:] - box[:2]).max())
    least, most = (box + side * margin * np.array([-1, -1, 1, 1]) for margin in (_SEEN_MARGIN, _FITTED_MARGIN))
    in_front = vertices[vertices[:, 2] > 0.05]
    if len(in_front):
        mesh = box_around(project_perspective(in_front, people.focal_px, people.principal_px))
        mesh = mesh + 0.03 * side * np.array([-1, -1, 1, 1])
        least = np.r_[np.minimum(least[:2], mesh[:2]), np.maximum(least[2:], mesh[2:])]
    low, high = np.maximum(least[:2], most[:2]), np.minimum(least[2:], most[2:])
    size = np.array([width, height])
    middle = np.clip((low + high) / 2, 0, size)
    half = np.maximum((high - low) / 2, _SMALLEST_PX / 2)
    start = np.clip(np.floor(middle - half), 0, np.maximum(size - _SMALLEST_PX, 0)).astype(int)
    stop = np.clip(np.ceil(middle + half), np.minimum(start + _SMALLEST_PX, size), size).astype(int)
    return int(start[0]), int(start[1]), int(stop[0] - start[0]), int(stop[1] - start[1])


def _load_model(num_betas: int, num_expression: int) -> BodyModel:
    return load_body_model(num_betas=num_betas, num_expression=num_expression)


def _read_pixels(path: Path, sha256: str) -> Picture:
    pixels = read_image(path).pixels
    check_unchanged(path, sha256)
    return pixels


def _jpeg(picture: Picture) -> bytes:
    image = PIL.Image.fromarray(picture)
    if max(image.size) > _LONGEST_PX:
        image.thumbnail((_LONGEST_PX, _LONGEST_PX), PIL.Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_QUALITY, subsampling=0)
    return content.getvalue()
