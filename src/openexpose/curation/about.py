"""What the review page is told of a fit, as JSON."""

from typing import Any

import numpy as np

from openexpose.body.keypoints import IBUG68, INDEX, KEYPOINT_NAMES, PARENTS, PARTS, SIDES
from openexpose.curation.pictures import Pictures
from openexpose.curation.store import FitRow, Store

_TIPS = ("thumb", "index", "middle", "ring", "pinky")
_FACE_LINES = ((0, 17), (17, 22), (22, 27), (27, 31), (31, 36), (36, 42), (42, 48), (48, 60), (60, 68))
_CLOSED_FROM = 36  # eyes and lips are rings


def about_fit(store: Store, pictures: Pictures, number: int, reviewer: str) -> dict[str, Any]:
    """All that the page shows of a fit.

    What others said is told only to those who have said something themselves, so that it does not sway them.
    """
    fit, record = store.fit(number), pictures.record(number)
    people = record.people
    mine = None
    if reviewer in fit.verdicts:
        note = note_of(store, fit, reviewer)
        mine = {"verdict": fit.verdicts[reviewer], "decision": fit.last[reviewer], "note": note}
    count = store.all("SELECT COUNT(*) FROM fits WHERE photo = ?", (fit.photo.id,))[0][0]
    return {
        "id": number,
        "photo": {
            "name": fit.photo.path.name,
            "licence": fit.photo.licence,
            "width": fit.photo.width,
            "height": fit.photo.height,
            "people": count,
        },
        "person": fit.person,
        "scores": fit.scores,
        "badness": fit.badness,
        "mine": mine,
        "verdicts": fit.verdicts if mine else {},
        "camera": {"focal_px": people.focal_px, "principal_px": _rounded(people.principal_px, 2)},
        "box": _rounded(people.bbox_xyxy[0], 2),
        "region": pictures.region(number),
        "keypoints": _rounded(record.keypoints_px, 2),
        "joints": _rounded(pictures.keypoints(number), 4),
    }


def note_of(store: Store, fit: FitRow, reviewer: str) -> str:
    """The note of a reviewer's standing verdict on a fit; empty if there is none."""
    found = store.all("SELECT note FROM decisions WHERE id = ?", (fit.last.get(reviewer, 0),))
    return str(found[0]["note"]) if found else ""


def about_keypoints() -> dict[str, Any]:
    """Names of the 144 keypoints, their parts (body, hand, face) and sides, and the lines drawn between them."""
    parts = np.full(len(KEYPOINT_NAMES), "body", object)
    for name, part in (("face", "face"), ("left_hand", "hand"), ("right_hand", "hand")):
        parts[PARTS[name][1 if part == "hand" else 0 :]] = part
    sides = [name.partition("_")[0] if name.partition("_")[0] in SIDES else "middle" for name in KEYPOINT_NAMES]
    return {"names": KEYPOINT_NAMES, "parts": parts.tolist(), "sides": sides, "bones": _bones()}


def _bones() -> list[tuple[int, int]]:
    """Pairs of keypoints: the limbs, fingers to their tips, across shoulders and hips, and the lines of the face."""
    limbs = [(int(parent), joint) for joint, parent in enumerate(PARENTS) if parent >= 0 and joint not in (22, 23, 24)]
    tips = [(INDEX[f"{side}_{tip}3"], INDEX[f"{side}_{tip}"]) for side in SIDES for tip in _TIPS]
    across = [(INDEX[f"left_{joint}"], INDEX[f"right_{joint}"]) for joint in ("shoulder", "hip")]
    trunk = [(INDEX[f"{side}_shoulder"], INDEX[f"{side}_hip"]) for side in SIDES]
    feet = [(INDEX[f"{side}_ankle"], INDEX[f"{side}_{end}"]) for side in SIDES for end in ("heel", "big_toe")]
    face = [(int(IBUG68[k]), int(IBUG68[k + 1])) for start, stop in _FACE_LINES for k in range(start, stop - 1)]
    rings = [(int(IBUG68[stop - 1]), int(IBUG68[start])) for start, stop in _FACE_LINES if start >= _CLOSED_FROM]
    return [*limbs, *tips, *across, *trunk, *feet, *face, *rings]


def _rounded(values: Any, decimals: int) -> Any:
    return np.round(np.asarray(values, float), decimals).tolist()
