"""Small data for the paper's recipe: people with exactly known labels, shards, one-layer networks."""

import copy
import io
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.nets.tiny_paper import TinyTrunk
from tests.synth.photos import free_body, make_photos
from torch import nn

from openexpose.body.keypoints import LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.body.mesh import joint_transforms, keypoints
from openexpose.body.model import BodyModel, load_body_model
from openexpose.data.augment import NO_AUGMENTATION, AugmentConfig
from openexpose.data.sample import Sample
from openexpose.geometry.camera import fit_weak
from openexpose.geometry.rotation import matrix_to_sixd, rotvec_to_matrix
from openexpose.nets.paper import (
    PAPER_PARTS,
    TRUNKS,
    PaperPartConfig,
    build_paper_part,
    load_paper_part,
    paper_mean,
    save_paper_part,
)
from openexpose.people import zero_pose
from openexpose.predict.parts import RECIPES
from openexpose.synth.digest import body_digest
from openexpose.synth.shard_files import Origin, write_shard
from openexpose.training.examples import PartSetup, part_example
from openexpose.training.joint import JointTask
from openexpose.training.mixture import Mixture
from openexpose.training.recipes import DataSet, TrainConfig, find_weights

PARTS_OF_THE_BODY = ("body", "hand", "face")
SPECS = RECIPES["paper"]
_SIZE = 120
_DEPTH_M = 1000.0
_HALF_M = {"body": 1.6, "hand": 0.15, "face": 0.25}
_KEPT = tempfile.TemporaryDirectory(prefix="rendered-")
_KINDS = {"people": 11, "hands": 22, "faces": 11}


@cache
def model_of(part: str) -> BodyModel:
    """The free body with the part's numbers of coefficients."""
    num_betas, num_expression = SPECS[part].model_size
    return load_body_model(num_betas=num_betas, num_expression=num_expression)


def setup_of(part: str, augmentation: AugmentConfig = NO_AUGMENTATION, noise: bool = False) -> PartSetup:
    """How a part's pictures become examples in the paper's recipe."""
    mean = paper_mean(part).numpy().astype(float)
    return PartSetup(SPECS[part], PAPER_PARTS[part], model_of(part), augmentation, mean, noise)


@cache
def labelled(
    part: str, seed: int = 0, *, left: bool = False, expression: float = 1.0, dot: int | None = None
) -> Sample:
    """A person seen from a kilometre away, so that a weak-perspective camera is exact; labels agree with the free body.

    Args:
        part: what the picture shows.
        seed: of the person.
        left: hands: a left one.
        expression: standard deviation of the expression's coefficients.
        dot: draw a soft dot at this keypoint (of the 144) instead of noise.
    """
    rng, model = np.random.default_rng([seed, 7]), model_of("body")
    rotvecs = 0.25 * rng.normal(size=(1, 55, 3))
    rotvecs[0, 23:25] = 0.0  # the paper's networks know nothing of the eyes
    rotvecs[0, 0] += [np.pi, 0.0, 0.0]
    pose, betas, face = rotvec_to_matrix(rotvecs), rng.normal(size=(1, 10)), expression * rng.normal(size=(1, 10))
    points = keypoints(model, pose, betas, face)[0].astype(float)
    root = {"body": 0, "face": 15, "hand": 20 if left else 21}[part]
    known = {
        "body": np.arange(55),
        "hand": np.r_[0, 25:40] if left else np.r_[0, 40:55],
        "face": np.array([0, 22]),
    }[part]
    told = {"body": np.arange(144), "hand": LEFT_HAND21 if left else RIGHT_HAND21, "face": PARTS["head"]}[part]
    seen = zero_pose(1)[0].astype(float)
    seen[known] = pose[0][known]
    seen[0] = joint_transforms(model, pose, betas, face)[0][0, root]
    points -= points[told].mean(0)
    focal = 0.5 * _SIZE / _HALF_M[part] * _DEPTH_M
    pixels = 0.5 * _SIZE + np.array([3.0, -2.0]) + focal * points[:, :2] / (points[:, 2:] + _DEPTH_M)
    marks, valid = np.zeros((144, 3)), np.zeros((144, 4))
    marks[told], valid[told] = np.c_[pixels, np.ones(144)][told], np.c_[points + [0.3, -0.2, 5.0], np.ones(144)][told]
    low, high = pixels[told].min(0), pixels[told].max(0)
    return Sample(
        name=f"{part}/{seed}{'-left' * left}", image=picture(seed, None if dot is None else pixels[dot]), part=part,
        box_xyxy_px=np.r_[low - 2, high + 2], keypoints_px=marks, points_m=valid, pose=seen,
        pose_valid=np.isin(np.arange(55), known), betas=betas[0], expression=None if part == "hand" else face[0],
        coefficients="freebody", focal_px=focal, left=left,
    )  # fmt: skip


