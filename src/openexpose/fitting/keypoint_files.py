"""Reader of the keypoints that other detectors, or annotators, wrote for a picture: OpenPose, COCO(-WholeBody) and its
kin, MediaPipe."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import COCO17, IBUG68, LEFT_HAND21, RIGHT_HAND21, indices
from openexpose.data.arrays import read_json
from openexpose.data.gathering import combine, labelled
from openexpose.data.openpose import BODY, HANDS_AND_FACE, part_keypoints
from openexpose.data.planar import FROM_INDEX_PX, WHOLEBODY_PARTS
from openexpose.data.skeletons import BODY25, THREEDPW18, to_keypoints
from openexpose.errors import InputError
from openexpose.fitting.mediapipe import is_mediapipe, mediapipe_keypoints
from openexpose.fitting.observed import Observed

Array = np.ndarray
Numbered = tuple[int, Float[Array, "144 3"]]
"""A person's number in the file, and keypoints."""

_FINE = np.r_[IBUG68, LEFT_HAND21, RIGHT_HAND21]
_HALPE26 = np.r_[
    COCO17,
    -1,  # top of the head
    indices("neck", "pelvis", "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe"),
    indices("left_heel", "right_heel"),
]
_OPENPOSE_BODIES: dict[int, Int[Array, "k"]] = {25: BODY25, 18: THREEDPW18}
_COCO_LISTS: dict[int, Int[Array, "k"]] = {
    17: COCO17,
    26: _HALPE26,
    133: np.r_[COCO17, BODY25[19:], _FINE],
    136: np.r_[_HALPE26, _FINE],
}
"""COCO, Halpe's body, COCO-WholeBody as one list (MMPose, DWPose, RTMPose), whole Halpe (AlphaPose)."""
_MOSTLY = 0.5
"""So much of the confidence must lie inside the picture."""


def keypoint_file(place: Path, photo: Path) -> Path:
    """The file with the keypoints of a photo: ``place`` itself, or STEM.json or STEM_keypoints.json in that folder.

    Raises:
        InputError: the folder has none.
    """
    if not place.is_dir():
        return place
    names = f"{photo.stem}.json", f"{photo.stem}_keypoints.json"
    for name in names:
        if (place / name).is_file():
            return place / name
    raise InputError(f"'{place}' without keypoints of '{photo.name}'", " or ".join(names))


def read_keypoints(path: Path, *, image: str, image_size: tuple[int, int]) -> list[Observed]:
    """Read the people of one picture from a JSON file of keypoints. docs/fitting.md lists what is read.

    Left and right are the person's own. Parts that the file lacks (no hands, no face) have confidence 0. People without
    any keypoint are left out. Labels of annotators give confidence 1.

    Args:
        path: the file.
        image: name of the picture: it goes into the names of people, and picks them from a COCO file of many pictures.
        image_size: width and height of the upright picture, pixels.

    Returns:
        one record a person, in the file's order, named by the picture and the number among its people. None where the
        file is about this picture alone and its detector found nobody.

    Raises:
        InputError: not such a file; a person with another number of keypoints, with text or with NaN; keypoints of
            another picture or of another size; a file about many pictures with nobody in this one.
    """
    content = read_json(path)
    kind = _format(content)
    if kind is None:
        expected = "the JSON of OpenPose, COCO, COCO-WholeBody, Halpe or MediaPipe"
        raise InputError(f"'{path}' with {_shown(content)}", expected)
    with _told(f"'{path}'"):
        found = [(k, points) for k, points in _READERS[kind](content, image, image_size) if points[:, 2].any()]
    about_many = kind == "coco" and "instance_info" not in content
    if not found and about_many:
        raise InputError(f"'{path}' without anybody in '{image}'", "the keypoints of at least one person")
    people = [Observed(f"{image}/{k}", points, image_size, kind) for k, points in found]
    for person in people:
        _check_inside(person, path)
    return people


def _format(content: Any) -> str | None:
    """Whose JSON it is, if any that is read."""
    first = content[0] if isinstance(content, list) and content else content
    if isinstance(content, dict) and "people" in content:
        return "openpose"
    if isinstance(first, dict) and any(key in first for key in ("annotations", "instance_info", "keypoints")):
        return "coco"
    return "mediapipe" if is_mediapipe(content) else None


