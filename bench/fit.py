"""How long does a fit take, and how near does it come: from the networks' answer, and from the mean pose?

    python bench/fit.py --data test-v1/ [--first 250] [--count 100] [--full 10] [--noise 0.01] [--batch 32]
    python bench/fit.py --photos photos/ [--count 100] [--full 10]

Every way sees the same keypoints: what the trunks of `openexpose predict` see of people in given boxes, or, with
--noise, the true places of visible keypoints with normal noise of that share of the person's box, as a strong detector
tells them. --data: rendered people whose truth is exact (mm, as `openexpose evaluate` measures EHF). --photos: photos
with people's labels, index.json as `openexpose evaluate --protocol photos` reads it (%): judges that no fit has seen.

Both beginnings have one rule to stop by; energies are of the last stage, without the term that holds fits to the
answer, so that they compare. Means with 95 % bootstrap intervals over people; seconds of one thread, person by person.
Of the first people (--full) also the full fit, L-BFGS as in SMPLify-X. Then differences, person by person; errors
after each stage; and seconds a person when several are fitted at once. Prints Markdown tables and a JSON row.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES
from openexpose.body.mesh import keypoints, posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.evaluation.protocols import photos, renders
from openexpose.evaluation.protocols.whole import Truth, choose_metrics, measure_whole
from openexpose.evaluation.record import Mesh, Prediction, Subject, Values
from openexpose.evaluation.run import read_picture
from openexpose.evaluation.statistics import Summary, paired_difference, summarise
from openexpose.evaluation.tables import Tables
from openexpose.fitting.energy import Energy
from openexpose.fitting.fit import Method, aim_at, fit
from openexpose.fitting.objective import STAGES, Aim
from openexpose.fitting.observed import Observed, confident, observe
from openexpose.fitting.penalties import Priors
from openexpose.fitting.result import start_of
from openexpose.fitting.state import State
from openexpose.geometry.camera import project_perspective
from openexpose.predict.parts import BODY
from openexpose.predict.pipeline import Predictor

RENDERED = ("MPJPE body", "PA-MPJPE body", "PA-MPJPE left hand", "PA-MPJPE right hand", "PA-V2V all", "PA-V2V body")
LABELLED = (photos.PCK, photos.BODY_ERROR, f"face {photos.INNER}", f"hand {photos.HAND}")
BEGINNINGS = {"from the answer": True, "from the mean pose": False}
STEPS = ("start", "place", *(f"stage {k}" for k in range(1, 6)))
Measure = Callable[[State, "Person"], Values]
Rows = dict[str, list[Values]]


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody to fit."""

    subject: Subject
    seen: Observed
    focal_px: float
    answer: State
    seconds: float

    @property
    def aim(self) -> Aim:
        """What the fit aims at."""
        return aim_at([self.seen], np.array([self.focal_px]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path)
    source.add_argument("--photos", type=Path)
    parser.add_argument("--first", type=int, default=0, help="leave out so many people")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--full", type=int, default=10)
    parser.add_argument("--noise", type=float)
    parser.add_argument("--batch", type=int, default=0, help="up to so many people at once")
    arguments = parser.parse_args()
    if arguments.noise is not None and arguments.photos is not None:
        parser.error("--noise needs the exact truth of --data")
    model, priors = load_body_model(num_betas=BODY.num_betas, num_expression=BODY.num_expression), Priors.load()
    read, folder = (photos, arguments.photos) if arguments.data is None else (renders, arguments.data)
    subjects = [one for one in read.protocol(folder, tables=Tables.read()).subjects if one.part == "whole"]
    people = read_people(subjects[arguments.first : arguments.first + arguments.count], arguments.noise)
    measure = measure_labels(model) if arguments.data is None else measure_truth(model)
    told: dict[str, object] = {"bench": "fit", "data": folder.name, "noise": arguments.noise}
    with threadpool_limits(1, "blas"):
        fast: Rows = {}
        for method, some in (("fast", people), ("full", people[: arguments.full])):
            if some:
                title = f"{method}, {len(some)} people"
                rows, stages = run_ways(model, priors, method, some, measure)
                told[title] = show(title, rows, stages, {name: row[: len(some)] for name, row in fast.items()})
                fast = rows
        if arguments.batch:
            told["seconds a person at once"] = show_batches(model, priors, people, arguments.batch)
    print(json.dumps(told))


def read_people(subjects: Sequence[Subject], noise: float | None) -> list[Person]:
    """People with the networks' answers, and what is seen of them; without those of whom too little is."""
    predictor, people = Predictor.load(threads=1), []
    for number, subject in enumerate(subjects):
        begun, boxes = time.process_time(), None if subject.box_xyxy_px is None else subject.box_xyxy_px[None]
        pixels, focal_px = read_picture(subject)
        answer = predictor(pixels, boxes=boxes, focal_px=subject.focal_px or focal_px)
        spent = time.process_time() - begun
        seen = confident(observe(predictor, answer, subject.name)[0], fewest=0)
        if noise is not None:
            seen = replace(seen, keypoints_px=noisy(subject, noise, np.random.default_rng(number)), source="truth")
        if seen.has("body"):
            people.append(Person(subject, seen, float(answer.focal_px), start_of(answer), spent))
    return people


def noisy(subject: Subject, share: float, rng: np.random.Generator) -> np.ndarray:
    """The true places of the visible keypoints, and normal noise of a share of the box's longer side."""
    points, size_px = np.array(subject.keypoints_px["all"], float), np.ptp(subject.box_xyxy_px.reshape(2, 2), 0).max()
    points[:, :2] += share * size_px * rng.normal(size=(len(points), 2))
    return np.where(points[:, 2:] > 0, points, 0.0)


def measure_truth(model: BodyModel) -> Measure:
    """Errors of a rendered person, mm."""
    tables, metrics = Tables.read(), choose_metrics(*RENDERED)

    def measure(state: State, person: Person) -> Values:
        joints = keypoints(model, state.pose, state.betas, state.expression)[0].astype(float) + state.transl
        vertices = posed_mesh(model, state.pose, state.betas, state.expression).vertices[0] + state.transl
        joints = np.concatenate([joints, joints[INDEX["head"]][None]])  # for the top of the head, as in evaluate
        found = Prediction(Mesh(vertices, model.faces), joints, (*KEYPOINT_NAMES, "head_top"))
        subject = person.subject
        truth = Truth(subject.mesh and subject.mesh(), subject.joints_m, subject.joint_names)
        return measure_whole(truth, found, tables, metrics)

    return measure


def measure_labels(model: BodyModel) -> Measure:
    """Errors against a photo's labels, %."""

    def measure(state: State, person: Person) -> Values:
        points = keypoints(model, state.pose, state.betas, state.expression).astype(float) + state.transl[:, None]
        middle = np.array(person.seen.image_size) / 2.0
        found = Prediction(keypoints_px=project_perspective(points, person.focal_px, middle)[0])
        values = photos.measure(person.subject, found).values
        return {name: values[name] for name in LABELLED if name in values}

    return measure


def run_ways(
    model: BodyModel, priors: Priors, method: Method, people: list[Person], measure: Measure
) -> tuple[Rows, Rows]:
    """Values of every person: of answer and fits, and after each stage."""
    last = priors.penalties(STAGES[-1])

    def energy(state: State, person: Person) -> Values:
        return {"energy": Energy(model, person.aim, STAGES[-1], last)(state)}

    rows: Rows = {"predict": []}
    for one in people:
        rows["predict"].append(
            measure(one.answer, one) | {"seconds": np.array([one.seconds])} | energy(one.answer, one)
        )
    stages: Rows = {}
    for name, from_answer in BEGINNINGS.items():
        rows[name] = []
        for one in people:
            begun = time.process_time()
            fitted = fit(model, priors, one.aim, start=one.answer if from_answer else None, method=method)
            told = {"seconds": np.array([time.process_time() - begun]), "steps": fitted.steps.astype(float)}
            rows[name].append(measure(fitted.state, one) | told | energy(fitted.state, one))
            steps = (STEPS[0], *STEPS[-2:]) if from_answer else STEPS
            for step, state in zip(steps, fitted.after, strict=True):
                stages.setdefault(f"{name}, {step}", []).append(measure(state, one))
    return rows, stages


def show(title: str, rows: Rows, stages: Rows, fast: Rows) -> dict[str, object]:
    """Print the tables of one method, compared with the fast one of the same people; returns the numbers."""
    answer, mean = BEGINNINGS
    rows = rows | {f"fast, {name}": row for name, row in fast.items() if name in BEGINNINGS}
    pairs = {f"{answer} - {mean}": (answer, mean), f"{answer} - predict": (answer, "predict")}
    pairs[f"{mean} - predict"] = (mean, "predict")
    pairs |= {f"{name} - fast, {name}": (name, f"fast, {name}") for name in BEGINNINGS if fast}
    summaries: dict[str, dict[str, Summary]] = {}
    for name, row in (rows | stages).items():
        summaries[name] = {key: s for key in keys(row) if (s := summarise(column(row, key))) is not None}
    for name, (one, other) in pairs.items():
        first, second = rows[one], rows[other]
        both = [key for key in keys(first) if key in keys(second)]
        found = {key: paired_difference(column(first, key), column(second, key)) for key in both}
        summaries[name] = {key: s for key, s in found.items() if s is not None}
    for heading, names in ((title, [*rows, *pairs]), ("after each stage", list(stages))):
        columns = list(dict.fromkeys(key for name in names for key in summaries[name]))
        print(f"\n| {heading} | {' | '.join(columns)} |\n|{'---|' * (1 + len(columns))}")
        for name in names:
            cells = (tell(key, summaries[name].get(key)) for key in columns)
            print(f"| {name} | {' | '.join(cells)} |")
    return {name: {key: [s.mean, s.low, s.high] for key, s in row.items()} for name, row in summaries.items()}


def keys(row: list[Values]) -> list[str]:
    """The metrics that somebody has."""
    return list(dict.fromkeys(key for values in row for key in values))


def column(row: list[Values], key: str) -> list[np.ndarray]:
    """A metric of everybody; NaN where somebody has none."""
    like = next(values[key] for values in row if key in values)
    return [np.asarray(values.get(key, np.full(np.shape(like), np.nan)), float) for values in row]


def tell(key: str, summary: Summary | None) -> str:
    """A cell: mean and interval."""
    if summary is None:
        return ""
    digits = {"seconds": 2, "energy": 0}.get(key, 1)
    return f"{summary.mean:.{digits}f} [{summary.low:.{digits}f}, {summary.high:.{digits}f}]"


def show_batches(model: BodyModel, priors: Priors, people: list[Person], most: int) -> dict[str, list[float]]:
    """Print seconds a person of the fast fit when 1, 2, 4 ... people are fitted at once."""
    some = people[:most]
    sizes = [2**k for k in range(len(some).bit_length()) if 2**k <= len(some)]
    seconds: dict[str, list[float]] = {}
    for name, from_answer in BEGINNINGS.items():
        for size in sizes:
            begun = time.process_time()
            for k in range(0, len(some), size):
                batch = some[k : k + size]
                aim = aim_at([one.seen for one in batch], np.array([one.focal_px for one in batch]))
                fields = zip(*(vars(one.answer).values() for one in batch), strict=True)
                start = State(*(np.concatenate(field) for field in fields))
                fit(model, priors, aim, start=start if from_answer else None)
            seconds.setdefault(name, []).append((time.process_time() - begun) / len(some))
    print(f"\n| seconds a person, {len(some)} people | {' | '.join(f'{n} at once' for n in sizes)} |")
    print(f"|{'---|' * (1 + len(sizes))}")
    for name, row in seconds.items():
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in row)} |")
    return seconds


if __name__ == "__main__":
    main()
