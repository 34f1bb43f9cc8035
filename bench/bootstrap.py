"""What does curation bring? Photos whose truth is known, a detector and reviewers that err, and a comparison.

    runs/curated.sh [FOLDER] [PERCENT]      does all of it, with these steps between openexpose's own:

    python bench/bootstrap.py photos --scenes SHARDS --out FOLDER
        photos/KEY.jpg and keypoints/KEY_keypoints.json (OpenPose) of rendered scenes; truth.npz stays out of sight.
    python bench/bootstrap.py review --photos FOLDER --project PROJECT --out FOLDER
        copies of a prepared project for every policy, with its decisions: see POLICIES.
    python bench/bootstrap.py truth --scenes SHARDS --out FOLDER
        the people of the scenes as samples: what no curation can beat.
    python bench/bootstrap.py compare --test SHARDS --weights FOLDER
        the body networks FOLDER/POLICY-SEED/body.pt on people of other scenes: a Markdown table and a JSON row.

The detector misses what is hidden, is off by 0.8 % of the person's size (fingers and face half, what the person's own
body hides three times as much), and of a third of the people it gets something wrong: arms or legs swapped (12 %), a
limb astray (10 %), one side or both legs missing (10 %). The reviewer is to accept a fit whose joints are less than
90 mm off (PA-MPJPE), and errs in one of ten.
"""

import argparse
import json
import shutil
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from openexpose.body.keypoints import INDEX, PARTS
from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel, load_body_model
from openexpose.curation.store import FitRecord, Store
from openexpose.data.openpose import BODY, HANDS_AND_FACE
from openexpose.data.sample_shards import write_samples
from openexpose.data.skeletons import BODY25
from openexpose.data.synthetic import read_synthetic, shards_in, who_teaches
from openexpose.geometry.procrustes import align_similarity
from openexpose.predict import parts
from openexpose.synth.photo import HIDDEN, VISIBLE
from openexpose.synth.shards import load_shards

Array = np.ndarray

ACCEPTED_MM, MISTAKES = 90.0, 0.1
POLICIES = ("all", "curated", "random", "scores")
"""Which fits are accepted: all; those the reviewer likes; as many by chance; as many by the project's own score."""
_ARMS, _LEGS = (
    [[INDEX[f"{side}_{name}"] for name in names] for side in ("left", "right")]
    for names in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle", "big_toe", "small_toe", "heel"))
)
_BODY_NOISE, _FINE_NOISE, _BEHIND_ITSELF = 0.008, 0.004, 3.0
_JOINTS = np.arange(22)


def detect(
    points: Float[Array, "144 2"], visibility: UInt8[Array, "144"], size_px: float, rng: np.random.Generator
) -> Float[Array, "144 3"]:
    """What the detector makes of a person: x, y, confidence."""
    noise = np.where(np.isin(np.arange(144), PARTS["body"]), _BODY_NOISE, _FINE_NOISE) * size_px
    noise = np.where(visibility == VISIBLE, noise, _BEHIND_ITSELF * noise)
    confidence = np.where(visibility == VISIBLE, 0.9, np.where(visibility == HIDDEN, 0.0, 0.5))
    found = np.column_stack([points + rng.normal(size=(144, 2)) * noise[:, None], confidence])
    fate, side = rng.random(), int(rng.integers(2))
    limbs = _ARMS if rng.random() < 0.5 else _LEGS
    if fate < 0.12:
        found[limbs[0] + limbs[1]] = found[limbs[1] + limbs[0]]
    elif fate < 0.22:
        found[limbs[side][1:], :2] += 0.25 * size_px * rng.normal(size=2)
    elif fate < 0.32:
        found[_ARMS[side] + _LEGS[side] if limbs is _ARMS else _LEGS[0] + _LEGS[1], 2] = 0.0
    return np.where(found[:, 2:] > 0, found, 0.0)


def _openpose(found: Float[Array, "144 3"]) -> dict[str, list[float]]:
    """A person as OpenPose writes them."""
    columns = {BODY: BODY25} | HANDS_AND_FACE
    return {
        name: np.where(rows[:, None] >= 0, found[rows], 0.0).round(3).ravel().tolist() for name, rows in columns.items()
    }


def photos(scenes: Path, out: Path) -> None:
    """Write photos, keypoints and the truth about them."""
    for name in ("photos", "keypoints"):
        (out / name).mkdir(parents=True, exist_ok=True)
    truth: dict[str, list[Array]] = defaultdict(list)
    for path in shards_in(scenes, "people"):
        shard = load_shards([path])
        people, pictures = who_teaches(shard, "all")
        for picture in np.unique(pictures).tolist():
            name, rng = shard.name(picture), np.random.default_rng([int(shard.numbers[picture]), 1])
            persons = []
            for row in people[pictures == picture].tolist():
                spots, box = (shard.labels[key][row].astype(float) for key in ("keypoints_px", "box_xyxy_px"))
                size = float((box[2:] - box[:2]).max())
                found = detect(spots, shard.labels["visibility"][row], size, rng)
                persons.append(_openpose(found))
                truth["photo"].append(np.array(name))
                truth["keypoints_px"].append(spots)
                truth["size_px"].append(np.array(size))
                truth["keypoints_m"].append(shard.labels["keypoints_m"][row])
            (out / "photos" / f"{name}.jpg").write_bytes(shard.file(picture))
            (out / "keypoints" / f"{name}_keypoints.json").write_text(json.dumps({"people": persons}))
    np.savez(out / "truth.npz", **{name: np.stack(values) for name, values in truth.items()})  # type: ignore[arg-type]
    print(f"{len(truth['photo'])} people in photos: {out}")