def _shown(content: Any) -> str:
    if isinstance(content, dict):
        return f"the keys {', '.join(map(str, content))[:80]}" if content else "no keys"
    return f"a list of {len(content)}" if isinstance(content, list) else f"{str(content)[:40]!r}"


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn errors of broken content into one sentence that names the file, and the person if it is known."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error.got}", error.expected, error.fix) from None
    except KeyError as error:
        raise InputError(f"{what} without {error}", "a keypoint file as its detector writes it") from None
    except (AttributeError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{what}, which does not read ({error})", "numbers: x, y and confidence") from None


def _check_inside(person: Observed, path: Path) -> None:
    x, y, confidence = person.keypoints_px.T
    width, height = person.image_size
    inside = (x >= 0.0) & (x <= width) & (y >= 0.0) & (y <= height)
    if (confidence * inside).sum() < _MOSTLY * confidence.sum():
        raise InputError(
            f"{person.name}: most keypoints of '{path}' lie outside the {width} x {height} picture",
            "pixels of this picture",
            "Were they found in a copy of another size?",
        )


def _openpose(content: Any, image: str, image_size: tuple[int, int]) -> Iterator[Numbered]:
    canvas = content.get("canvas_width", image_size[0]), content.get("canvas_height", image_size[1])
    if canvas != tuple(image_size):  # ControlNet's variety
        raise InputError(
            "keypoints of a canvas of {} x {}".format(*canvas), "the picture's {} x {}".format(*image_size)
        )
    for k, person in enumerate(content["people"]):
        with _told(f"person {k}"):
            found = []
            if values := person.get(BODY):
                table = _OPENPOSE_BODIES.get(np.size(values) // 3)
                if table is None:
                    raise InputError(f"'{BODY}' of {np.size(values)} numbers", "75 (BODY_25) or 54 (COCO)")
                found.append(part_keypoints(person, BODY, table))
            fine = [(key, table) for key, table in HANDS_AND_FACE.items() if person.get(key)]
            yield k, combine([*found, *(part_keypoints(person, key, table) for key, table in fine)])


def _coco(content: Any, image: str, image_size: tuple[int, int]) -> Iterator[Numbered]:
    """COCO's annotations, lists of results, and what MMPose writes. The first pixel is called 0 in all of them."""
    labels = isinstance(content, dict) and "annotations" in content
    entries = _annotated(content, image, image_size) if labels else _detected(content, image)
    for k, entry in enumerate(entries):
        with _told(f"person {k} of '{image}'"):
            if entry.get("iscrowd"):
                continue
            points = _coco_person(entry)
            if labels:
                points[:, 2] = points[:, 2] > 0  # 1: hidden, 2: seen; WholeBody: anything above 0 is reliable
            yield k, points


def _coco_person(entry: dict[str, Any]) -> Float[Array, "144 3"]:
    values = np.array(entry["keypoints"], float)
    if "keypoint_scores" in entry:
        values = np.c_[values.reshape(-1, 2), np.array(entry["keypoint_scores"], float)]
    table = _COCO_LISTS.get(values.size // 3)
    if table is None:
        expected = ", ".join(f"{3 * count} ({count} keypoints)" for count in _COCO_LISTS)
        raise InputError(f"'keypoints' of {values.size} numbers", expected)
    found = [to_keypoints(_scored(values, len(table), "keypoints"), table)]
    for key, (valid, table) in WHOLEBODY_PARTS.items():
        if valid and entry.get(key) and entry.get(valid, True):
            found.append(to_keypoints(_scored(entry[key], len(table), key), table))
    return combine(found)


def _scored(values: Any, count: int, key: str) -> Float[Array, "n 3"]:
    points = labelled(values, count, key, FROM_INDEX_PX)
    points[:, 2] = np.minimum(points[:, 2], 1.0)
    return points


def _annotated(content: dict[str, Any], image: str, image_size: tuple[int, int]) -> list[dict[str, Any]]:
    """The annotations of one of COCO's pictures."""
    pictures = content["images"]
    names = _called([picture["file_name"] for picture in pictures], image)
    chosen = [picture for picture in pictures if picture["file_name"] in names]
    ids = _called([picture["id"] for picture in pictures], image) if not chosen else {one["id"] for one in chosen}
    chosen = [picture for picture in pictures if picture["id"] in ids]
    if len(chosen) != 1:
        raise InputError(f"{len(chosen)} 'images' called '{image}'", "one, by file_name or id")
    size = (chosen[0].get("width") or image_size[0], chosen[0].get("height") or image_size[1])
    if size != tuple(image_size):
        got = "labels of a picture of {} x {}".format(*size)
        raise InputError(got, "labels of '{}' with its {} x {}".format(image, *image_size))
    return [entry for entry in content["annotations"] if entry["image_id"] in ids]


def _detected(content: Any, image: str) -> list[dict[str, Any]]:
    """The results about a picture; all, where they do not tell what they are about."""
    entries = [content] if isinstance(content, dict) and "keypoints" in content else content
    if isinstance(entries, dict):
        return list(entries["instance_info"])
    if not any("image_id" in entry for entry in entries):
        return list(entries)
    names = _called([entry["image_id"] for entry in entries], image)
    if len(names) > 1:
        raise InputError(f"results of {len(names)} pictures called '{image}'", "one", "Name it with its folder.")
    return [entry for entry in entries if entry["image_id"] in names]


def _called(names: Iterable[Any], image: str) -> set[Any]:
    """Those of the names or numbers that mean a picture: by its path, else its name, else its name without ending."""
    found: list[set[Any]] = [set(), set(), set()]
    asked = PurePosixPath(Path(image).as_posix())
    for name in names:
        called = PurePosixPath(str(name).replace("\\", "/"))
        same_number = isinstance(name, int) and asked.stem.isdecimal() and int(asked.stem) == name
        if called == asked:
            found[0].add(name)
        elif called.name == asked.name:
            found[1].add(name)
        elif asked.stem in (called.name, called.stem) or same_number:
            found[2].add(name)
    return next((some for some in found if some), set())


def _mediapipe(content: Any, image: str, image_size: tuple[int, int]) -> Iterable[Numbered]:
    return enumerate(mediapipe_keypoints(content, image_size))


_READERS: dict[str, Callable[[Any, str, tuple[int, int]], Iterable[Numbered]]] = {
    "openpose": _openpose,
    "coco": _coco,
    "mediapipe": _mediapipe,
}
