"""Small data for the paper's recipe: people with exactly known labels, rendered shards, one-layer networks."""

import io
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tests.nets.tiny_paper import TinyTrunk
from torch import nn

from openexpose.body.keypoints import LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.body.mesh import joint_transforms, keypoints
from openexpose.body.model import BodyModel, load_body_model
from openexpose.data.augment import NO_AUGMENTATION, AugmentConfig
from openexpose.data.sample import Sample
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.nets.paper import PAPER_PARTS, TRUNKS, PaperPartConfig, build_paper_part, paper_mean, save_paper_part
from openexpose.people import zero_pose
from openexpose.predict.parts import RECIPES
from openexpose.synth.dataset import render_shard
from openexpose.synth.person import build_stage
from openexpose.training.examples import PartSetup

PARTS_OF_THE_BODY = ("body", "hand", "face")
SPECS = RECIPES["paper"]
_SIZE = 120
_DEPTH_M = 1000.0
_HALF_M = {"body": 1.6, "hand": 0.15, "face": 0.25}
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
def labelled(part: str, seed: int = 0, *, left: bool = False, expression: float = 1.0, dot: int | None = None) -> Sample:
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
    """A PNG file of noise, or of a soft dot, width 2 px, at a place (x, y)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (_SIZE, _SIZE, 3), np.uint8)
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
    """A folder of rendered people, hands and faces, a few of them held out."""
    folder, stage = Path(tempfile.mkdtemp(prefix="rendered-")), build_stage()
    for kind, count in _KINDS.items():
        render_shard(kind, 0, 0, count, folder / f"{kind}-0-00000.npz", stage)
    return folder


def add_tiny_trunk() -> None:
    """Make the name ``tiny`` known as a trunk of one layer."""
    TRUNKS["tiny"] = lambda side: TinyTrunk(side, 8)


def write_weights(folder: Path, seed: int = 0) -> Path:
    """Weights of three networks with one-layer trunks, which look at the picture; a run folder for each."""
    add_tiny_trunk()
    torch.manual_seed(seed)
    for part in PARTS_OF_THE_BODY:
        net = build_paper_part(part, "tiny")
        nn.init.normal_(net.regressor.output_layer.weight, std=2e-3)
        save_paper_part(folder / part / f"{part}.pt", net, PaperPartConfig(part, "tiny"), {"made": "by a test"})
    return folder
