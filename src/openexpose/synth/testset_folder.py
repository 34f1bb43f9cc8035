"""The texts beside the pictures of the test set: boxes, table, README."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence

import numpy as np

from openexpose.synth.testset import NAME, PEOPLE, SEEN_PARTS, TEST_V1_SHA256, TruePerson

_COLUMNS = (
    *("picture", "stance", "arms", "face", "truncation", "person_px", "width_px", "height_px", "focal_px"),
    *("depth_m", "left_hand_seen", "right_hand_seen", "face_seen"),
)


def boxes_json(people: Sequence[TruePerson]) -> str:
    """Boxes by picture, as ``openexpose predict --boxes`` reads them."""
    boxes = {f"{person.name}.jpg": [person.box_xyxy_px.astype(int).tolist()] for person in people}
    return json.dumps(boxes, indent=0) + "\n"


def table_csv(people: Sequence[TruePerson]) -> str:
    """One line a picture: how the person stands, what is cut off, how large it is, what can be seen."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for person in people:
        seen = [int(part in person.seen) for part in SEEN_PARTS]
        size = (person.height_px, *person.image_size, f"{person.focal_px:.2f}", f"{person.transl[2]:.4f}")
        writer.writerow([person.name, person.stance, person.arms, person.face, person.truncation, *size, *seen])
    return text.getvalue()


def readme(people: Sequence[TruePerson], count: int) -> str:
    """What the folder is, how it is measured on, who may use it.

    Args:
        people: all of them.
        count: how many pictures there are.
    """
    part = "" if count == PEOPLE else f"\n**Here are the first {count} of its {PEOPLE} pictures, for trying out.**\n"
    return _README.format(
        name=NAME, people=PEOPLE, sha256=TEST_V1_SHA256, part=part, counts=_counts(people), sizes=_sizes(people)
    )


def _counts(people: Sequence[TruePerson]) -> str:
    lines = ["| what | pictures |", "|---|---|"]
    for what in ("truncation", "stance", "arms", "face"):
        found = Counter(getattr(person, what) for person in people)
        lines.append(f"| {what} | {', '.join(f'{name}: {n}' for name, n in found.most_common())} |")
    seen = Counter(part for person in people for part in person.seen)
    lines.append(f"| seen | {', '.join(f'{name}: {seen[name]}' for name in SEEN_PARTS)} |")
    return "\n".join(lines)


def _sizes(people: Sequence[TruePerson]) -> str:
    heights = [person.height_px for person in people]
    sides = np.array([person.image_size for person in people])
    away = [person.transl[2] for person in people]
    tall = f"{min(heights)} to {max(heights)} px tall (longer side of the box; median {np.median(heights):.0f})"
    where = f"{min(away):.1f} to {max(away):.1f} m from the camera, in pictures of {sides.min()} to {sides.max()} px"
    return f"People are {tall},\n{where} a side."


_README = """\
# {name}: {people} rendered people with exact labels

Whole bodies with hands and faces, one person a picture, rendered by `openexpose synth --preset test`. The set is
frozen: its labels are the same numbers everywhere, its pictures are compared with frozen thumbnails. Nobody trains on
it; its random numbers are out of reach of the training sets'. SHA-256 of the integers that the labels come from:
`{sha256}`.
{part}
{sizes}
Skins, cloths and backgrounds are from the same stock as those of training pictures: the set measures poses, shapes,
hands and faces that were never trained on, not the step to photographs.

{counts}

## Files

- `images/0000.jpg` ...: the pictures. The camera's axis goes through the centre of the picture; no lens distortion. The
  focal length is in the EXIF data (FocalLength and FocalPlaneXResolution).
- `truth.npz` (numpy, no pickle), rows in the order of the pictures, for all {people} people; `rendered` tells whose
  picture is there. Rotations are axis-angle in radians, lengths metres, the camera looks along z, x right, y down:
  `global_orient` [n, 3], `body_pose` [n, 63], `jaw_pose`, `leye_pose`, `reye_pose` [n, 3], `left_hand_pose`,
  `right_hand_pose` [n, 45] (full rotations, flat_hand_mean=True), `betas` [n, 10], `expression` [n, 20], `transl`
  [n, 3], `focal_px` [n], `image_size` [n, 2] (width, height), `box_xyxy_px` [n, 4], `visibility` [n, 144] (0 outside
  the picture, 1 behind the person's own body, 2 seen; order: `openexpose.body.keypoints.KEYPOINT_NAMES`), `names`,
  `stance`, `arms`, `face`, `truncation`, `appearance` (a seed). Coefficients are those of openexpose's free body, not
  of SMPL-X; pose, topology of the skeleton and names are SMPL-X's. The vertices:

      from openexpose.body.mesh import posed_mesh
      from openexpose.body.model import load_body_model
      mesh = posed_mesh(load_body_model(), pose, betas, expression)  # pose [n, 55, 3, 3]: rotation matrices
      vertices = mesh.vertices + transl[:, None]

- `boxes.json`: `openexpose predict images/ --boxes boxes.json`.
- `table.csv`: one line a picture: stance, arms, what is cut off, sizes, which parts can be seen (half of their
  keypoints).

## Protocol

As EHF's: given box and focal length, errors in mm after Procrustes alignment (of each part on its own), of 14 joints,
of the hands' joints and of all vertices, the body's, the hands' and the face's.

    openexpose evaluate --protocol renders --data THIS_FOLDER --out report
    openexpose evaluate --protocol renders --data THIS_FOLDER --pred FOLDER --out report

The second line measures anybody's meshes, parameters or joints: one file a picture, named as it is (`0000.ply`,
`0000.npz`, ...). On meshes of another body model joints and point-to-surface distances are measured, not V2V.

## Licence

Pictures and labels: CC0-1.0. Skins, eyes and cloth come from MakeHuman's assets and backgrounds from Poly Haven, all
CC0; poses were drawn from statistics of motion capture (the data used in this project was obtained from
mocap.cs.cmu.edu; the database was created with funding from NSF EIA-0196217) and from CC0 hand poses.
"""
