"""Data sets with 2D keypoints, written in their own formats from synthetic people.

The lists of keypoints are spelled out here from the data sets' documentation, independently of the tables in the code.
``None`` marks points without counterpart; they are put at the middle of the head.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat
from tests.data.people import Person, save_picture

from openexpose.body.keypoints import INDEX

COCO = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()
FEET = "left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel".split()
LSP: list[str | None] = [
    *"right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow right_shoulder".split(),
    *("left_shoulder", "left_elbow", "left_wrist", "neck", None),
]
MPII: list[str | None] = [
    *"right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis".split(),
    *(None, None, None),
    *"right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist".split(),
]
BODY_25 = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist pelvis right_hip right_knee "
    "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe left_small_toe "
    "left_heel right_big_toe right_small_toe right_heel"
).split()
LEFT_HAND, RIGHT_HAND = (
    [f"{side}_wrist"]
    + [f"{side}_{finger}{k}" for finger in "thumb index middle ring pinky".split() for k in ("1", "2", "3", "")]
    for side in ("left", "right")
)
FACE = (
    [f"right_contour_{k}" for k in range(1, 9)]
    + ["contour_middle"]
    + [f"left_contour_{k}" for k in range(8, 0, -1)]
    + [f"right_eye_brow{k}" for k in range(1, 6)]
    + [f"left_eye_brow{k}" for k in range(5, 0, -1)]
    + "nose1 nose2 nose3 nose4 right_nose_2 right_nose_1 nose_middle left_nose_1 left_nose_2".split()
    + [f"right_eye{k}" for k in range(1, 7)]
    + "left_eye4 left_eye3 left_eye2 left_eye1 left_eye6 left_eye5".split()
    + "right_mouth_1 right_mouth_2 right_mouth_3 mouth_top left_mouth_3 left_mouth_2 left_mouth_1".split()
    + "left_mouth_5 left_mouth_4 mouth_bottom right_mouth_4 right_mouth_5".split()
    + "right_lip_1 right_lip_2 lip_top left_lip_2 left_lip_1 left_lip_3 lip_bottom right_lip_3".split()
)


def points_px(person: Person, names: list[str] | list[str | None]) -> np.ndarray:
    """[k, 2] in our pixels."""
    return person.points_px[[INDEX[name or "head"] for name in names]]


def box_xywh(person: Person) -> list[float]:
    """A loose box with fractions, as COCO's outlines have them."""
    low, high = person.points_px.min(0) - 4.25, person.points_px.max(0) + 3.5
    return [*low, *(high - low)]


