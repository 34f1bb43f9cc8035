"""What does smoothing take from the jitter, what from the motion, and how near does it come to the truth?

    python bench/smoothing.py --data FOLDER [--data FOLDER ...] [--bundle FOLDER] [--fresh] [--feet]

FOLDER is a sequence of `openexpose synth --preset video`. People are predicted frame by frame in the boxes around what
is seen of them, where that is at least a sixth (fast bundle, or --bundle); the raw predictions are kept beside the
sequence in FOLDER-raw (--fresh: predicted anew). Then they are smoothed, causally and offline.

Columns, all of the 22 body joints but for the fingers': jitter (mean length of the jerk, m/s^3) in the camera's frame
and about the pelvis, and of the fingers about their wrist; errors in mm: MPJPE in the camera's frame, about the pelvis,
of the fingers about their wrist, and after Procrustes alignment; skating: mean speed of the balls of feet that really
stand, m/s. Quick motions are seconds in which a wrist or an ankle swings, about the pelvis, by 20 cm or more, at least
once to and fro. *Kept* is how much of the true swing (mean-free, along its main direction) is found in the smoothed
prediction by projection, as a share of that in the raw one; *kept of truth* is how much of its range remains when the
noise-free truth itself is smoothed (mean, and the worst twentieth).
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from openexpose.body.keypoints import indices
from openexpose.body.mesh import joint_transforms
from openexpose.body.model import BodyModel, load_body_model
from openexpose.evaluation.metrics import jitter, procrustes_errors
from openexpose.formats.tracks import read_motion, write_track
from openexpose.image.read import read_image
from openexpose.motion import Motion, Track, joined
from openexpose.predict.bundle import fast_bundle
from openexpose.predict.pipeline import Predictor
from openexpose.predict.smoothing import CausalSmoother, lock_feet, smooth
from openexpose.synth.sequence import Sequence, read_sequence

STRENGTHS = (0.25, 0.5, 1.0)
TOES = indices("left_foot", "right_foot")
QUICK = indices("left_wrist", "right_wrist", "left_ankle", "right_ankle")
LEAST_SEEN, LEAST_SWING_M = 1 / 6, 0.2
Smoother = Callable[[Motion, BodyModel], tuple[Track, ...]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, action="append")
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--feet", action="store_true", help="rows with feet locked, too")
    options = parser.parse_args()
    model = load_body_model()
    pairs = []
    for folder in options.data:
        truth = read_sequence(folder)
        pairs.append((truth, raw_predictions(folder, truth, options.bundle, options.fresh)))
    rows = {"truth": measure([(truth, truth.motion) for truth, _ in pairs], model, as_it_is)}
    rows |= {"raw": measure(pairs, model, as_it_is)}
    for strength in STRENGTHS:
        rows[f"causal {strength:g}"] = measure(pairs, model, lambda motion, model, s=strength: causal(motion, model, s))
    for strength in STRENGTHS:
        rows[f"offline {strength:g}"] = measure(
            pairs, model, lambda motion, model, s=strength: offline(motion, model, s)
        )
    if options.feet:
        rows["offline 0.5, feet locked"] = measure(pairs, model, locked)
    show(rows)
    print(json.dumps({"bench": "smoothing", "data": [folder.name for folder in options.data], "rows": rows}))


def as_it_is(motion: Motion, _: BodyModel) -> tuple[Track, ...]:
    """No smoothing."""
    return motion.tracks


def causal(motion: Motion, model: BodyModel, strength: float) -> tuple[Track, ...]:
    """Every track through the causal smoother, frame by frame."""
    smoother = CausalSmoother(model, strength)
    rows: dict[int, list] = {track.id: [] for track in motion.tracks}
    for frame, time_s in enumerate(motion.clip.times_s):
        here = [(track.id, track.people[track.frames == frame]) for track in motion.tracks if frame in track.frames]
        if here:
            smoothed = smoother(np.array([number for number, _ in here]), time_s, joined([row for _, row in here]))
            for k, (number, _) in enumerate(here):
                rows[number].append(smoothed[k : k + 1])
    return tuple(replace(track, people=joined(rows[track.id])) for track in motion.tracks)


def offline(motion: Motion, model: BodyModel, strength: float) -> tuple[Track, ...]:
    """Every track smoothed without lag."""
    return tuple(smooth(track, motion.clip, model, strength) for track in motion.tracks)


def locked(motion: Motion, model: BodyModel) -> tuple[Track, ...]:
    """Smoothed without lag, and then the feet locked."""
    return tuple(lock_feet(track, motion.clip, model) for track in offline(motion, model, 0.5))


def raw_predictions(folder: Path, truth: Sequence, bundle: Path | None, fresh: bool) -> Motion:
    """What the networks say about each frame by itself, in the true boxes; kept in a folder beside the sequence."""
    kept = folder.with_name(f"{folder.name}-raw")
    if kept.is_dir() and not fresh:
        return read_motion([kept])
    predictor = Predictor.load(bundle or fast_bundle())
    tracks = truth.motion.tracks
    rows: dict[int, list] = {track.id: [] for track in tracks}
    for frame, path in enumerate(truth.frames):
        here = [(track.id, int(np.searchsorted(track.frames, frame))) for track in tracks if frame in track.frames]
        here = [(number, row) for number, row in here if truth.labels[number].visible_share[row] >= LEAST_SEEN]
        if not here:
            continue
        boxes = np.stack([truth.labels[number].box_visible_xyxy[row] for number, row in here])
        people = predictor(read_image(path).pixels, boxes=boxes, focal_px=tracks[0].people.focal_px)
        for k, (number, _) in enumerate(here):
            rows[number].append((frame, people[k : k + 1]))
    found = tuple(
        Track(number, np.array([frame for frame, _ in seen]), joined([row for _, row in seen]))
        for number, seen in rows.items()
        if seen
    )
    kept.mkdir(exist_ok=True)
    for track in found:
        write_track(kept / f"raw_{track.id}.npz", truth.motion.clip, track, focal_source="given")
    return Motion(truth.motion.clip, found)


def measure(pairs: list[tuple[Sequence, Motion]], model: BodyModel, smoother: Smoother) -> dict[str, float]:
    """A row of the table."""
    found: dict[str, list[np.ndarray]] = {}
    for sequence, raw in pairs:
        truth = sequence.motion
        true_tracks = {track.id: track for track in truth.tracks}
        smooth_truth = {track.id: track for track in smoother(truth, model)}
        for track, before in zip(smoother(raw, model), raw.tracks, strict=True):
            true = true_tracks[track.id]
            shared = np.intersect1d(before.frames, true.frames)
            planted = sequence.labels[track.id].feet_planted
            for frames in np.split(shared, np.flatnonzero(np.diff(shared) > 1) + 1):
                if len(frames) < 8:
                    continue
                sides = (track, true, before, smooth_truth[track.id])
                values = compare(truth.clip.fps, *(joints_of(model, side, frames) for side in sides))
                values["skating"] = skating(values.pop("toes"), planted[np.searchsorted(true.frames, frames)])
                for name, value in values.items():
                    found.setdefault(name, []).append(value)
    return summary({name: np.concatenate(values) for name, values in found.items()})


def joints_of(model: BodyModel, track: Track, frames: np.ndarray) -> np.ndarray:
    """Joints [n, 55, 3] in some frames of a track, camera frame."""
    people = track.people[np.searchsorted(track.frames, frames)]
    return joint_transforms(model, people.pose, people.betas, people.expression)[1] + people.transl[:, None]


def compare(fps: float, got: np.ndarray, true: np.ndarray, raw: np.ndarray, smoothed: np.ndarray) -> dict:
    """Numbers of some frames: joints got, true, of the raw prediction, and of the smoothed truth."""
    body, aim = got[:, :22], true[:, :22]
    hands, true_hands = (
        np.concatenate([side[:, 25:40] - side[:, [20]], side[:, 40:55] - side[:, [21]]], 1) for side in (got, true)
    )
    kept, kept_of_truth = swings(fps, got, true, raw, smoothed)
    return {
        "jitter": jitter(body, fps),
        "jitter, pelvis": jitter(body - body[:, :1], fps),
        "jitter, fingers": jitter(hands, fps),
        "MPJPE": np.linalg.norm(body - aim, axis=-1).mean(1) * 1e3,
        "MPJPE, pelvis": np.linalg.norm(body - body[:, :1] - aim + aim[:, :1], axis=-1).mean(1) * 1e3,
        "MPJPE, fingers": np.linalg.norm(hands - true_hands, axis=-1).mean(1) * 1e3,
        "PA-MPJPE": np.array([procrustes_errors(a, b).mean() * 1e3 for a, b in zip(body, aim, strict=True)]),
        "toes": got[:, TOES] * fps,
        "kept": kept,
        "kept of truth": kept_of_truth,
    }


def skating(toes: np.ndarray, planted: np.ndarray) -> np.ndarray:
    """Speeds of the balls of feet that really stand, m/s; ``toes`` [n, 2, 3] in metres times the frame rate."""
    return np.linalg.norm(np.diff(toes, axis=0), axis=-1)[planted[1:] & planted[:-1]]


def swings(fps: float, got, true, raw, smoothed) -> tuple[np.ndarray, np.ndarray]:
    """Of each quick swing: (projections of got and raw on the true one), and the share of its range that is kept."""
    span = round(fps)
    projections, ranges = [np.zeros((0, 2))], [np.zeros(0)]
    for start in range(0, len(true) - span + 1, max(1, span // 2)):
        rows = slice(start, start + span)
        for joint in QUICK:
            paths = [side[rows, joint] - side[rows, 0] for side in (true, got, raw, smoothed)]
            paths = [path - path.mean(0) for path in paths]
            direction = np.linalg.svd(paths[0], full_matrices=False)[2][0]
            true_way, got_way, raw_way, smoothed_way = (path @ direction for path in paths)
            turns = np.count_nonzero(np.diff(np.sign(true_way)))
            if np.ptp(true_way) < LEAST_SWING_M or turns < 2:
                continue
            projections.append(np.array([[got_way @ true_way, raw_way @ true_way]]) / (true_way @ true_way))
            ranges.append(np.array([np.ptp(smoothed_way) / np.ptp(true_way)]))
    return np.concatenate(projections), np.concatenate(ranges)


def summary(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Means; of swings the shares in per cent."""
    row = {name: float(value.mean()) for name, value in values.items() if not name.startswith("kept")}
    got, raw = values["kept"].sum(0)
    row["kept %"] = 100.0 * float(got / raw)
    row["kept of truth %"] = 100.0 * float(values["kept of truth"].mean())
    row["worst 5 %"] = 100.0 * float(np.quantile(values["kept of truth"], 0.05))
    row["swings"] = float(len(values["kept"]))
    return {name: round(value, 2) for name, value in row.items()}


def show(rows: dict[str, dict[str, float]]) -> None:
    """As a Markdown table."""
    names = list(rows["raw"])
    print(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(f'{row[column]:.1f}' for column in names)} |")


if __name__ == "__main__":
    main()