def review(place: Path, project: Path, out: Path) -> None:
    """Copy a project for every policy and decide there."""
    with np.load(place / "truth.npz") as file:
        truth = {name: file[name] for name in file.files}
    rng = np.random.default_rng(0)
    with Store.open(project) as store:
        fits = store.fits("id")
        errors = np.array([_error_mm(store.record(row.id), row.photo.path.stem, truth) for row in fits])
    good = (errors < ACCEPTED_MM) ^ (rng.random(len(fits)) < MISTAKES)
    order = {
        "all": np.arange(len(fits)),
        "curated": np.flatnonzero(good),
        "random": np.sort(rng.permutation(len(fits))[: good.sum()]),
        "scores": np.argsort([row.badness for row in fits], kind="stable")[: good.sum()],
    }
    print("| fits | number | PA-MPJPE, mm | above 150 mm |\n|---|---|---|---|")
    for policy in POLICIES:
        accepted = {fits[k].id for k in order[policy].tolist()}
        shutil.copytree(project, out / policy, dirs_exist_ok=True)
        with Store.open(out / policy) as copy:
            for row in fits:
                copy.decide(row.id, policy, "accept" if row.id in accepted else "reject", seen=None)
        chosen = errors[order[policy]]
        print(f"| {policy} | {len(chosen)} | {chosen.mean():.1f} | {100 * (chosen > 150).mean():.1f} % |")


@cache
def _body() -> BodyModel:
    return load_body_model(num_betas=parts.BODY.num_betas, num_expression=parts.BODY.num_expression)


def _error_mm(record: FitRecord, photo: str, truth: dict[str, Array]) -> float:
    """PA-MPJPE of a fit, of the true person whom its keypoints are nearest to."""
    rows = np.flatnonzero(truth["photo"] == photo)
    seen = record.keypoints_px[:, 2] > 0
    off = np.linalg.norm(truth["keypoints_px"][rows][:, seen] - record.keypoints_px[seen, :2], axis=-1)
    row = rows[np.median(off, axis=1).argmin()]
    people = record.people
    fitted = keypoints(_body(), people.pose, people.betas, people.expression)[0, _JOINTS].astype(float)
    joints = truth["keypoints_m"][row][_JOINTS].astype(float)
    return float(1000 * np.linalg.norm(align_similarity(fitted, joints) - joints, axis=-1).mean())


def compare(test: Path, weights: Path) -> None:
    """Measure body networks, the mean of several seeds each."""
    import torch

    from openexpose.nets.body_layer import BodyLayer
    from openexpose.nets.checkpoint import load_regressor
    from openexpose.training.evidence import cache_evidence
    from openexpose.training.head_errors import part_errors, skin_motion
    from openexpose.training.targets import load_data

    spec = parts.BODY
    cache_evidence(test, "body")
    data = load_data([test], spec)
    layer, skin = BodyLayer(_body()), skin_motion(_body(), spec)
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    samples: dict[str, str] = {}
    for path in sorted(weights.glob("*/body.pt")):
        policy = path.parent.name.rpartition("-")[0]
        regressor, provenance = load_regressor(path, layer, part="body")
        with torch.no_grad():
            answer = regressor(data.seen, None)[-1]
        found[policy].append(part_errors(answer, regressor.mean, data.target, spec, layer, skin))
        samples[policy] = provenance["samples"]
    columns = {
        "MPJPE": "mpjpe_mm",
        "PA-MPJPE": "pa_mpjpe_mm",
        "shape": "shape_mm",
        "2D, % of the crop": "error_2d_percent",
    }
    print(f"{len(data)} people, mm, mean of the seeds ± their standard deviation")
    print(f"| trained on | samples | {' | '.join(columns)} |\n|{'---|' * (2 + len(columns))}")
    rows = {
        policy: {name: [one[key] for one in scores] for name, key in columns.items()}
        for policy, scores in found.items()
    }
    for policy, values in rows.items():
        cells = [f"{np.mean(some):.1f} ± {np.std(some):.1f}" for some in values.values()]
        print(f"| {policy} | {samples[policy]} | {' | '.join(cells)} |")
    print(json.dumps({"bench": "bootstrap", "people": len(data), "rows": rows}))


def main() -> None:
    """Do one of the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    for name, options in {
        "photos": ("scenes", "out"),
        "review": ("photos", "project", "out"),
        "truth": ("scenes", "out"),
        "compare": ("test", "weights"),
    }.items():
        step = steps.add_parser(name)
        for option in options:
            step.add_argument(f"--{option}", type=Path, required=True)
    given = parser.parse_args()
    if given.step == "photos":
        photos(given.scenes, given.out)
    elif given.step == "review":
        review(given.photos, given.project, given.out)
    elif given.step == "truth":
        write_samples(given.out, read_synthetic(given.scenes, "all", kinds=["people"]).samples)
    else:
        compare(given.test, given.weights)


if __name__ == "__main__":
    main()
