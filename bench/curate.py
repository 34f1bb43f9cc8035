"""Do the scores of `openexpose curate` tell good fits from bad ones? Fits of rendered people whose truth is known.

    python bench/curate.py --data test-v1/ [--count 500]

Fits people in given boxes as `curate prepare` does, and compares each score with the true PA-MPJPE of the 22 joints:
Spearman's rank correlation, area under the ROC curve of telling errors above 100 mm (with a 95 % bootstrap interval of
badness), and mean errors of the better and the worse half by badness. Prints a Markdown table and a JSON row.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import rankdata, spearmanr

from openexpose.body.mesh import keypoints
from openexpose.curation.fitter import Fitter
from openexpose.curation.record import FitRecord
from openexpose.curation.scores import badness, scores
from openexpose.evaluation.protocols.renders import protocol
from openexpose.evaluation.run import read_picture
from openexpose.evaluation.tables import Tables
from openexpose.fitting.observed import confident, observe
from openexpose.geometry.procrustes import align_similarity

_BODY = np.arange(22)
_LARGE_MM = 100.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=500)
    arguments = parser.parse_args()
    fitter = Fitter(threads=1)
    found: list[dict[str, float]] = []
    errors: list[float] = []
    for subject in protocol(arguments.data, tables=Tables.read()).subjects[: arguments.count]:
        answer = fitter.predictor(read_picture(subject)[0], boxes=subject.box_xyxy_px[None], focal_px=subject.focal_px)
        seen = confident(observe(fitter.predictor, answer, subject.name)[0], fewest=0)
        if seen.has("body"):
            (record,) = fitter.records([seen], answer, float(answer.focal_px))
            found.append(scores(fitter.model, fitter.priors, record))
            found[-1] |= {"badness": badness(found[-1])}
            errors.append(_error_mm(fitter, record, np.asarray(subject.joints_m)[_BODY]))
    table = {name: _told(found, np.array(errors), name) for name in sorted({name for one in found for name in one})}
    print("| score | people | rank correlation | AUC |\n|---|---|---|---|")
    for name, (count, correlation, auc) in table.items():
        print(f"| {name} | {count} | {correlation:.2f} | {auc:.2f} |")
    row = _summary(np.array([one["badness"] for one in found]), np.array(errors))
    print(json.dumps({"bench": "curate", "data": arguments.data.name, "people": len(found), **row, "scores": table}))


def _error_mm(fitter: Fitter, record: FitRecord, truth: np.ndarray) -> float:
    people = record.people
    points = keypoints(fitter.model, people.pose, people.betas, people.expression)[0, _BODY].astype(float)
    return float(1000 * np.linalg.norm(align_similarity(points, truth) - truth, axis=-1).mean())


def _told(found: list[dict[str, float]], errors: np.ndarray, name: str) -> tuple[int, float, float]:
    """Of how many people, rank correlation with the error, AUC."""
    has = np.array([name in one for one in found])
    values = np.array([one[name] for one in found if name in one])
    return int(has.sum()), float(spearmanr(values, errors[has])[0]), _auc(values, errors[has] > _LARGE_MM)


def _auc(values: np.ndarray, large: np.ndarray) -> float:
    count = int(large.sum())
    return float((rankdata(values)[large].sum() - count * (count + 1) / 2) / (count * (len(values) - count)))


def _summary(values: np.ndarray, errors: np.ndarray) -> dict[str, object]:
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(values), len(values)) for _ in range(1000)]
    interval = np.quantile([_auc(values[draw], errors[draw] > _LARGE_MM) for draw in draws], (0.025, 0.975))
    order, half = np.argsort(values), len(values) // 2
    return {
        "error_mm": float(errors.mean()),
        "share_above_100_mm": float((errors > _LARGE_MM).mean()),
        "auc_interval": interval.tolist(),
        "better_half_mm": float(errors[order[:half]].mean()),
        "worse_half_mm": float(errors[order[half:]].mean()),
    }


if __name__ == "__main__":
    main()
