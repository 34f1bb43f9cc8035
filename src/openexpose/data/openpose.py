"""Reader of what OpenPose wrote for a folder of pictures."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import IBUG68
from openexpose.data.arrays import read_json
from openexpose.data.gathering import People, check_folder, combine, labelled
from openexpose.data.reading import Reading, check_split
from openexpose.data.skeletons import BODY25, OPENPOSE_LEFT_HAND, OPENPOSE_RIGHT_HAND, to_keypoints
from openexpose.errors import InputError

Array = np.ndarray

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
BODY = "pose_keypoints_2d"
"""The key of a person's body."""
HANDS_AND_FACE = {
    "hand_left_keypoints_2d": OPENPOSE_LEFT_HAND,
    "hand_right_keypoints_2d": OPENPOSE_RIGHT_HAND,
    "face_keypoints_2d": np.r_[IBUG68, -1, -1],  # the last two are the pupils
}
"""The other keys, and which of the 144 keypoints their points are."""


def read_openpose(folder: Path, split: str = "train") -> Reading:
    """OpenPose's output (``--write_json``, model BODY_25): one sample a detected person.

    Pictures lie in ``images`` and ``<picture>_keypoints.json`` in ``keypoints`` (or all in the folder itself). Body 25,
    optional hands 21 each and face 70, whose last two points (the pupils) are dropped. Person-centric: left is the
    person's. The confidences are kept, up to 1. OpenPose adds half a pixel itself, so that coordinates stay. The body's
    wrists go before the hands'; the box is the tight one around everything that was detected.

    Args:
        folder: the folder.
        split: there is ``train`` only: everything is read.

    Raises:
        InputError: no such files. A file or person that does not read is skipped with a sentence.
    """
    check_folder(folder)
    check_split(split, ("train",), "OpenPose's output")
    places = [folder / name for name in ("keypoints", "openpose", "json", ".")]
    paths = next((found for place in places if (found := sorted(place.glob("*_keypoints.json")))), [])
    if not paths:
        raise InputError(f"'{folder}' without keypoints", "keypoints/<picture>_keypoints.json, as OpenPose writes them")
    pictures = _pictures([paths[0].parent, folder, folder / "images"])
    people, deserted = People(), 0
    for path in paths:
        stem = path.stem.removesuffix("_keypoints")
        with people.told(f"openpose/{stem}"):
            found = read_json(path)["people"]
            deserted += not found
            if found and stem not in pictures:
                raise InputError(f"no picture '{stem}' for '{path.name}'", "a JPEG or PNG of this name in 'images'")
            for k, person in enumerate(found):
                with people.told(f"openpose/{stem}/{k}"):
                    people.add(f"openpose/{stem}/{k}", pictures[stem], _keypoints(person))
    if deserted:
        people.skipped.append(f"{deserted} pictures in which OpenPose found nobody")
    return people.reading()


def _pictures(places: list[Path]) -> dict[str, Path]:
    """Pictures by their names; the last place counts."""
    files = (path for place in places if place.is_dir() for path in sorted(place.iterdir()))
    return {path.stem: path for path in files if path.suffix.lower() in _PICTURES}


def part_keypoints(person: dict[str, Any], key: str, table: Int[Array, "k"]) -> Float[Array, "144 3"]:
    """One part of a person that OpenPose saw.

    Args:
        person: an entry of OpenPose's ``people``.
        key: ``pose_keypoints_2d``, ``face_keypoints_2d`` ...
        table: index among the 144 of each of its points, -1 for none.

    Returns:
        rows x, y (pixels) and confidence 0..1, zero where nothing was seen.

    Raises:
        InputError: another number of points, NaN or infinity, or coordinates that OpenPose has normalised.
    """
    points = labelled(person[key], len(table), key)
    points[:, 2] = np.minimum(points[:, 2], 1.0)
    if points[:, 2].any() and np.abs(points[:, :2]).max() <= 1.0:
        raise InputError(f"'{key}' within [-1, 1]", "pixels", "Run OpenPose with --keypoint_scale 0")
    return to_keypoints(points, table)


def _keypoints(person: dict[str, Any]) -> Float[Array, "144 3"]:
    body = part_keypoints(person, BODY, BODY25)
    # without --hand or --face their lists are empty
    fine = [part_keypoints(person, key, table) for key, table in HANDS_AND_FACE.items() if person.get(key)]
    return combine([body, *fine])
