"""Face landmarks of the free body: frozen as data, and the script that placed them.

The bake only embeds `landmarks.npz` (triangle and barycentric weights per landmark); the triangles of the mesh
never change order. To place them anew, run a face-landmark network over pictures of the baked head:

    python -m openexpose.assets.bake.landmarks SMPLX_FREEBODY.npz face_landmark_with_attention.onnx

The network is MediaPipe's face mesh with attention (Apache-2.0), exported to ONNX; it is neither needed nor shipped
afterwards. Landmarks follow the iBUG-68 scheme.  Its 17 contour points are spaced evenly along the jaw line from
the height of the outer eye corner to the chin.  The dynamic contour (79 rows) slides to the silhouette as the head
turns: row k < 40 is for a head turned by +k deg about y (to the subject's left), row 39 + k for -k deg.  SMPL-X picks
the row by the yaw of the neck's whole rotation; results live in a camera's frame (y down), where that yaw has the other
sign than in the body's own frame: the table is made for the camera's frame."""

import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from .contour import CONTOUR_ROWS, resample_contour, silhouette_table
from .head import Head, read_head
from .rasterise import Fragments, View, rasterise, shade
from .shape import REFLECT
from .surface import Surface
from .write import save_npz

_FILE = Path(__file__).with_name("landmarks.npz")

#: face-mesh vertex of every iBUG landmark; contour 0..16 are replaced by `FACE_OVAL` resampled
FACE_MESH_68 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 1, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
#: jaw line of the face mesh from the subject's right temple to the chin
FACE_OVAL = (162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
#: landmark on the other side of the face
MIRROR_68 = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46,
    39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
#: face-mesh vertices that the network's refined outputs stand for
_LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
)  # fmt: skip
_RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
_LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
_GROUPS = {"brows": range(17, 27), "nose": range(27, 36), "eyes": range(36, 48), "lips": range(48, 60)}
_NET_SIDE_PX = 192
_PICTURE_PX = 768
_PICTURE_M = 0.34
_UPPER_INNER, _LOWER_INNER, _CORNERS = (61, 62, 63), (65, 66, 67), (48, 54, 60, 64)


