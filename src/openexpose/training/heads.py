"""Training the iterative regressors on the cached evidence of frozen trunks."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openexpose.body.keypoints import PARTS
from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.formats.atomic import check_writable
from openexpose.losses import LossWeights, PartTarget, part_loss
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.checkpoint import RegressorConfig, build_regressor, save_regressor
from openexpose.nets.decode import Decoded, decode, matrix_to_sixd, project_weak
from openexpose.nets.regressor import Evidence, IterativeRegressor
from openexpose.predict.parts import BODY, SPECS, PartSpec
from openexpose.training.evidence import cache_evidence
from openexpose.training.targets import PartData, load_data

MIN_PRESENCE = 0.2
"""Hands and faces that the trunk does not see teach nothing: prediction then keeps the body's estimate."""
STAGE_WEIGHTS = (0.3, 0.5, 1.0)
WEIGHTS = {
    "body": LossWeights(points=5.0, projected=8.0, betas=0.02, expression=0.01),
    "hand": LossWeights(points=40.0, projected=8.0, betas=0.01, camera=0.1),
    "face": LossWeights(points=40.0, projected=12.0, betas=0.05, expression=0.15, camera=0.1),
}


@dataclass(frozen=True)
class TrainConfig:
    """One training of one regressor."""

    part: str
    """``body``, ``hand`` or ``face``."""
    shards: Path
    """Folder of rendered shards."""
    out: Path
    """Checkpoint to write."""
    epochs: int = 40
    """Passes over the data."""
    batch: int = 256
    """Samples a step."""
    rate: float = 1.5e-3
    """Peak learning rate (AdamW, one cycle)."""
    hidden: int = 512
    """Width of the regressor."""
    feedback: bool = True
    """Residual feedback; off gives the paper's plain regressor."""
    held_out: float = 0.08
    """Share of the samples kept for validation."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 1
    """Torch threads."""


def train(config: TrainConfig) -> dict[str, float]:
    """Train a regressor and write its checkpoint.

    Returns:
        Validation metrics: see :func:`validate`.

    Raises:
        InputError: no such part, no shards, fewer samples than a batch, epochs or batch not positive, or a checkpoint
            that cannot be written (found out before the training).
    """
    if config.part not in SPECS:
        raise InputError(f"the part '{config.part}'", f"one of {sorted(SPECS)}")
    if config.epochs < 1 or config.batch < 1:
        raise InputError(f"{config.epochs} epochs of batches of {config.batch}", "positive numbers")
    if config.out.is_dir():
        raise InputError(f"--out '{config.out}', which is a folder", "the checkpoint file to write")
    check_writable(config.out.parent)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    spec = SPECS[config.part]
    cache_evidence(config.shards, config.part, threads=config.threads)
    data = load_data(config.shards, spec)
    if config.part != "body":
        data = data.rows(torch.nonzero(data.seen.presence > MIN_PRESENCE)[:, 0])
    held = max(2, int(len(data) * config.held_out))
    if len(data) - held < config.batch:
        raise InputError(f"{len(data)} samples in '{config.shards}'", f"more than {config.batch} to train on")
    training, validation = data.rows(torch.arange(held, len(data))), data.rows(torch.arange(held))
    layer = BodyLayer(load_body_model(num_betas=BODY.num_betas, num_expression=BODY.num_expression))
    regressor, settings = _fresh(config, spec, training, layer)
    steps = config.epochs * (len(training) // config.batch)
    optimiser = torch.optim.AdamW(regressor.parameters(), config.rate, weight_decay=0.01)
    rise = 0.1 if steps > 10 else 0.3  # the scheduler divides by zero where the rise takes exactly one step
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=steps, pct_start=rise)
    begun, report = time.time(), max(1, steps // 12)
    for step, batch in enumerate(_batches(training, config)):
        terms = _step_loss(regressor, batch, spec, layer, _start(batch.target, regressor.mean, spec))
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(regressor.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % report == report - 1:
            shown = {name: round(float(value.detach()), 3) for name, value in terms.items()}
            print(f"step {step + 1}/{steps} {time.time() - begun:.0f} s {shown}", flush=True)
    scores = validate(regressor.eval(), validation, spec, layer)
    recipe = {name: value for name, value in vars(config).items() if name not in ("shards", "out", "threads")}
    provenance = {"samples": str(len(training)), "recipe": json.dumps(recipe)}
    save_regressor(config.out, regressor, settings, provenance | {k: f"{v:.3f}" for k, v in scores.items()})
    print(json.dumps(scores), flush=True)
    return scores


def _fresh(
    config: TrainConfig, spec: PartSpec, data: PartData, layer: BodyLayer
) -> tuple[IterativeRegressor, RegressorConfig]:
    """A regressor whose evidence statistics and mean vector come from the training set."""
    raw = Evidence.raw(data.seen)
    settings = RegressorConfig(config.part, raw.shape[1], config.hidden, feedback=config.feedback)
    regressor = build_regressor(settings, layer)
    regressor.evidence.mean.copy_(raw.mean(0))
    regressor.evidence.std.copy_(raw.std(0) + 1e-2)
    regressor.mean.copy_(_vector(data.target, spec).mean(0))
    return regressor, settings


def _vector(target: PartTarget, spec: PartSpec) -> Tensor:
    """Ground truth as parameter vectors."""
    rotations = matrix_to_sixd(target.pose[:, list(spec.pose_slots)]).flatten(1)
    scale = torch.log(torch.expm1(target.camera[:, :1].clamp(1e-3, 30.0)))
    expression = target.expression[:, : spec.num_expression]
    return torch.cat([rotations, target.betas, expression, scale, target.camera[:, 1:]], 1)


def _batches(data: PartData, config: TrainConfig) -> Iterator[PartData]:
    for _ in range(config.epochs):
        order = torch.randperm(len(data))
        for k in range(len(data) // config.batch):
            yield data.rows(order[k * config.batch : (k + 1) * config.batch])


def _start(target: PartTarget, mean: Tensor, spec: PartSpec) -> Tensor:
    """Start vectors: the mean for bodies; for hands and faces what a body network might say of them.

    In seven of ten samples the root is the truth turned by N(0, 20) degrees (one in seven of those: by U(-90, 90)),
    and fingers, jaw and expression lie somewhere between the mean and the truth; else the start is the mean. So the
    part networks learn to live with wrong body estimates (paper, part-only training).
    """
    count = len(target.betas)
    start = mean.expand(count, -1).clone()
    if spec.name == "body":
        return start
    angle = torch.where(torch.rand(count) < 0.15, 180.0 * torch.rand(count) - 90.0, 20.0 * torch.randn(count))
    axis = torch.nn.functional.normalize(torch.randn(count, 3), dim=1)
    turned = _rotation(axis, torch.deg2rad(angle)) @ target.pose[:, 0]
    truth = _vector(target, spec)
    share = torch.rand(count, 1)
    kept = 6 * len(spec.pose_slots)
    informed = start + share * (truth - start)
    informed[:, :6] = matrix_to_sixd(turned)
    informed[:, kept : kept + spec.num_betas] = start[:, kept : kept + spec.num_betas]
    informed[:, -3:] = start[:, -3:]
    return torch.where(torch.rand(count, 1) < 0.7, informed, start)


def _rotation(axis: Tensor, angle: Tensor) -> Tensor:
    """Rodrigues' formula for unit axes [n, 3] and angles [n] in radians."""
    x, y, z = axis.unbind(1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    s, c = torch.sin(angle)[:, None, None], torch.cos(angle)[:, None, None]
    return torch.eye(3) + s * skew + (1 - c) * (skew @ skew)


def importance(spec: PartSpec) -> Tensor:
    """Weight of each keypoint of a part: in a body the many hand and face points count little."""
    weight = torch.ones(len(spec.keypoints))
    if spec.name == "body":
        weight[:] = 0.1
        weight[torch.as_tensor(PARTS["body"])] = 1.0
    return weight


def _points(answer: Decoded, spec: PartSpec, layer: BodyLayer) -> Tensor:
    points = layer.keypoints(answer.pose, answer.betas, answer.expression)
    return points[:, list(spec.keypoints)] - points[:, spec.root_joint, None]


def _step_loss(
    regressor: IterativeRegressor, batch: PartData, spec: PartSpec, layer: BodyLayer, start: Tensor
) -> dict[str, Tensor]:
    """Terms of the loss, summed over the stages."""
    total: dict[str, Tensor] = {}
    slots, weight = list(spec.pose_slots), importance(spec)
    for stage, vector in zip(STAGE_WEIGHTS, regressor(batch.seen, start), strict=True):
        answer = decode(vector, spec)
        terms = part_loss(answer, _points(answer, spec, layer), batch.target, slots, weight, WEIGHTS[spec.name])
        total = {name: total.get(name, 0.0) + stage * value for name, value in terms.items()}
    return total


@torch.no_grad()
def validate(regressor: IterativeRegressor, data: PartData, spec: PartSpec, layer: BodyLayer) -> dict[str, float]:
    """Errors on held-out renders from the mean start: 3D (mm, root-aligned), 2D (% of the crop's side), rotations."""
    answer = decode(regressor(data.seen, None)[-1], spec)
    points = _points(answer, spec, layer)
    main = importance(spec) == 1.0
    error = (points - data.target.points).norm(dim=-1)[:, main]
    flat = (project_weak(points, answer.camera) - data.target.projected).norm(dim=-1)[:, main]
    seen = data.target.visible[:, main] > 0
    slots = list(spec.pose_slots)
    relative = answer.pose[:, slots].transpose(-1, -2) @ data.target.pose[:, slots]
    cosine = ((relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1.0) / 2.0).clamp(-1.0, 1.0)
    angle = torch.rad2deg(torch.arccos(cosine))
    plain = _points(decode(_baseline(data, regressor), spec), spec, layer)
    return {
        "n": float(len(data)),
        "mpjpe_mm": float(1000 * error.mean()),
        "mean_pose_mpjpe_mm": float(1000 * (plain - data.target.points).norm(dim=-1)[:, main].mean()),
        "error_2d_percent": float(50 * flat[seen].mean()),
        "root_deg": float(angle[:, 0].mean()),
        "joints_deg": float(angle[:, 1:].mean()),
        "expression_rms": float((answer.expression - data.target.expression).pow(2).mean().sqrt()),
        "expression_zero_rms": float(data.target.expression.pow(2).mean().sqrt()),
        "beta0_correlation": float(np.corrcoef(answer.betas[:, 0], data.target.betas[:, 0])[0, 1]),
    }


def _baseline(data: PartData, regressor: IterativeRegressor) -> Tensor:
    return regressor.mean.expand(len(data), -1)
