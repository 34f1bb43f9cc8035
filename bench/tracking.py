"""How well are people followed? Rendered sequences with exact truth (`openexpose synth --preset video`), real networks.

    python bench/tracking.py SEQUENCES [--bundle FOLDER] [--every 3] [--frames 300] [--whole] [--draw OUT]

SEQUENCES: a folder of sequences, or one of them. Every --every-th frame goes through the detector; in between people
are followed by their bodies. --whole: with hands, faces and refinement; bodies alone are followed as well, and faster.
A true person counts where at least half of them is seen; of others nothing is asked, and nothing found is wrong. IDF1
is also told with those counted of whom a fifth is seen. True and predicted boxes are those of whole bodies, cut at the
picture's border, and meet from an IoU of 0.5 on.

Prints IDF1, identity switches, MOTA and the time of the tracker alone (one thread), then one JSON row. --draw also
writes every fifth frame with boxes and numbers, and prints who bore which number when (h: hidden, -: not found).
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from openexpose.evaluation.tracking import FrameBoxes, TrackingScores, tracking_scores
from openexpose.geometry.boxes import intersection_over_union
from openexpose.geometry.camera import project_perspective
from openexpose.image.read import read_image
from openexpose.predict.bundle import fast_bundle
from openexpose.predict.pipeline import Predictor
from openexpose.predict.tracking import Tracker
from openexpose.predict.tracks import body_box

Array = np.ndarray
SEEN_SHARE, HARD_SHARE = 0.5, 0.2
"""Share of a person seen from which they count; in the harder measure."""
COLOURS = ("red", "lime", "cyan", "yellow", "magenta", "orange", "white", "deepskyblue")


class Loop:
    """Detector, tracker and predictor, one frame after the other."""

    def __init__(self, predictor: Predictor, size: tuple[int, int], every: int, whole: bool) -> None:
        self.predictor, self.every, self.whole = predictor, every, whole
        self.tracker, self.size = Tracker(size), size
        self.tracker_s, self.frames = 0.0, 0

    def __call__(self, pixels: Array, time_s: float, focal_px: float | None) -> FrameBoxes:
        """Numbers and boxes of a frame's people."""
        look = self.frames % self.every == 0 or not len(self.tracker.following)
        found = self.predictor.detector(pixels) if look else None
        began = time.perf_counter()
        candidates = self.tracker.look_at(self.frames, time_s, found)
        spent = time.perf_counter() - began
        how = {"attention": self.whole, "refinement": self.whole}
        people = self.predictor(pixels, boxes=candidates.boxes_xyxy_px, focal_px=focal_px, **how)
        points = project_perspective(self.predictor.keypoints(people), people.focal_px, people.principal_px)
        began = time.perf_counter()
        ids = self.tracker.accept(self.frames, time_s, candidates, people, points, pixels)
        self.tracker_s += spent + time.perf_counter() - began
        self.frames += 1
        return FrameBoxes(ids[ids > 0], inside(body_box(points[ids > 0]), self.size))


def follow(folder: Path, loop: Loop, count: int) -> Iterator[tuple[Path, FrameBoxes, Array, FrameBoxes]]:
    """Each frame's picture, truth, shares of people seen, and answer."""
    truth = json.loads((folder / "truth.json").read_text())
    files = [dict(np.load(folder / person["file"])) for person in truth["people"]]
    numbers = np.array([person["track"] for person in truth["people"]])
    for frame, path in enumerate(sorted((folder / "frames").iterdir())[:count]):
        boxes = inside(np.array([file["bbox_xyxy"][frame] for file in files]), loop.size)
        seen = np.array([file["visible_share"][frame] for file in files])
        time_s = float(files[0]["clip_times_s"][frame])
        answer = loop(read_image(path).pixels, time_s, truth["focal_px"])
        yield path, FrameBoxes(numbers, boxes), seen, answer


def inside(boxes: Array, size: tuple[int, int]) -> Array:
    """Boxes cut at the picture's border."""
    return np.clip(boxes, 0.0, np.array([*size, *size], float))


