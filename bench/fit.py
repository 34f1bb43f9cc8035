"""How long does a fit take, and how near does it come? Networks' answers and fits on rendered people with exact truth.

    python bench/fit.py --data test-v1/ [--count 100] [--full 10]

Every way sees the same keypoints, what the trunks of `openexpose predict` see of people in given boxes: the answer
itself, refined as predict does; the fast fit from that answer and from the mean pose; of the first people (--full) also
the full one, L-BFGS as in SMPLify-X. Prints a Markdown table (mm; seconds of one thread) and a JSON row.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from openexpose.body.keypoints import LEFT_HAND21, RIGHT_HAND21
from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.evaluation.protocols.renders import protocol
from openexpose.evaluation.run import read_picture
from openexpose.evaluation.tables import Tables
from openexpose.fitting.fit import Method, aim_at, fit
from openexpose.fitting.observed import Observed, confident, observe
from openexpose.fitting.penalties import Priors
from openexpose.fitting.result import start_of
from openexpose.fitting.state import State
from openexpose.geometry.procrustes import align_similarity
from openexpose.predict.parts import BODY
from openexpose.predict.pipeline import Predictor

_BODY = np.arange(22)
_WAYS: tuple[tuple[str, Method, bool], ...] = (
    ("fast, from the answer", "fast", True),
    ("fast, from the mean pose", "fast", False),
    ("full, from the answer", "full", True),
    ("full, from the mean pose", "full", False),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--full", type=int, default=10)
    arguments = parser.parse_args()
    predictor, priors = Predictor.load(threads=1), Priors.load()
    model = load_body_model(num_betas=BODY.num_betas, num_expression=BODY.num_expression)
    people: list[tuple[Observed, float, State, np.ndarray, float]] = []
    subjects = protocol(arguments.data, tables=Tables.read()).subjects
    for subject in subjects[: arguments.count]:
        begun = time.process_time()
        answer = predictor(read_picture(subject)[0], boxes=subject.box_xyxy_px[None], focal_px=subject.focal_px)
        spent = time.process_time() - begun
        seen = confident(observe(predictor, answer, subject.name)[0], fewest=0)
        if seen.has("body"):
            people.append((seen, float(answer.focal_px), start_of(answer), np.asarray(subject.joints_m)[:144], spent))
    rows: dict[str, dict[str, float]] = {}
    for count in (len(people), min(arguments.full, len(people))):
        some = people[:count]
        names = f" ({count} people)"
        states = State(*(np.concatenate([vars(one[2])[name] for one in some]) for name in vars(some[0][2])))
        truth = np.stack([one[3] for one in some])
        rows["predict" + names] = _errors(model, states, truth) | {"seconds": float(np.mean([one[4] for one in some]))}
        for name, method, from_answer in _WAYS if count == arguments.full else _WAYS[:2]:
            aim = aim_at([one[0] for one in some], np.array([one[1] for one in some]))
            begun = time.process_time()
            with threadpool_limits(1, "blas"):
                fitted = fit(model, priors, aim, start=states if from_answer else None, method=method)
            told = {"seconds": (time.process_time() - begun) / count, "steps": float(fitted.steps.mean())}
            told |= {"energy": float(np.median(fitted.energy))}
            rows[name + names] = _errors(model, fitted.state, truth) | told
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    print(f"| | {' | '.join(columns)} |\n|{'---|' * (1 + len(columns))}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(f'{row[key]:.2f}' if key in row else '' for key in columns)} |")
    print(json.dumps({"bench": "fit", "data": arguments.data.name, "rows": rows}))


def _errors(model: object, state: State, truth: np.ndarray) -> dict[str, float]:
    """Mean errors of joints, mm."""
    points = keypoints(model, state.pose, state.betas, state.expression).astype(float)  # type: ignore[arg-type]

    def aligned(which: np.ndarray) -> float:
        there = truth[:, which]
        return float(1000 * np.linalg.norm(align_similarity(points[:, which], there) - there, axis=-1).mean())

    from_hips = (points - points[:, :1]) - (truth - truth[:, :1])
    return {
        "MPJPE": float(1000 * np.linalg.norm(from_hips[:, _BODY], axis=-1).mean()),
        "PA-MPJPE": aligned(_BODY),
        "left hand PA": aligned(LEFT_HAND21),
        "right hand PA": aligned(RIGHT_HAND21),
    }


if __name__ == "__main__":
    main()