def picture(seed: int, dot: np.ndarray | None = None) -> bytes:
    """A PNG file of noise of some colour, or of a soft dot, width 2 px, at a place (x, y)."""
    rng = np.random.default_rng(seed)
    pixels = (rng.integers(0, 256, (_SIZE, _SIZE, 3)) * rng.uniform(0.1, 1.0, 3)).astype(np.uint8)
    if dot is not None:
        y, x = np.mgrid[:_SIZE, :_SIZE] + 0.5
        soft = np.exp(-0.125 * ((x - dot[0]) ** 2 + (y - dot[1]) ** 2))
        pixels = np.repeat((255 * soft)[..., None], 3, 2).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def planar(sample: Sample) -> Sample:
    """The sample with its 2D labels only."""
    return replace(
        sample, name=f"flat-{sample.name}", points_m=None, pose=None, pose_valid=np.zeros(55, bool), betas=None,
        expression=None,
    )  # fmt: skip


@cache
def rendered() -> Path:
    """A folder of shards of people, hands and faces, a few of them held out; the pictures are noise."""
    folder, body = Path(_KEPT.name), body_digest(free_body())
    for kind, count in _KINDS.items():
        side = 256 if kind == "people" else 64
        photos = make_photos(kind, count, size=(side, side))
        write_shard(folder / f"{kind}-0-00000.tar", Origin(kind, 0, 0, body), photos)
    return folder


def add_tiny_trunk(patch: pytest.MonkeyPatch) -> None:
    """Make the name ``tiny`` stand for a trunk of one layer."""
    patch.setitem(TRUNKS, "tiny", lambda side: TinyTrunk(side, 8))


def write_weights(folder: Path, seed: int = 0) -> Path:
    """Weights of three networks with one-layer trunks, which look at the picture; a run folder for each."""
    torch.manual_seed(seed)
    with pytest.MonkeyPatch.context() as patch:
        add_tiny_trunk(patch)
        for part in PARTS_OF_THE_BODY:
            net = build_paper_part(part, "tiny")
            nn.init.normal_(net.regressor.output_layer.weight, std=2e-3)
            save_paper_part(folder / part / f"{part}.pt", net, PaperPartConfig(part, "tiny"), {"made": "by a test"})
    return folder


def states_of(folder: Path) -> dict[str, torch.Tensor]:
    """All weights of a run folder, or of a folder of those."""
    found = {}
    for part in PARTS_OF_THE_BODY:
        net, _, _ = load_paper_part(find_weights(folder, part), part)
        found |= {f"{part}.{name}": value for name, value in net.state_dict().items()}
    return found


def joint_config(weights: Path | None, out: Path, **changes: object) -> TrainConfig:
    """Two steps of joint training on the rendered pictures."""
    data = (DataSet("synthetic", rendered()),)
    known = {"batch": 2, "part_batch": 2, "steps": 2, "rate": 1e-4, "log_every": 1, "validate_every": 2}
    return TrainConfig("joint", data, out, recipe="paper", weights=weights, **(known | changes))


def copied_task(
    base: JointTask,
    samples: list[Sample] | None = None,
    augmentation: AugmentConfig = NO_AUGMENTATION,
    **changes: object,
) -> JointTask:
    """A copy of a task, in evaluation, with people with exact labels: the samples, or three."""
    mixtures = {name: Mixture([[labelled(name, k) for k in range(3)]], 0.25) for name in base.mixtures}
    mixtures["body"] = Mixture([samples or [labelled("body", k) for k in range(3)]], 0.25)
    setups = {name: replace(setup, augmentation=augmentation) for name, setup in base.setups.items()}
    module = copy.deepcopy(base.module).eval()
    return JointTask(replace(base.config, **changes), setups, module, mixtures, [])


def answer_with(task: JointTask, sample: Sample, seed: int) -> None:
    """Make the body network answer draw 0 of the task, the sample, with the truth; hand and face change nothing."""
    setup = task.setups["body"]
    spec = setup.spec
    _, target, _ = part_example(setup, sample, np.random.default_rng([seed, 0]))
    pelvis = keypoints(setup.model, target["pose"][None], target["betas"][None], target["expression"][None])[0][0]
    camera = fit_weak(target["points"] - target["points"][0] + pelvis * spec.from_origin, target["projected"])
    sixd = matrix_to_sixd(target["pose"][list(spec.pose_slots)]).ravel()
    raw = np.log(np.expm1(camera[:1]))
    vector = np.concatenate([sixd, target["betas"], target["expression"], raw, camera[1:]])
    task.module.net.parts["body"].regressor.mean.copy_(torch.from_numpy(vector))
    for part in task.module.net.parts.values():
        nn.init.zeros_(part.regressor.output_layer.weight)
