"""A picture sheet of the training augmentation, to be looked at: one augmentation a row, labels drawn on top.

``python -m openexpose.data.augment_sheet OUT.png`` draws it from synthetic people; needs the checkout's pictures.
"""

import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from openexpose.body.keypoints import FLIP, INDEX, KEYPOINT_NAMES, PARTS
from openexpose.data.augment import AUGMENTATIONS, CUTS, Augmentation, CropLabels, augmented_crop, draw
from openexpose.data.sample import Part, Sample
from openexpose.geometry.boxes import box_around
from openexpose.synth.person import HEAD, Person, Stage, build_stage, sample_person
from openexpose.synth.picture import sample_background
from openexpose.synth.raster import render
from openexpose.synth.view import View, box_view

Array = np.ndarray
Row = tuple[str, list[tuple[str, Sample, Augmentation] | None]]

_BOX_SCALE = {"body": 1.2, "hand": 2.0, "face": 1.7}
_COLOURS = {"left": (255, 70, 60), "right": (70, 170, 255), "middle": (90, 235, 90)}
_AXES = ((255, 90, 90), (90, 255, 90), (110, 140, 255))
_PICTURE_PX, _MARGIN_PX, _CAPTION_PX = 640, 120, 16
_PEOPLE = ((11, 4.0, True), (12, 4.0, True))
"""Seed, distance (metres) and whether the head looks at the camera, for each of the two people."""


def synthetic_samples(stage: Stage) -> list[Sample]:
    """Two synthetic people as samples: body, body, right hand, left hand, face, face; pictures of 640 px."""
    people = []
    for seed, distance, facing in _PEOPLE:
        rng = np.random.default_rng(seed)
        person = sample_person(rng, stage, facing=facing)
        people.append((person.moved(np.eye(3), person.joints[0], np.array([0.0, 0.0, distance])), rng))
    parts: list[tuple[Part, int, str]] = [("body", 0, ""), ("body", 1, ""), ("hand", 0, "right"), ("hand", 1, "left")]
    parts += [("face", 0, ""), ("face", 1, "")]
    return [_photograph(*people[who], stage, part, side) for part, who, side in parts]


def _photograph(person: Person, rng: np.random.Generator, stage: Stage, part: Part, side: str) -> Sample:
    """Render one part of a person with plenty of room around, and write down its labels."""
    chosen = PARTS[f"{side}_hand"] if part == "hand" else PARTS["head"] if part == "face" else np.arange(144)
    view = box_view(person.joints[chosen], {"body": 1.7, "hand": 4.0, "face": 3.2}[part], np.zeros(2), 1.0)
    background = sample_background(rng, stage.library, _PICTURE_PX)
    pixels = render(view.to_view(person.vertices), person.surface, person.light, 1 / view.half_side, background).image
    return _label(pixels, person, view, part, side, chosen)


def _label(pixels: Array, person: Person, view: View, part: Part, side: str, chosen: Array) -> Sample:
    known = np.isin(np.arange(144), chosen)
    root = {"body": 0, "hand": INDEX.get(f"{side}_wrist", 0), "face": HEAD}[part]
    keypoints = (view.to_crop(person.joints) + 1) * (_PICTURE_PX / 2)
    pose = np.concatenate([(view.T_view_photo @ person.rotations[root])[None], person.pose[1:]])
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return Sample(
        name=f"synthetic/{part}{side}",
        image=file.getvalue(),
        part=part,
        box_xyxy_px=box_around(keypoints[chosen]),
        keypoints_px=np.c_[keypoints, known],
        points_m=np.c_[view.to_view(person.joints), known],
        pose=pose,
        pose_valid=np.arange(55) == 0,
        left=side == "left",
    )


def augmentation_sheet(stage: Stage, *, cell_px: int = 168, seed: int = 0) -> UInt8[Array, "h w 3"]:
    """Draw the sheet: rows are augmentations, columns two bodies, two hands and two faces.

    Keypoints of the subject's left are red, of its right blue, in between green. The three lines are the axes of the
    labelled root rotation (x red, y green, z blue) at its joint, so that a label that does not turn with the
    picture is seen.

    Args:
        stage: the generator of synthetic people.
        cell_px: side of a picture.
        seed: for the last rows, which are drawn as in training.
    """
    rows = _rows(synthetic_samples(stage), np.random.default_rng(seed))
    height, width = cell_px + _CAPTION_PX, cell_px + 4
    canvas = Image.new("RGB", (_MARGIN_PX + 6 * width, len(rows) * height), (24, 24, 28))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for r, (title, cells) in enumerate(rows):
        pen.multiline_text((6, r * height + cell_px / 2 - 8), title, (255, 255, 255), ImageFont.load_default(14))
        for c, cell in enumerate(cells):
            x, y = _MARGIN_PX + c * width, r * height
            if cell is None:
                pen.text((x + cell_px / 2, y + cell_px / 2), "not in the recipe", (120, 120, 120), font, "mm")
                continue
            caption, sample, augmentation = cell
            canvas.paste(_cell(sample, augmentation, cell_px), (x, y))
            pen.text((x + 2, y + cell_px), caption, (210, 210, 210), font)
    return np.asarray(canvas)


