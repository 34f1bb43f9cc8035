"""The CC0 pictures and the pose statistics the generator draws from, read once per process."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from openexpose.errors import InputError
from openexpose.synth.prior import PosePrior, load_pose_prior

Array = np.ndarray


@dataclass(frozen=True)
class Library:
    """Pictures as RGB uint8.

    Attributes:
        skins: [n] textures at three sizes: 1024, 512, 256 pixels.
        eyes: [n] one eye each, pupil in the middle. cloth: [n] pictures of cloth. backgrounds: [n] pictures.
        hands: [n, 15, 3] right-hand poses, axis-angle.
        prior: body-pose prior.
        views: of each place with pictures, by name, the direction of each (degrees, as in its name) and its index in
            ``backgrounds``.
    """

    skins: tuple[tuple[UInt8[Array, "s s 3"], ...], ...]
    eyes: tuple[UInt8[Array, "e e 3"], ...]
    cloth: tuple[UInt8[Array, "h w 3"], ...]
    backgrounds: tuple[UInt8[Array, "h w 3"], ...]
    hands: Float[Array, "n 15 3"]
    prior: PosePrior
    views: Mapping[str, Mapping[int, int]]


def default_assets() -> Path:
    """The folder ``synth_assets`` of the working directory, or of the source checkout this file lies in."""
    for folder in (Path.cwd(), Path(__file__).resolve().parents[3]):
        if (folder / "synth_assets" / "index.json").is_file():
            return folder / "synth_assets"
    raise InputError(
        "no folder 'synth_assets' in the working directory or the source checkout",
        "the synthetic-data assets",
        "Run from a checkout of the repository, or name the folder with --assets.",
    )


def load_library(folder: Path | None = None) -> Library:
    """Read all assets (about 90 MB in memory).

    Raises:
        InputError: the folder lacks pictures of some kind.
    """
    folder = folder or default_assets()
    skins = tuple(
        (skin, _shrunk(skin, 512), _shrunk(skin, 256))
        for skin in (_shrunk(s, 1024) for s in _pictures(folder / "skins"))
    )
    with np.load(folder / "hand_poses.npz", allow_pickle=False) as npz:
        hands = npz["right"].astype(float)
    return Library(
        skins,
        tuple(_one_eye(picture) for picture in _pictures(folder / "eyes")),
        tuple(_pictures(folder / "cloth")),
        tuple(_pictures(folder / "backgrounds")),
        hands,
        load_pose_prior(folder / "pose_prior.npz"),
        _views(sorted((folder / "backgrounds").glob("*.jpg"))),
    )


def _views(paths: list[Path]) -> dict[str, dict[int, int]]:
    """Pictures named ``<place>_<degrees>.jpg``; others belong to no place."""
    views: dict[str, dict[int, int]] = {}
    for index, path in enumerate(paths):
        place, _, degrees = path.stem.rpartition("_")
        if place and degrees.isdecimal():
            views.setdefault(place, {})[int(degrees)] = index
    return views


def _pictures(folder: Path) -> list[UInt8[Array, "h w 3"]]:
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        raise InputError(f"{folder} without .jpg pictures", "the synthetic-data assets")
    return [np.ascontiguousarray(np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR))[..., ::-1]) for path in paths]


def _shrunk(picture: Array, size: int) -> Array:
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def _one_eye(picture: Array) -> Array:
    """MakeHuman eye textures show two eyes; cut out the upper one (centre at 70 %, 30 % of the picture)."""
    n = picture.shape[0]
    x, y, r = 0.7067 * n, 0.2967 * n, 0.27 * n
    return cv2.getRectSubPix(picture, (int(2 * r), int(2 * r)), (x, y)).copy()
