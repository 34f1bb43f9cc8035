"""Where does it fail? The worst person of each of several categories, as one picture and as a table.

    python bench/failures.py --data test-v2/ --out docs/pictures/failures.jpg [--bundle FOLDER] [--report FOLDER]

Predicts everybody who counts in test-v2 with given boxes, finds the categories by the labels' geometry alone, and shows
of each the one with the largest error (PA-V2V all, mm) who was not shown before. --report takes the errors of a report
of `openexpose evaluate` by the same bundle instead of predicting everybody. Prints a Markdown table. Up is the
picture's.
"""

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from openexpose.body.keypoints import IBUG68, INDEX, LEFT_HAND21, PARENTS, PARTS, RIGHT_HAND21
from openexpose.data.synthetic import RenderedPerson, read_test_people
from openexpose.evaluation.metrics import procrustes_errors
from openexpose.evaluation.protocols.renders import protocol
from openexpose.evaluation.record import Subject
from openexpose.evaluation.report.pictures import mesh_camera
from openexpose.evaluation.report.write import read_report
from openexpose.evaluation.run import OwnSystem, read_picture
from openexpose.evaluation.tables import Tables
from openexpose.formats.atomic import write_whole
from openexpose.predict.pipeline import Predictor
from openexpose.render.overlay import render_overlay
from openexpose.synth.testset_v2 import FILE, read_frozen

METRIC = "PA-V2V all"
COLUMNS, PANEL_PX, GAP_PX, CAPTION_PX = 4, (210, 280), 10, 66
LARGEST_BYTES = 1_000_000
SIDES = ("left", "right")
LIMBS = {side: [INDEX[f"{side}_{n}"] for n in ("hip", "knee", "ankle")] for side in SIDES}


@dataclass(frozen=True, eq=False)
class Person:
    """A person who counts, and what the labels say of how it is there."""

    subject: Subject
    true: RenderedPerson
    neighbours: tuple[np.ndarray, ...]
    """Boxes of the others in the picture, pixels."""

    def joint(self, name: str) -> np.ndarray:
        """Metres, camera frame."""
        return self.subject.joints_m[INDEX[name]]

    def turned(self, name: str) -> np.ndarray:
        """How a joint is turned in the camera's frame, [3, 3]; columns: to the left, up, forward."""
        k, turned = INDEX[name], np.eye(3)
        while k >= 0:
            turned, k = self.true.pose[k] @ turned, PARENTS[k]
        return turned

    def faces(self, name: str) -> float:
        """Degrees between where head or chest look and where the camera is."""
        return angle(self.turned(name)[:, 2], -self.joint(name))

    @property
    def lean(self) -> float:
        """Degrees between the trunk and the picture's vertical."""
        return angle(self.joint("neck") - self.joint("pelvis"), np.array([0.0, -1.0, 0.0]))

    @property
    def knees(self) -> list[float]:
        """Bend of both, degrees."""
        return [bend(*(self.subject.joints_m[k] for k in LIMBS[side])) for side in SIDES]

    @property
    def hips(self) -> list[float]:
        """Degrees between each thigh and the trunk's continuation."""
        down = self.joint("pelvis") - self.joint("neck")
        return [angle(self.joint(f"{side}_knee") - self.joint(f"{side}_hip"), down) for side in SIDES]

    @property
    def outside(self) -> float:
        """Share of the body's 22 joints beyond the border of the picture."""
        spots = self.subject.keypoints_px["all"][:22, :2]
        return float(((spots < 0) | (spots > self.true.image_size)).any(1).mean())

    def behind(self, part: np.ndarray) -> float:
        """Share of some keypoints in the picture that are behind somebody or something else."""
        spots = self.subject.keypoints_px["all"][part, :2]
        inside = ((spots >= 0) & (spots <= self.true.image_size)).all(1)
        return float((self.true.visibility[part][inside] == 0).mean()) if inside.sum() > len(part) / 2 else 0.0

    def shown(self, part: np.ndarray) -> float:
        """Share of some keypoints that can be seen."""
        return float((self.true.visibility[part] == 2).mean())

    @property
    def height_px(self) -> float:
        """Longer side of the box."""
        return float((self.true.box_xyxy_px[2:] - self.true.box_xyxy_px[:2]).max())

    @property
    def overlap(self) -> float:
        """Largest share of the box that the box of somebody else covers."""
        own, shares = self.true.box_xyxy_px, [0.0]
        for box in self.neighbours:
            low, high = np.maximum(own[:2], box[:2]), np.minimum(own[2:], box[2:])
            shares.append(float(np.prod(np.maximum(high - low, 0)) / np.prod(own[2:] - own[:2])))
        return max(shares)

    def reach(self, first: str, second: str) -> float:
        """Metres between two joints."""
        return float(np.linalg.norm(self.joint(first) - self.joint(second)))