def _rows(samples: list[Sample], rng: np.random.Generator) -> list[Row]:
    """What is shown: one row an augmentation, then draws of the whole recipe."""
    a = Augmentation
    bodies = [samples[0]] * 3 + [samples[1]] * 3

    def row(values: Sequence[tuple[str, Augmentation] | None]) -> list[tuple[str, Sample, Augmentation] | None]:
        return [v and (v[0], s, replace(v[1], flip=s.left or v[1].flip)) for v, s in zip(values, samples, strict=True)]

    names = ["body", "body", "right hand", "left hand, as it is", "face", "face"]
    plain: Row = ("no\naugmentation", [(n, s, a()) for n, s in zip(names, samples, strict=True)])
    flips = [("mirrored", a(flip=True))] * 2 + [None, ("always mirrored", a())] + [("mirrored", a(flip=True))] * 2
    scales = [(f"side x {s}", a(scale=s)) for s in (0.75, 1.25) * 3]
    turns = [(f"crop turned {d:+} deg", a(rotation_deg=d)) for d in (-60, 40, -40, 60, -30, 50)]
    moves: list[tuple[str, Augmentation] | None] = [None, None]
    moves += [
        (f"{x:+}, {y:+} box sides", a(jitter=(x, y))) for x, y in ((0.2, 0.2), (-0.2, 0), (0.2, -0.2), (-0.2, 0.2))
    ]
    gains = [(1.4, 1, 0.6), (0.6, 0.6, 0.6), (0.6, 1, 1.4), (1.4, 1.4, 1.4), (1, 1.4, 0.8), (1.3, 0.8, 1)]
    colours = [("RGB x {} {} {}".format(*g), a(gains=g)) for g in gains]
    coarse: list[tuple[str, Augmentation] | None] = [None, None]
    coarse += [(f"resolution / {f}", a(low_resolution=f)) for f in (1.5, 4.0, 3.0, 8.0)]
    cuts: Row = ("cut\n(extreme\ncropping)", [(n, s, a(cut=n)) for n, s in zip(CUTS, bodies, strict=True)])
    rows: list[Row] = [plain, ("flip", row(flips)), ("scale", row(scales)), ("rotation", row(turns))]
    rows += [("centre jitter", row(moves)), ("channel noise", row(colours)), ("low\nresolution", row(coarse)), cuts]
    for title in ("all, as drawn\nin training", "once more"):
        drawn = [draw(rng, AUGMENTATIONS[s.part], s) for s in samples]
        rows.append((title, [(_summary(d), s, d) for d, s in zip(drawn, samples, strict=True)]))
    return rows


def _summary(drawn: Augmentation) -> str:
    words = [f"x{drawn.scale:.2f}", f"{drawn.rotation_deg:+.0f} deg" if drawn.rotation_deg else "", drawn.cut]
    words += ["mirrored" if drawn.flip else "", f"/{drawn.low_resolution:g}" if drawn.low_resolution > 1 else ""]
    return " ".join(word for word in words if word)


def _cell(sample: Sample, augmentation: Augmentation, size: int) -> Image.Image:
    """One augmented crop with its labels, drawn at twice the size for thin lines."""
    scale = _BOX_SCALE[sample.part]
    crop, labels, seen = augmented_crop(sample.read_pixels(), sample, augmentation, box_scale=scale, size=size)
    pixels = (crop.transpose(1, 2, 0) * 255).round().astype(np.uint8)
    picture = Image.fromarray(pixels).resize((2 * size, 2 * size), Image.Resampling.NEAREST)
    _draw_labels(ImageDraw.Draw(picture), labels, seen, size)
    return picture.resize((size, size), Image.Resampling.BOX)


def _draw_labels(pen: ImageDraw.ImageDraw, labels: CropLabels, sample: Sample, half: float) -> None:
    """Dots at the keypoints inside, and the root's axes; ``half`` is half the side of the picture."""
    xy = (labels.keypoints[:, :2] + 1) * half
    for k in np.flatnonzero(labels.inside):
        side = KEYPOINT_NAMES[k].partition("_")[0] if FLIP[k] != k else "middle"
        small = sample.part == "body" and k >= 22 and not 55 <= k < 66
        radius = 1 if small else 3
        pen.ellipse([*(xy[k] - radius), *(xy[k] + radius)], _COLOURS[side])
    root = {"body": 0, "hand": INDEX["left_wrist" if sample.left else "right_wrist"], "face": HEAD}[sample.part]
    if labels.root is not None and labels.inside[root]:
        for axis, colour in zip(labels.root.T, _AXES, strict=True):
            pen.line([*xy[root], *(xy[root] + 0.3 * half * axis[:2])], colour, 4)


def main() -> None:
    """Draw the sheet into the file that the command line names."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m openexpose.data.augment_sheet OUT.png")
    picture = Image.fromarray(augmentation_sheet(build_stage()))
    palette = picture.quantize(256, Image.Quantize.FASTOCTREE)
    picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(Path(sys.argv[1]), optimize=True)


if __name__ == "__main__":
    main()