def load_landmarks() -> dict[str, np.ndarray]:
    """The frozen landmarks under the SMPL-X file's names: 51 static ones and the dynamic contour [79, 17]."""
    with np.load(_FILE, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


class FaceNet:
    """MediaPipe's face mesh with attention, ONNX, input [1,3,192,192] in [0,1]."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(path))

    def __call__(self, picture: UInt8[np.ndarray, "S S 3"]) -> Float[np.ndarray, "468 2"]:
        """Pixel positions of the face mesh; the crop is found in two rounds from the middle of the picture."""
        size = len(picture)
        centre, side = np.full(2, size / 2), 0.75 * size
        points = np.zeros((468, 2))
        for _ in range(3):
            points = self._on_crop(picture, centre, side)
            low, high = points.min(0), points.max(0)
            centre, side = (low + high) / 2, 1.5 * (high - low).max()
        return points

    def _on_crop(
        self, picture: UInt8[np.ndarray, "S S 3"], centre: Float[np.ndarray, "2"], side: float
    ) -> Float[np.ndarray, "468 2"]:
        from PIL import Image

        box = (*(centre - side / 2), *(centre + side / 2))
        crop = Image.fromarray(picture).transform(
            (_NET_SIDE_PX, _NET_SIDE_PX),
            Image.Transform.EXTENT,
            box,
            Image.Resampling.BILINEAR,
            fillcolor=(255, 255, 255),
        )
        blob = (np.asarray(crop, np.float32) / 255).transpose(2, 0, 1)[None]
        outputs = [output.ravel() for output in self.session.run(None, {self.session.get_inputs()[0].name: blob})]
        points = next(output for output in outputs if output.size == 3 * 468).reshape(468, 3)[:, :2].copy()
        lips = next(output for output in outputs if output.size == 160).reshape(80, 2)
        points[list(_LIPS)] = lips[: len(_LIPS)]
        for eye in (output.reshape(71, 2) for output in outputs if output.size == 142):
            indices = min((list(_LEFT_EYE), list(_RIGHT_EYE)), key=lambda i: np.abs(points[i] - eye[: len(i)]).sum())
            points[indices] = eye[: len(indices)]
        return points / _NET_SIDE_PX * side + centre - side / 2


def place_landmarks(body: Path, face_net: Path) -> dict[str, np.ndarray]:
    """Landmarks of a baked body from 24 pictures of different heads, views and jaw openings, as `load_landmarks`."""
    head, net = read_head(body), FaceNet(face_net)
    rng = np.random.default_rng(0)
    hits: list[list[np.ndarray]] = [[] for _ in FACE_MESH_68]
    oval: list[np.ndarray] = []
    for number in range(24):
        yaw, pitch = np.deg2rad((0, -12, 12, -24, 24, 0)[number % 6]), np.deg2rad((0, 6, -6)[number % 3])
        jaw = np.deg2rad((0, 10)[(number // 3) % 2])
        vertices = head.posed(rng.normal(0, 0.8, 10) * (number >= 6), jaw)
        view = View(head.centre, _PICTURE_M, _PICTURE_PX, float(yaw), float(pitch))
        fragments = rasterise(view, vertices, head.faces)
        points = net(shade(fragments, vertices, head.faces, head.colours))
        for index, vertex in enumerate(FACE_MESH_68):
            if index not in _CORNERS or jaw == 0:  # with the mouth open the corners' rays fall into it
                hits[index].append(_on_template(head, fragments, points[vertex]))
        if abs(yaw) < 0.1:
            oval.append(np.stack([_on_template(head, fragments, points[vertex]) for vertex in FACE_OVAL]))
    found = np.stack([np.median(points, axis=0) for points in hits])
    spread = np.array([np.linalg.norm(np.array(p) - np.median(p, 0), axis=1).mean() for p in hits])
    for name, part in _GROUPS.items():
        print(f"{name}: {1000 * spread[list(part)].mean():.2f} mm mean distance from the median over the pictures")
    positions = 0.5 * (found + found[list(MIRROR_68)] * REFLECT)
    for inner, outer, opposite in ((60, 48, 54), (64, 54, 48)):  # rays at the inner corners fall into the mouth
        positions[inner] = positions[outer] + 0.1 * (positions[opposite] - positions[outer])
    _snap_to_lip_line(head, positions)
    surface = Surface(head.vertices, head.faces)
    positions[:17] = resample_contour(np.median(oval, axis=0), positions[36], surface, head.outer)
    return _embed(head, surface, positions)


def _snap_to_lip_line(head: Head, positions: Float[np.ndarray, "68 3"]) -> None:
    """Put the inner-lip points, in place, just above and below the line where the closed lips meet in a front view."""
    view = View(head.centre, _PICTURE_M, 2 * _PICTURE_PX)
    fragments = rasterise(view, head.vertices, head.faces)
    on_jaw = head.jaw_weight[head.faces].mean(1) > 0.45
    for upper, lower in zip(_UPPER_INNER, reversed(_LOWER_INNER), strict=True):
        middle = 0.5 * (positions[upper] + positions[lower])
        column, row = (int(x) for x in view.project(middle[None])[0, :2])
        window = np.arange(row - 40, row + 40)
        seam = window[np.flatnonzero(on_jaw[fragments.face[window, column]])[0]]
        for index, pixel in ((upper, (seam - 3, column)), (lower, (seam + 2, column))):
            positions[index] = fragments.weights[pixel] @ head.vertices[head.faces[fragments.face[pixel]]]
    mirrored = positions[list(MIRROR_68)] * REFLECT
    inner = list(_UPPER_INNER + _LOWER_INNER)
    positions[inner] = 0.5 * (positions[inner] + mirrored[inner])


def _on_template(head: Head, fragments: Fragments, point_px: Float[np.ndarray, "2"]) -> Float[np.ndarray, "3"]:
    """Point of the template's surface at the covered pixel nearest to `point_px`."""
    rows, columns = np.nonzero(fragments.face >= 0)
    nearest = np.argmin((columns + 0.5 - point_px[0]) ** 2 + (rows + 0.5 - point_px[1]) ** 2)
    pixel = rows[nearest], columns[nearest]
    return fragments.weights[pixel] @ head.vertices[head.faces[fragments.face[pixel]]]


def _embed(head: Head, surface: Surface, positions: Float[np.ndarray, "68 3"]) -> dict[str, np.ndarray]:
    """Nearest surface points, upper-lip landmarks on the upper lip and lower ones on the lower."""
    jaw = head.jaw_weight[head.faces].mean(1)
    upper, lower = jaw < 0.35, jaw > 0.55
    faces, weights = np.zeros(51, int), np.zeros((51, 3))
    for index in range(17, 68):
        allowed = head.outer
        if index in (49, 50, 51, 52, 53):
            allowed = head.outer & upper
        elif index in (55, 56, 57, 58, 59):
            allowed = head.outer & lower
        elif index in _UPPER_INNER:
            allowed = upper
        elif index in _LOWER_INNER:
            allowed = lower
        faces[index - 17], weights[index - 17] = surface.nearest(positions[index], allowed)
    table = silhouette_table(head, surface, positions[:17], positions[33])
    return {
        "lmk_faces_idx": head.face_index[faces],
        "lmk_bary_coords": weights,
        "dynamic_lmk_faces_idx": head.face_index[table.faces].reshape(CONTOUR_ROWS, 17),
        "dynamic_lmk_bary_coords": table.weights,
    }


if __name__ == "__main__":
    save_npz(_FILE, place_landmarks(Path(sys.argv[1]), Path(sys.argv[2])))