def write_json(path: Path, content: Any) -> Path:
    """JSON, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")
    return path


def coco_entry(person: Person, k: int) -> dict[str, Any]:
    """Person ``k`` (picture ``k // 2``): whole pixel indices; everything seen but the nose, which is occluded."""
    points = np.c_[np.floor(points_px(person, COCO)), np.full(17, 2.0)]
    points[0, 2] = 1
    return {
        "id": 1000 + k,
        "image_id": 7 + k // 2,
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": 17,
        "bbox": box_xywh(person),
        "keypoints": points.astype(int).ravel().tolist(),
    }


def wholebody_entry(person: Person, k: int) -> dict[str, Any]:
    """COCO's entry and fractional indices with fractional visibility of feet, face and hands."""
    entry = coco_entry(person, k)
    parts = {"foot": FEET, "face": FACE, "lefthand": LEFT_HAND, "righthand": RIGHT_HAND}
    for part, names in parts.items():
        points = np.c_[points_px(person, names) - 0.5, np.full(len(names), 0.37)]
        entry |= {f"{part}_kpts": points.ravel().tolist(), f"{part}_valid": True, f"{part}_box": [0.0, 0.0, 0.0, 0.0]}
    return entry


def write_coco(path: Path, entries: list[dict[str, Any]]) -> Path:
    """The JSON of COCO and COCO-WholeBody."""
    images = [{"id": k, "file_name": f"{k:012d}.jpg", "width": 400, "height": 400} for k in (7, 8)]
    return write_json(path, {"info": {}, "licenses": [], "categories": [], "images": images, "annotations": entries})


def mpii_entry(person: Person, k: int) -> dict[str, Any]:
    """A row of the common JSON list; square of half the person's height about the pelvis, coordinates from 1."""
    height = np.ptp(person.points_px[:, 1])
    return {
        "image": f"{k:09d}.jpg",
        "joints": (points_px(person, MPII) + 0.5).tolist(),
        "joints_vis": [1] * 16,
        "center": (person.points_px[0] + 0.5).tolist(),
        "scale": 0.5 * height / 200.0,
    }


def structs(rows: list[dict[str, Any]]) -> np.ndarray:
    """MATLAB's array of structs."""
    fields = list(dict.fromkeys(key for row in rows for key in row))
    made = np.empty((1, len(rows)), [(name, object) for name in fields])
    for k, row in enumerate(rows):
        for name in fields:
            made[0, k][name] = row.get(name, np.zeros((0, 0)))
    return made


def write_mpii_mat(folder: Path, people: list[Person]) -> Path:
    """The original file: a picture a person, then one with two people, one without any, and one of the test set."""
    rows = []
    for k, person in enumerate(people):
        points = [
            {"x": x + 0.5, "y": y + 0.5, "id": float(i), "is_visible": ["0", "1", np.zeros((0, 0))][i % 3]}
            for i, (x, y) in enumerate(points_px(person, MPII))
        ]
        x, y = person.points_px[0] + 0.5
        rows.append(
            {
                **{"x1": 1.0, "y1": 1.0, "x2": 9.0, "y2": 9.0},
                "annopoints": structs([{"point": structs(points[::-1])}]),
                "scale": mpii_entry(person, k)["scale"],
                "objpos": structs([{"x": x, "y": y}]),
            }
        )
    headless = {"x1": 1.0, "y1": 1.0, "x2": 9.0, "y2": 9.0}
    without_square = {"annopoints": rows[0]["annopoints"]}
    test = {"objpos": rows[0]["objpos"], "scale": 1.0}
    annorects = [structs([row]) for row in rows] + [structs([rows[0], headless, without_square])]
    annorects += [np.zeros((0, 0)), structs([test])]
    annolist = structs(
        [
            {"image": structs([{"name": f"{k:09d}.jpg"}]), "annorect": annorect, "vididx": 1.0}
            for k, annorect in enumerate(annorects)
        ]
    )
    img_train = np.array([[1] * (len(annorects) - 1) + [0]], np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mpii_human_pose_v1_u12_1.mat"
    savemat(path, {"RELEASE": {"annolist": annolist, "img_train": img_train, "version": "12"}})
    return path


def write_lsp(folder: Path, people: list[Person]) -> np.ndarray:
    """``joints.mat`` [3, 14, 2000]: people 0 and 1 first, person 2 as number 1001; the third row is occlusion."""
    joints = np.ones((3, 14, 2000)) * np.arange(2000.0) + np.arange(42.0).reshape(3, 14, 1)
    for column, person in zip((0, 1, 1000), people, strict=False):
        joints[:2, :, column] = (points_px(person, LSP) + 0.5).T
    joints[2] = np.arange(14)[:, None] % 2
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / "joints.mat", {"joints": joints})
    for k, person in enumerate(people[:2]):
        save_picture(folder / "images" / f"im{k + 1:04d}.jpg", person.pixels)
    return joints


def write_lsp_extended(folder: Path, people: list[Person]) -> np.ndarray:
    """``joints.mat`` [14, 3, 10000]: person 0 whole, person 1 without right leg, person 2 with arms only; no others."""
    joints = np.zeros((14, 3, 10000))
    for column, person in enumerate(people[:3]):
        joints[:, :2, column], joints[:, 2, column] = points_px(person, LSP) + 0.5, 1.0
    joints[:3, :, 1] = [-7.0, 3.0, 0.0]
    joints[:9, 2, 2] = 0.0
    joints[12:, 2, 2] = 0.0
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / "joints.mat", {"joints": joints})
    return joints


def openpose_person(person: Person, *, hands: bool = True) -> dict[str, Any]:
    """One entry of ``people``: confidences 0.9 (body), 0.6 (hands), 0.5 (face); pupils at the end of the face."""
    confidences = {"pose": 0.9, "hand_left": 0.6, "hand_right": 0.6, "face": 0.5}
    names = {"pose": BODY_25, "hand_left": LEFT_HAND, "hand_right": RIGHT_HAND, "face": FACE}
    entry: dict[str, Any] = {"person_id": [-1], "pose_keypoints_3d": []}
    for part, confidence in confidences.items():
        points = np.c_[points_px(person, names[part]), np.full(len(names[part]), confidence)]
        if part == "face":
            points = np.concatenate([points, [[1.0, 2.0, 0.99], [3.0, 4.0, 0.99]]])
        entry[f"{part}_keypoints_2d"] = points.ravel().tolist() if hands or part == "pose" else []
    return entry
