"""How near do fits of lone hands and faces come? Networks' answers and fits on rendered close-ups with exact truth.

    python bench/fit_parts.py --data FOLDER [--full]

FOLDER holds shards of `openexpose synth --preset faces` and `--preset hands`; boxes are those of the labelled
keypoints. Fits are laid on what the part's trunk sees, and on labels: the truth with noise of one hundredth of the
part's size. Close-ups that the trunk does not recognise are left out. Prints a Markdown table (2D: mean and
median distance of labelled keypoints over the part's size, %; 3D: the same of aligned keypoints, mm; seconds of one
thread) and a JSON row.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel, load_body_model
from openexpose.data.sample import Sample
from openexpose.data.synthetic import read_synthetic
from openexpose.fitting.fit import aim_at
from openexpose.fitting.lone import LONE_PARTS, fit_lone, less_contour
from openexpose.fitting.observed import FEWEST_FINE, Observed, confident, observe
from openexpose.fitting.penalties import Priors
from openexpose.fitting.result import start_of
from openexpose.fitting.state import State
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.procrustes import align_similarity
from openexpose.predict.parts import BODY
from openexpose.predict.pipeline import Predictor

_NOISE = 0.01


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--full", action="store_true", help="also with L-BFGS")
    arguments = parser.parse_args()
    predictor, priors, rng = Predictor.load(threads=1), Priors.load(), np.random.default_rng(0)
    model = load_body_model(num_betas=BODY.num_betas, num_expression=BODY.num_expression)
    rows: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for sample in read_synthetic(arguments.data, "all").samples:
        part = "face" if sample.part == "face" else "left-hand" if sample.left else "right-hand"
        labels = labels_of(sample, part, rng)
        if not labels.has(LONE_PARTS[part].named) or sample.focal_px is None:
            continue
        focal, box = np.array([sample.focal_px]), labels.box_xyxy_px
        begun = time.process_time()
        people = predictor(sample.read_pixels(), boxes=box[None], focal_px=sample.focal_px, part=part)
        spent, answer = time.process_time() - begun, start_of(people)
        own = less_contour(confident(observe(predictor, people, sample.name)[0], fewest=0)).only(labels_where(part))
        found = own.has(LONE_PARTS[part].named)
        if found:
            rows[part, "predict"].append([*errors(model, answer, sample, part), spent])
        for name, seen in (("own landmarks", own), ("labels", labels)):
            for start in (answer, None):
                for method in ("fast", "full")[: 1 + arguments.full]:
                    if not found:
                        continue
                    with threadpool_limits(1, "blas"):
                        fitted = fit_lone(model, priors, aim_at([seen], focal), part, start=start, method=method)  # type: ignore[arg-type]
                    way = f"{method}, {name}, from the {'answer' if start is not None else 'mean pose'}"
                    rows[part, way].append([*errors(model, fitted.state, sample, part), fitted.seconds])
    print("| | count | 2D mean % | 2D median % | 3D mean mm | 3D median mm | seconds |\n|---|---|---|---|---|---|---|")
    table = {}
    for (part, way), values in sorted(rows.items()):
        two, three, seconds = np.array(values).T
        told = [two.mean(), np.median(two), three.mean(), np.median(three), seconds.mean()]
        table[f"{part}: {way}"] = [round(float(value), 3) for value in told]
        print(f"| {part}: {way} | {len(two)} | {' | '.join(f'{value:.2f}' for value in told)} |")
    print(json.dumps({"bench": "fit_parts", "data": arguments.data.name, "rows": table}))


def labels_where(part: str) -> np.ndarray:
    """The keypoints of a part."""
    return LONE_PARTS[part].keypoints


def labels_of(sample: Sample, part: str, rng: np.random.Generator) -> Observed:
    """Labels with noise, of what is to be seen."""
    points, own = np.zeros((144, 3)), labels_where(part)
    points[own] = sample.keypoints_px[own]
    seen = points[:, 2] > 0
    if seen.sum() >= FEWEST_FINE:
        size = np.ptp(points[seen, :2], axis=0).max()
        points[seen, :2] += _NOISE * size * rng.normal(size=(int(seen.sum()), 2))
    height, width = sample.read_pixels().shape[:2]
    return Observed(sample.name, points, (width, height), "coco")


def errors(model: BodyModel, state: State, sample: Sample, part: str) -> tuple[float, float]:
    """Of labelled keypoints in the picture, hundredths of the part's size, and of aligned ones, mm."""
    if sample.points_m is None or sample.focal_px is None:
        raise TypeError("a sample without 3D points")
    own, height_width = labels_where(part), sample.read_pixels().shape[:2]
    points = keypoints(model, state.pose, state.betas, state.expression)[0, own].astype(float)
    truth, true_px = sample.points_m[own, :3], sample.keypoints_px[own]
    seen = true_px[:, 2] > 0
    found = project_perspective(points + state.transl[0], sample.focal_px, np.array(height_width[::-1]) / 2.0)
    across = np.linalg.norm(found - true_px[:, :2], axis=1)[seen].mean() / np.ptp(true_px[seen, :2], axis=0).max()
    aligned = np.linalg.norm(align_similarity(points[None], truth[None])[0] - truth, axis=1).mean()
    return float(100 * across), float(1000 * aligned)


if __name__ == "__main__":
    main()
