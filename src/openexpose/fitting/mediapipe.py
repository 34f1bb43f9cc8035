"""What MediaPipe saw, saved as JSON: results of its Holistic, Pose, Hands and Face Mesh solutions and of the Tasks'
landmarkers, as JavaScript's ``JSON.stringify`` or Python's ``MessageToDict`` write them.

Keys may be in camel or in snake case. A landmark is ``{x, y, z, visibility}`` or ``[x, y, z, visibility]``, in shares
of the picture's width and height, or in pixels (told from the numbers). World landmarks and other keys are not read.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.data.gathering import labelled
from openexpose.errors import InputError
from openexpose.predict.landmarks import lay_over, named_points

Array = np.ndarray
Rows = Float[Array, "n 3"]
"""Landmarks of one part: x, y, visibility."""

_KEYS = {
    "poselandmarks": "body",
    "lefthandlandmarks": "left_hand",
    "righthandlandmarks": "right_hand",
    "handlandmarks": "hand",
    "multihandlandmarks": "hand",
    "facelandmarks": "face",
    "multifacelandmarks": "face",
}
_UNNAMED = ("landmark", "landmarks")  # of whatever part has so many: the Tasks in JavaScript, and protocol buffers
_COUNTS = {"body": (33,), "left_hand": (21,), "right_hand": (21,), "hand": (21,), "face": (478, 468)}
_PART_OF_COUNT = {33: "body", 21: "hand", 468: "face", 478: "face"}
_FINE = ("left_hand", "right_hand", "face")
_TASKS_SIDES, _SOLUTIONS_SIDES = ("handedness", "handednesses"), "multihandedness"
_ANCHORS = {"left_hand": (0, 15), "right_hand": (0, 16), "face": (1, 0)}  # wrist or nose: the part's and the pose's
_REACH = 0.25
"""A hand or face is a body's if wrist or nose lie that near, in sizes of the body in the picture."""
_NORMALISED = 2.0
"""If half of the landmarks have coordinates below this, they are shares of the picture and not pixels."""


def is_mediapipe(content: Any) -> bool:
    """Whether JSON content looks like MediaPipe's landmarks."""
    if isinstance(content, dict):
        return any(_plain(key) in (*_KEYS, *_UNNAMED) for key in content)
    try:
        lists = _lists(content)
    except InputError:
        return False
    return bool(lists) and len(lists[0]) in _PART_OF_COUNT


def mediapipe_keypoints(content: Any, image_size: tuple[int, int]) -> list[Float[Array, "144 3"]]:
    """The people that MediaPipe saw.

    Confidence is the visibility, and 1 where MediaPipe tells none, as of hands and faces. One body has the hands and
    the face that are said to be its own; of several each has those whose wrists and nose are nearest. Hands of which
    only a handedness tells the side go to the nearest wrist, whatever it says, because it depends on MediaPipe's
    version. Without a body it decides, and the first left hand, right hand and face are the first person.

    Args:
        content: the JSON.
        image_size: width and height of the picture, pixels.

    Returns:
        one array a person: x, y (pixels) and confidence, as the 144 named keypoints.

    Raises:
        InputError: a part with another number of landmarks, NaN, or hands without a side.
    """
    found = _landmarks(content)
    _to_pixels([rows for lists in found.values() for rows in lists], image_size)
    bodies, hands = found["body"], found.pop("hand")
    if not bodies:
        for side, rows in zip(_sides(content, len(hands)), hands, strict=True):
            found[side].append(rows)
        count = max(len(found[part]) for part in _FINE)
        parts = [{part: found[part][k] for part in _FINE if k < len(found[part])} for k in range(count)]
        return [_person(None, own) for own in parts]
    owned: list[dict[str, Rows]] = [{} for _ in bodies]
    for part in _FINE:
        if len(bodies) == len(found[part]) == 1:
            owned[0][part] = found[part][0]
        else:
            _give(found[part], (part,), bodies, owned)
    _give(hands, ("left_hand", "right_hand"), bodies, owned)
    return [_person(body, own) for body, own in zip(bodies, owned, strict=True)]


def _person(body: Rows | None, fine: dict[str, Rows]) -> Float[Array, "144 3"]:
    named = {part: named_points(part, rows[:, :2], rows[:, 2]) for part, rows in fine.items()}
    start = np.zeros((len(KEYPOINT_NAMES), 3)) if body is None else named_points("body", body[:, :2], body[:, 2])
    return lay_over(start, named)


def _plain(key: Any) -> str:
    return str(key).replace("_", "").lower()