def angle(first: np.ndarray, second: np.ndarray) -> float:
    """Degrees between directions."""
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def bend(first: np.ndarray, middle: np.ndarray, last: np.ndarray) -> float:
    """Degrees by which a limb is bent; 0: straight."""
    return angle(middle - first, last - middle)


def plain(p: Person) -> bool:
    """What most photos show."""
    seen = p.outside <= 0.1 and p.behind(PARTS["body"]) < 0.1
    return seen and p.lean < 30 and p.faces("spine3") < 60 and max(p.knees) < 60


def folded(p: Person) -> bool:
    """Each wrist near the other arm's elbow."""
    return all(p.reach(f"{a}_wrist", f"{b}_elbow") < 0.27 for a, b in (SIDES, SIDES[::-1]))


def raised(p: Person) -> bool:
    """A wrist higher than the head, along the trunk."""
    up = p.turned("spine3")[:, 1]
    return any((p.joint(f"{side}_wrist") - p.joint("head")) @ up > 0.1 for side in SIDES)


def sits(p: Person) -> bool:
    """Thighs well forward of an upright trunk, knees bent at about right angles."""
    return p.lean < 60 and min(p.hips) > 50 and all(35 < knee < 115 for knee in p.knees)


CATEGORIES: dict[str, tuple[str, Callable[[Person], bool]]] = {
    "plain": ("upright, towards the camera, legs nearly straight, hardly anything cut off or hidden", plain),
    "folded arms": ("each wrist within 27 cm of the other elbow", folded),
    "raised arms": ("a wrist 10 cm above the head joint, along the trunk", raised),
    "hands at the face": (
        "a finger tip within 12 cm of the nose",
        lambda p: min(p.reach(f"{s}_{f}", "nose") for s in SIDES for f in ("index", "middle", "thumb")) < 0.12,
    ),
    "hands hidden": (
        "of neither hand a fifth can be seen",
        lambda p: max(p.shown(LEFT_HAND21), p.shown(RIGHT_HAND21)) < 0.2,
    ),
    "face in profile": ("head turned 60 to 110 degrees from the camera", lambda p: 60 <= p.faces("head") <= 110),
    "from behind": ("chest turned more than 120 degrees from the camera", lambda p: p.faces("spine3") > 120),
    "face hidden": ("half of the face behind somebody or something", lambda p: p.behind(IBUG68) >= 0.5),
    "body hidden": (
        "a third of the body behind somebody or something",
        lambda p: p.behind(PARTS["body"]) >= 0.33,
    ),
    "overlapping people": ("another's box covers 40 % of the box", lambda p: p.overlap >= 0.4),
    "strong truncation": ("40 % of the body's joints beyond the border", lambda p: p.outside >= 0.4),
    "small": ("box below 350 px", lambda p: p.height_px < 350),
    "upside down": ("trunk more than 120 degrees from the vertical", lambda p: p.lean > 120),
    "lying or sideways": ("trunk 60 to 120 degrees from the vertical", lambda p: 60 < p.lean <= 120),
    "bent over": ("trunk 35 to 60 degrees from the vertical", lambda p: 35 <= p.lean <= 60),
    "sitting": ("thighs forward, knees at 35 to 115 degrees", sits),
    "crouching, kneeling": (
        "trunk upright, a knee bent by more than 115 degrees",
        lambda p: p.lean < 60 and max(p.knees) > 115,
    ),
    "foreshortened": (
        "trunk within 35 degrees of the line of sight",
        lambda p: abs(angle(p.joint("neck") - p.joint("pelvis"), p.joint("pelvis")) - 90) > 55,
    ),
    "very near": ("pelvis nearer than 1 m", lambda p: p.joint("pelvis")[2] < 1.0),
}
"""Name to how it is found."""
NOT_RENDERED = "children: the body model has none"