def draw(path: Path, people: FrameBoxes, out: Path) -> None:
    """A frame with boxes and numbers."""
    picture = Image.open(path).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for number, box in zip(people.id, people.boxes_xyxy_px, strict=True):
        pen.rectangle(box.tolist(), outline=COLOURS[number % len(COLOURS)], width=2)
        pen.text((box[0] + 3, box[1] + 2), str(number), fill="yellow")
    out.mkdir(parents=True, exist_ok=True)
    picture.save(out / f"{path.stem}.jpg")


def measure(folder: Path, predictor: Predictor, options: argparse.Namespace) -> dict:
    """One sequence."""
    size = tuple(json.loads((folder / "truth.json").read_text())["image_size"])
    loop = Loop(predictor, size, options.every, options.whole)
    truth, hard, found, began = [], [], [], time.perf_counter()
    for path, true, seen, answer in follow(folder, loop, options.frames):
        truth.append(replace(true, ignored=seen < SEEN_SHARE))
        hard.append(replace(true, ignored=seen < HARD_SHARE))
        found.append(answer)
        if options.draw and len(truth) % 5 == 1:
            draw(path, answer, options.draw / folder.name)
    spent = time.perf_counter() - began
    found = [final(frame, loop.tracker) for frame in found]
    if options.draw:
        tell(truth, found)
    times = {"tracker_ms": 1e3 * loop.tracker_s / len(truth), "frame_ms": 1e3 * spent / len(truth)}
    scores = row(tracking_scores(truth, found)) | {"idf1_hard": tracking_scores(hard, found).idf1}
    return scores | {"frames": len(truth)} | times


def final(frame: FrameBoxes, tracker: Tracker) -> FrameBoxes:
    """A frame's people under the numbers that they have at the end."""
    ids = tracker.final(frame.id)
    return FrameBoxes(ids[ids > 0], frame.boxes_xyxy_px[ids > 0])


def tell(truth: list[FrameBoxes], found: list[FrameBoxes]) -> None:
    """Print who bore which number when."""
    for person in truth[0].id:
        spans: list[list] = []
        for frame, (true, answer) in enumerate(zip(truth, found, strict=True)):
            k = int(np.flatnonzero(true.id == person)[0])
            overlap = intersection_over_union(true.boxes_xyxy_px[k, None], answer.boxes_xyxy_px)[0]
            best = int(overlap.argmax()) if len(overlap) else -1
            name = str(answer.id[best]) if best >= 0 and overlap[best] >= 0.5 else "-"
            name += "h" if true.ignored[k] else ""
            if not spans or spans[-1][0] != name:
                spans.append([name, frame, frame])
            spans[-1][2] = frame
        print(f"  person {person}: " + " ".join(f"{name}:{first}-{last}" for name, first, last in spans))


def row(scores: TrackingScores) -> dict:
    """The measures to print."""
    names = ("idf1", "switches", "mota", "misses", "false_boxes", "true_boxes")
    return {name: getattr(scores, name) for name in names}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequences", type=Path)
    parser.add_argument("--bundle", type=Path, default=None, help="a folder; none: the packaged fast bundle")
    parser.add_argument("--every", type=int, default=3, help="detect people in one of so many frames")
    parser.add_argument("--frames", type=int, default=None, help="of each sequence")
    parser.add_argument("--whole", action="store_true", help="with hands, faces and refinement")
    parser.add_argument("--draw", type=Path, default=None, help="folder for frames with boxes")
    options = parser.parse_args()
    predictor = Predictor.load(options.bundle or fast_bundle(), threads=1)
    folders = sorted(path.parent for path in options.sequences.glob("**/truth.json"))
    rows = {}
    print(
        f"{'sequence':20}{'frames':>7}{'IDF1':>7}{'hard':>7}{'switches':>9}{'MOTA':>7}{'missed':>7}{'false':>6}{'ms':>6}"
    )
    for folder in folders:
        scores = rows[folder.name] = measure(folder, predictor, options)
        print(
            f"{folder.name:20}{scores['frames']:7}{scores['idf1']:7.3f}{scores['idf1_hard']:7.3f}{scores['switches']:9}{scores['mota']:7.3f}"
            f"{scores['misses']:7}{scores['false_boxes']:6}{scores['tracker_ms']:6.2f}",
            flush=True,
        )
    print(json.dumps({"bench": "tracking", "every": options.every, "whole": options.whole, "sequences": rows}))


if __name__ == "__main__":
    main()
