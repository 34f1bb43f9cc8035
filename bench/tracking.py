"""How well are people followed? Rendered sequences with exact truth (`openexpose synth --preset video`), as delivered.

    python bench/tracking.py SEQUENCES [--default] [--frames 250] [--tell]

SEQUENCES: a folder of sequences, or one of them. Runs what `openexpose predict --fast FRAMES` runs: detector, tracker,
attention, refinement, the camera's default, and the last step with its smoothing. What is scored are the tracks that
are delivered. --default: the larger networks.

A true person counts where at least half of them is seen; of others nothing is asked, and nothing found is wrong. "hard"
is IDF1 with those counted of whom a fifth is seen. True and delivered boxes are those of whole bodies, cut at the
picture's border, and meet from an IoU of 0.5 on. --tell prints who bore which number when (h: hidden, -: not found).
Ends with one JSON row.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from openexpose.evaluation.tracking import FrameBoxes, TrackingScores, tracking_scores
from openexpose.geometry.boxes import intersection_over_union
from openexpose.geometry.camera import project_perspective
from openexpose.image.frames import find_frames, open_frames
from openexpose.motion import Track
from openexpose.predict.bundle import fast_bundle
from openexpose.predict.finish import Finish, clip_of, finished_tracks
from openexpose.predict.journal import Journal
from openexpose.predict.pipeline import Predictor
from openexpose.predict.tracks import body_box
from openexpose.predict.video import Follower, VideoConfig, example_of, predict_clip

Array = np.ndarray
SEEN_SHARE, HARD_SHARE = 0.5, 0.2
"""Share of a person seen from which they count; in the harder measure."""


def true_people(folder: Path, truth: dict, count: int, share: float) -> list[FrameBoxes]:
    """Who is in each of the first frames; of whom less than ``share`` is seen does not count."""
    files = [dict(np.load(folder / person["file"])) for person in truth["people"]]
    numbers = np.array([person["track"] for person in truth["people"]])
    boxes = inside(np.stack([file["bbox_xyxy"] for file in files], 1), truth["image_size"])
    seen = np.stack([file["visible_share"] for file in files], 1)
    return [FrameBoxes(numbers, boxes[frame], seen[frame] < share) for frame in range(count)]


def delivered(folder: Path, truth: dict, predictor: Predictor, count: int | None) -> tuple[list[FrameBoxes], float]:
    """Who is said to be in each frame, and the seconds that it took."""
    source = open_frames(find_frames(folder / "frames")[:count], folder.name, truth["fps"])
    follower = Follower(predictor, source.image_size, VideoConfig())
    with tempfile.TemporaryDirectory() as place:
        example = example_of(predictor, source.image_size, None)
        with Journal.open(Path(place) / "journal", {}, example)[0] as journal:
            began = time.perf_counter()
            predict_clip(source, journal, follower)
            clip = clip_of(journal, folder.name, truth["fps"])
            tracks = list(finished_tracks(journal, clip, follower.tracker.final, predictor.body_model, Finish()))
            seconds = time.perf_counter() - began
    boxes = [inside(boxes_of(track, predictor), truth["image_size"]) for track in tracks]
    return [frame_of(tracks, boxes, frame) for frame in range(len(clip.times_s))], seconds


def boxes_of(track: Track, predictor: Predictor) -> Array:
    """The box around a person in each frame."""
    people = track.people
    return body_box(project_perspective(predictor.keypoints(people), people.focal_px, people.principal_px))


def frame_of(tracks: list[Track], boxes: list[Array], frame: int) -> FrameBoxes:
    """The people of one frame."""
    there = [k for k, track in enumerate(tracks) if frame in track.frames]
    rows = [boxes[k][tracks[k].frames == frame] for k in there]
    return FrameBoxes(np.array([tracks[k].id for k in there], int), np.concatenate([np.zeros((0, 4)), *rows]))


def inside(boxes: Array, size: tuple[int, int]) -> Array:
    """Boxes cut at the picture's border."""
    return np.clip(boxes, 0.0, np.array([*size, *size], float))


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


def row(scores: TrackingScores, hard: TrackingScores) -> dict:
    """The measures to print."""
    names = ("idf1", "switches", "mota", "misses", "false_boxes", "true_boxes", "predicted_boxes")
    own = {name: getattr(scores, name) for name in names}
    return own | {"right_boxes": scores.right_boxes, "idf1_hard": hard.idf1}


def together(clips: list[list[FrameBoxes]]) -> list[FrameBoxes]:
    """Several clips as one: nobody is in two of them."""
    own = enumerate(clips)
    return [replace(frame, id=frame.id + 1000 * clip) for clip, frames in own for frame in frames]


def show(name: str, scores: dict, seconds: float) -> None:
    """Print a line of the table."""
    numbers = f"{scores['idf1']:7.3f}{scores['idf1_hard']:7.3f}{scores['switches']:9}{scores['mota']:7.3f}"
    print(f"{name:20}{numbers}{scores['misses']:7}{scores['false_boxes']:6}{seconds:7.0f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequences", type=Path)
    parser.add_argument("--default", action="store_true", help="the default bundle; else the fast one")
    parser.add_argument("--frames", type=int, default=None, help="of each sequence")
    parser.add_argument("--tell", action="store_true", help="who bore which number when")
    options = parser.parse_args()
    predictor = Predictor.load(None if options.default else fast_bundle())
    print(f"{'sequence':20}{'IDF1':>7}{'hard':>7}{'switches':>9}{'MOTA':>7}{'missed':>7}{'false':>6}{'s':>7}")
    rows, clips, total = {}, [], 0.0
    for path in sorted(options.sequences.glob("**/truth.json")):
        truth = json.loads(path.read_text())
        found, seconds = delivered(path.parent, truth, predictor, options.frames)
        counted, hard = (true_people(path.parent, truth, len(found), share) for share in (SEEN_SHARE, HARD_SHARE))
        scores = rows[path.parent.name] = row(tracking_scores(counted, found), tracking_scores(hard, found))
        show(path.parent.name, scores, seconds)
        if options.tell:
            tell(counted, found)
        clips.append((counted, hard, found))
        total += seconds
    counted, hard, found = (together([clip[part] for clip in clips]) for part in range(3))
    rows["total"] = row(tracking_scores(counted, found), tracking_scores(hard, found))
    show("total", rows["total"], total)
    bundle = "default" if options.default else "fast"
    print(json.dumps({"bench": "tracking", "bundle": bundle, "frames": options.frames, "sequences": rows}))


if __name__ == "__main__":
    main()