@dataclass(frozen=True, eq=False)
class Shown:
    """A category, and who is shown of it."""

    name: str
    errors_mm: np.ndarray
    """Of all its people, in falling order."""
    rank: int
    """0: the worst."""
    person: Person


def read_people(folder: Path) -> list[Person]:
    """Everybody who counts in the folder of test-v2."""
    people, _ = read_test_people(folder)
    subjects = protocol(folder, tables=Tables.read()).subjects
    frozen, found = read_frozen(folder / FILE), []
    for subject, true in zip(subjects, people, strict=True):
        picture, _, number = subject.name.rpartition("/")[2].partition("-")
        boxes = frozen.box[slice(*frozen.starts[int(picture) : int(picture) + 2])].astype(float)
        found.append(Person(subject, true, tuple(np.delete(boxes, int(number), 0))))
    return found


def error_mm(person: Person, system: OwnSystem) -> float:
    """PA-V2V of all vertices."""
    prediction = system(person.subject)
    return 1000 * float(procrustes_errors(prediction.mesh.vertices_m, person.subject.mesh().vertices_m).mean())


def choose(people: list[Person], errors_mm: dict[str, float]) -> list[Shown]:
    """Of each category that anybody is in the worst person who was not chosen before."""
    chosen, taken = [], set()
    for name, (_, belongs) in CATEGORIES.items():
        found = sorted((p for p in people if belongs(p)), key=lambda p: -errors_mm[p.subject.name])
        rank = next((k for k, p in enumerate(found) if p.subject.name not in taken), None)
        if rank is not None:
            taken.add(found[rank].subject.name)
            chosen.append(Shown(name, np.array([errors_mm[p.subject.name] for p in found]), rank, found[rank]))
    return chosen


def panels(person: Person, system: OwnSystem) -> list[Image.Image]:
    """The person's part of the picture, and the predicted mesh over it."""
    pixels, _ = read_picture(person.subject)
    height, width = pixels.shape[:2]
    low, high = person.true.box_xyxy_px.reshape(2, 2)
    half = np.array(PANEL_PX) / 2 * 1.15 * ((high - low) / PANEL_PX).max()
    low = (low + high) / 2 - half
    zoom = PANEL_PX[0] / (2 * half[0])
    crop = Image.fromarray(pixels).transform(
        PANEL_PX, Image.Transform.AFFINE, (1 / zoom, 0, low[0], 0, 1 / zoom, low[1]), Image.Resampling.BICUBIC
    )
    if zoom < 0.7:  # enough samples a pixel
        big = tuple(round(side / zoom) for side in PANEL_PX)
        crop = Image.fromarray(pixels).transform(big, Image.Transform.AFFINE, (1, 0, low[0], 0, 1, low[1]))
        crop = crop.resize(PANEL_PX, Image.Resampling.LANCZOS)
    prediction = system(person.subject)
    focal, cx, cy = mesh_camera(person.subject, prediction, width, height) or (0.0, 0.0, 0.0)
    K = focal * zoom, (cx - low[0]) * zoom, (cy - low[1]) * zoom
    mesh = prediction.mesh
    drawn = render_overlay(np.asarray(crop), mesh.vertices_m[None], mesh.faces, K) if focal else np.asarray(crop)
    box = (person.true.box_xyxy_px.reshape(2, 2) - low) * zoom
    ImageDraw.Draw(crop).rectangle([*box[0], *box[1]], outline=(255, 255, 255))
    return [crop, Image.fromarray(drawn)]