def _landmarks(content: Any) -> dict[str, list[Rows]]:
    """All landmarks by part; ``hand`` are those whose side the key does not tell."""
    found: dict[str, list[Rows]] = {part: [] for part in _COUNTS}
    for key, value in content.items() if isinstance(content, dict) else [("landmarks", content)]:
        part = _KEYS.get(_plain(key))
        if part is None and _plain(key) not in _UNNAMED:
            continue
        for landmarks in _lists(value):
            named = part or _PART_OF_COUNT.get(len(landmarks))
            counts = _COUNTS[named] if named else tuple(_PART_OF_COUNT)
            if named is None or len(landmarks) not in counts:
                raise InputError(f"'{key}' of {len(landmarks)} landmarks", " or ".join(map(str, counts)))
            found[named].append(_rows(landmarks, key))
    return found


def _lists(value: Any) -> list[list[Any]]:
    """The lists of landmarks in a value: none, one or several, inside protocol buffers' fields or not."""
    if isinstance(value, dict):
        value = next((value[key] for key in _UNNAMED if key in value), value)
    if not value:
        return []
    if not isinstance(value, list):
        raise InputError(f"{str(value)[:40]!r}", "lists of landmarks: {x, y, z, visibility} or [x, y, z, visibility]")
    first = value[0]
    numbers = isinstance(first, list) and len(first) > 0 and not isinstance(first[0], list | dict)
    if numbers or (isinstance(first, dict) and "x" in first):
        return [value]
    return [landmarks for one in value for landmarks in _lists(one)]


def _rows(landmarks: list[Any], key: str) -> Rows:
    values = []
    for landmark in landmarks:
        if isinstance(landmark, dict):
            values.append((landmark["x"], landmark["y"], landmark.get("visibility")))
        else:
            values.append((landmark[0], landmark[1], landmark[3] if len(landmark) > 3 else None))
    rows = np.array([(x, y, 1.0 if seen is None else seen) for x, y, seen in values], float)
    if (rows[:, 2] == 0.0).all():  # unset, as of hands and faces
        rows[:, 2] = 1.0
    rows[:, 2] = np.clip(rows[:, 2], 0.0, 1.0)
    return labelled(rows, len(rows), key)


def _to_pixels(every: list[Rows], image_size: tuple[int, int]) -> None:
    """Multiply shares of the picture by its size."""
    seen = [np.abs(rows[rows[:, 2] > 0, :2]).max(1) for rows in every]
    if seen and np.median(np.concatenate(seen)) <= _NORMALISED:
        for rows in every:
            rows[:, :2] *= image_size


def _give(lists: list[Rows], parts: tuple[str, ...], bodies: list[Rows], owned: list[dict[str, Rows]]) -> None:
    """Give hands or faces to bodies, the nearest pair first, and no body two of a part.

    Args:
        lists: landmarks of each hand or face.
        parts: what they may be.
        bodies: landmarks of each body.
        owned: the parts of each body so far; what is given is added.
    """
    places = [(k, part) for k in range(len(bodies)) for part in parts if part not in owned[k]]
    distance = np.full((len(lists), len(places)), np.inf)
    for column, (k, part) in enumerate(places):
        body, (mine, its) = bodies[k], _ANCHORS[part]
        if body[its, 2] > 0:
            size = np.ptp(body[body[:, 2] > 0, :2], axis=0).max()
            distance[:, column] = [np.linalg.norm(rows[mine, :2] - body[its, :2]) / max(size, 1.0) for rows in lists]
    while distance.size and distance.min() <= _REACH:
        row, column = divmod(int(distance.argmin()), len(places))
        k, part = places[column]
        owned[k][part] = lists[row]
        distance[row], distance[:, column] = np.inf, np.inf


def _sides(content: Any, count: int) -> list[str]:
    """``left_hand`` or ``right_hand`` for each of the hands whose key does not tell.

    The Hands solution takes pictures for mirrored ones (selfies), so its labels are turned; the Tasks tell the
    subject's side.
    """
    given = {_plain(key): value for key, value in content.items()} if count and isinstance(content, dict) else {}
    mirrored = _SOLUTIONS_SIDES in given
    entries: list[Any] = next((given[key] for key in (_SOLUTIONS_SIDES, *_TASKS_SIDES) if key in given), [])
    left = [_label(entry) == ("right" if mirrored else "left") for entry in entries]
    if len(left) != count:
        raise InputError(f"{count} hands and {len(left)} sides", "the handedness of each hand, or a pose")
    return ["left_hand" if one else "right_hand" for one in left]


def _label(entry: Any) -> str:
    while not isinstance(entry, str):
        if isinstance(entry, dict):
            keys = ("label", "categoryName", "category_name", "classification", "classifications", "categories")
            entry = entry[next((key for key in keys if key in entry), "label")]
        else:
            entry = entry[0]
    if entry.lower() not in ("left", "right"):
        raise InputError(f"the handedness {entry[:40]!r}", "Left or Right")
    return entry.lower()