def tile(shown: Shown, system: OwnSystem) -> Image.Image:
    """A category: its name and numbers over picture and overlay."""
    canvas = Image.new("RGB", (2 * PANEL_PX[0] + 2, PANEL_PX[1] + CAPTION_PX), "white")
    drawing = ImageDraw.Draw(canvas)
    which = ("the worst", "2nd worst", "3rd worst")[shown.rank] if shown.rank < 3 else f"{shown.rank + 1}th worst"
    drawing.text((0, 0), shown.name, (0, 0, 0), ImageFont.load_default(21))
    error, median = shown.errors_mm[shown.rank], np.median(shown.errors_mm)
    drawing.text((0, 26), f"shown: {error:.0f} mm ({which})", (190, 20, 20), ImageFont.load_default(16))
    drawing.text(
        (0, 45), f"{len(shown.errors_mm)} people, median {median:.0f} mm", (70,) * 3, ImageFont.load_default(16)
    )
    for k, panel in enumerate(panels(shown.person, system)):
        canvas.paste(panel, (k * (PANEL_PX[0] + 2), CAPTION_PX))
    return canvas


def gallery(chosen: list[Shown], system: OwnSystem, everybody: np.ndarray) -> Image.Image:
    """All tiles under a line that says what they are."""
    tiles = [tile(shown, system) for shown in tqdm(chosen, unit="tile")]
    width, height = tiles[0].size
    rows = -(-len(tiles) // COLUMNS)
    head = 64
    size = (COLUMNS * (width + GAP_PX) + GAP_PX, rows * (height + 2 * GAP_PX) + head + GAP_PX)
    canvas = Image.new("RGB", size, "white")
    drawing = ImageDraw.Draw(canvas)
    title = f"The worst of test-v2 by category: {METRIC} with given boxes. All {len(everybody)} people: median"
    title = f"{title} {np.median(everybody):.0f} mm, worst tenth above {np.percentile(everybody, 90):.0f} mm."
    drawing.text((GAP_PX, 8), title, (0, 0, 0), ImageFont.load_default(22))
    note = f"Rendered people. Left the picture with the given box, right the answer. Not there: {NOT_RENDERED}."
    drawing.text((GAP_PX, 38), note, (70, 70, 70), ImageFont.load_default(16))
    for k, picture in enumerate(tiles):
        row, column = divmod(k, COLUMNS)
        canvas.paste(picture, (GAP_PX + column * (width + GAP_PX), head + GAP_PX + row * (height + 2 * GAP_PX)))
    return canvas


def jpeg(picture: Image.Image) -> bytes:
    """As good as fits into a megabyte."""
    for quality in (88, 82, 76, 70, 60, 50):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, optimize=True)
        if file.tell() <= LARGEST_BYTES:
            break
    return file.getvalue()


def table(chosen: list[Shown], everybody: np.ndarray) -> str:
    """For the model card."""
    lines = [f"| category | found by | people | median {METRIC} | 90 % below | worst |", "|---|---|---|---|---|---|"]
    rows = [("everybody", "who counts", np.sort(everybody)[::-1])]
    rows += [(shown.name, CATEGORIES[shown.name][0], shown.errors_mm) for shown in chosen]
    for name, how, errors in rows:
        numbers = f"{np.median(errors):.0f} | {np.percentile(errors, 90):.0f} | {errors[0]:.0f}"
        lines.append(f"| {name} | {how} | {len(errors)} | {numbers} |")
    return "\n".join([*lines, f"| {NOT_RENDERED} | - | 0 | - | - | - |"])


def main() -> None:
    """Predict, choose, draw, print."""
    parser = argparse.ArgumentParser(description="The worst person of each category of test-v2.")
    parser.add_argument("--data", type=Path, required=True, help="folder of test-v2")
    parser.add_argument("--out", type=Path, required=True, help="JPEG file")
    parser.add_argument("--bundle", type=Path, help="default: the one in the package")
    parser.add_argument("--report", type=Path, help="take the errors of this report")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    people = read_people(given.data)
    system = OwnSystem(Predictor.load(given.bundle, threads=given.threads))
    if given.report is None:
        errors_mm = {p.subject.name: error_mm(p, system) for p in tqdm(people, unit="person")}
    else:
        values = read_report(given.report).results[0].values[METRIC, "renders"]
        errors_mm = {name: float(value.mean()) for name, value in values.items()}
        people = [p for p in people if p.subject.name in errors_mm]
    chosen, everybody = choose(people, errors_mm), np.array(list(errors_mm.values()))
    write_whole(given.out, jpeg(gallery(chosen, system, everybody)))
    print(table(chosen, everybody))


if __name__ == "__main__":
    main()
