"""The default recipe's training of one part: the iterative regressor on the cached evidence of a frozen trunk, and if
asked for, a branch of the trunk."""

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from openexpose.body.model import BodyModel, load_body_model
from openexpose.errors import InputError
from openexpose.formats.atomic import check_writable
from openexpose.losses import LossWeights, PartTarget, SkinMotion, Term, part_loss
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.branch import CUTS, Branch, beside, fresh_branch
from openexpose.nets.checkpoint import (
    RegressorConfig,
    build_regressor,
    load_branch,
    load_regressor,
    read_config,
    save_regressor,
)
from openexpose.nets.decode import decode, matrix_to_sixd, project_weak
from openexpose.nets.reader import JointReader, JointReading
from openexpose.nets.regressor import Evidence, IterativeRegressor
from openexpose.nets.trunk import OnnxTrunk, TrunkOutput
from openexpose.predict.bundle import packaged_trunk
from openexpose.predict.parts import BODY, SPECS, PartSpec
from openexpose.training.evidence import await_evidence, cache_evidence
from openexpose.training.head_errors import importance, part_errors, posed_points, skin_motion
from openexpose.training.prefetch import to_device
from openexpose.training.recipes import TrainConfig, find_weights
from openexpose.training.targets import PartData, load_data

Array = np.ndarray

MIN_PRESENCE = 0.2
"""Hands and faces that the frozen trunk does not see teach its reader nothing; a tuned branch may see them."""
STAGE_WEIGHTS = (0.3, 0.5, 1.0)
WEIGHTS = {
    "body": LossWeights(points=5.0, projected=8.0, betas=0.06, expression=0.1),
    "hand": LossWeights(points=40.0, projected=8.0, betas=0.03, camera=0.1),
    "face": LossWeights(points=40.0, projected=12.0, betas=0.03, expression=0.5, camera=0.1),
}
READ, READ_DEPTH = 4.0, 2.0
"""Weights of joints read off a map: per crop unit, and per metre of depth."""
_RECIPE = ("recipe", "stage", "epochs", "steps", "batch", "rate", "hidden", "feedback", "held_out", "seed")
_TUNING = ("tune", "tune_rate")
_CHUNK, _SURVEYED = 64, 512
_SHOWN, _COLUMNS, _CELL_PX = 12, 6, 192


def head_task(config: TrainConfig) -> tuple["HeadTask", int]:
    """The training of one regressor, and its number of steps.

    The trunk's evidence is computed first, where it is not there yet; of several processes the first one does it.

    Args:
        config: with the recipe's defaults filled in.

    Raises:
        InputError: a stage that is no part, data that are no rendered shards or too few, weights of
            another network, or a run folder that cannot be written to.
    """
    _check(config)
    if config.stage not in SPECS:
        raise InputError(f"the stage '{config.stage}'", f"one of {sorted(SPECS)}")
    check_writable(config.out)
    spec, folders = SPECS[config.stage], [dataset.folder for dataset in config.data]
    maps = CUTS[config.trunk or spec.name] if config.tune else ()
    for folder in folders:
        if os.environ.get("RANK", "0") == "0":
            cache_evidence(folder, spec.name, threads=config.threads, trunk=config.trunk, maps=maps)
        else:
            await_evidence(folder, spec.name, trunk=config.trunk, maps=maps)
    data = load_data(folders, spec, config.trunk)
    if spec.name != "body" and not config.tune:
        data = data.rows(torch.nonzero(data.seen.presence > MIN_PRESENCE)[:, 0])
    held, batch = max(2, int(len(data) * config.held_out)), config.batch or 1
    if len(data) - held < batch:
        where = ", ".join(f"'{folder}'" for folder in folders)
        raise InputError(f"{len(data)} samples in {where}", f"more than {batch} to train on")
    training, validation = data.rows(torch.arange(held, len(data))), data.rows(torch.arange(held))
    steps = config.steps or (config.epochs or 1) * (len(training) // batch)
    torch.manual_seed(config.seed)
    return HeadTask(config, spec, training, validation, steps), steps


def _check(config: TrainConfig) -> None:
    """See that the data are shards, and that some can be trained on."""
    known = ("synthetic", "samples") if config.stage == "body" else ("synthetic",)
    others = sorted({dataset.name for dataset in config.data if dataset.name not in known})
    if others:
        fix = "Make them with `openexpose synth`, or train with --recipe paper."
        expected = "for the default recipe rendered shards, of bodies also samples"
        raise InputError(f"the data set {', '.join(others)}", expected, fix)
    if not 0 <= config.held_out < 1:
        raise InputError(f"--held-out {config.held_out}", "a share from 0 to less than 1")


class HeadLoss(nn.Module):
    """A regressor and the loss of its answers.

    Args:
        regressor: what is trained.
        spec: the part.
        model: the free body.
        branch: the trunk's branch, which is trained, too.
    """

    weight: Tensor
    betas_factor: Tensor
    expression_factor: Tensor

    def __init__(
        self,
        regressor: IterativeRegressor,
        spec: PartSpec,
        model: BodyModel,
        branch: Branch | JointReader | None = None,
    ) -> None:
        super().__init__()
        self.regressor, self.spec, self.layer, self.branch = regressor, spec, BodyLayer(model), branch
        skin = skin_motion(model, spec)
        self.register_buffer("weight", importance(spec), persistent=False)
        self.register_buffer("betas_factor", skin.betas, persistent=False)
        self.register_buffer("expression_factor", skin.expression, persistent=False)

    @property
    def skin(self) -> SkinMotion:
        """What coefficients do to the skin."""
        return SkinMotion(self.betas_factor, self.expression_factor)

    def see(self, batch: PartData) -> TrunkOutput:
        """What the regressor reads of the trunk; of samples with maps, the tuned feature, too."""
        if self.branch is None or not batch.maps:
            return batch.seen
        maps = [some.float().contiguous(memory_format=torch.channels_last) for some in batch.maps]
        return beside(batch.seen, self.branch(*maps))

    def forward(self, batch: PartData) -> dict[str, Term]:
        """The terms of the loss, each already a mean, from the mean start vector."""
        seen = self.see(batch)
        answers = self.regressor(seen, None)
        with torch.autocast(batch.target.betas.device.type, enabled=False):
            values = self._values([answer.float() for answer in answers], batch.target)
            if isinstance(self.branch, JointReader):
                values |= self._read(self.branch.reading(seen.feature[:, -self.branch.size :].float()), batch.target)
        return {name: Term(value, torch.ones_like(value)) for name, value in values.items()}

    def _read(self, reading: JointReading, target: PartTarget) -> dict[str, Tensor]:
        """Terms of the joints that the branch reads off its map: within the crop, hidden ones less."""
        main = self.weight == 1.0
        spots, points = target.projected[:, main], target.points[:, main]
        weight = (0.3 + 0.7 * target.visible[:, main]) * (spots.abs() < 1).all(-1)
        off = (reading.points - spots).norm(dim=-1)
        deep = (reading.depth - points[..., 2]).abs()
        return {"read": READ * (off * weight).mean(), "depth": READ_DEPTH * (deep * weight).mean()}

    def _values(self, answers: list[Tensor], target: PartTarget) -> dict[str, Tensor]:
        """Terms of the loss, summed over the stages."""
        total: dict[str, Tensor] = {}
        slots, weights = list(self.spec.pose_slots), WEIGHTS[self.spec.name]
        for stage, vector in zip(STAGE_WEIGHTS, answers, strict=True):
            answer = decode(vector, self.spec)
            points = posed_points(answer, self.spec, self.layer)
            terms = part_loss(answer, points, target, slots, self.weight, weights, self.skin)
            total = {name: total.get(name, 0.0) + stage * value for name, value in terms.items()}
        return total


class HeadTask:
    """One regressor for the engine; see :class:`openexpose.training.engine.Task` for what its methods promise.

    Args:
        config: the training.
        spec: the part.
        training, validation: samples.
        steps: length of the learning rate's cycle.
    """

    unused_parameters = False

    def __init__(
        self, config: TrainConfig, spec: PartSpec, training: PartData, validation: PartData, steps: int
    ) -> None:
        self.config, self.spec, self.training, self.validation, self.steps = config, spec, training, validation, steps
        model = load_body_model(num_betas=BODY.num_betas, num_expression=BODY.num_expression)
        trunk = packaged_trunk(spec.name, config.trunk)
        branch = fresh_branch(OnnxTrunk(trunk), config.trunk or spec.name) if config.tune else None
        if isinstance(branch, JointReader):
            some = training.rows(torch.arange(min(_SURVEYED, len(training))))
            branch.calibrate(some.with_maps(branch.cut).maps[0].float())
        regressor, self.settings = _fresh(config, spec, training, BodyLayer(model), branch)
        self.module = HeadLoss(regressor, spec, model, branch)
        self.size, self.rate = config.batch or 1, config.rate or 0.0
        self.scores: dict[str, float] = {}

    def batch(self, step: int, rank: int, ranks: int) -> PartData:
        """Samples of the training set in an order of the epoch's own.

        Raises:
            InputError: the batch cannot be shared evenly.
        """
        if self.size % ranks:
            raise InputError(f"--batch {self.size} with {ranks} processes", f"a multiple of {ranks}")
        epoch, k = divmod(step, len(self.training) // self.size)
        order = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.training))
        share = self.size // ranks
        first = k * self.size + rank * share
        return self._with_maps(self.training.rows(torch.from_numpy(order[first : first + share])))

    def _with_maps(self, data: PartData) -> PartData:
        """Samples with what the tuned branch reads, if there is one."""
        return data if self.module.branch is None else data.with_maps(self.module.branch.cut)

    def _seen(self, data: PartData) -> PartData:
        """Samples on the device, with the tuned feature; no more maps are in memory than of a few."""
        device, chunks = self.module.regressor.mean.device, torch.arange(len(data)).split(_CHUNK)
        if self.module.branch is None:
            return to_device(data, device)
        features = [self.module.see(to_device(self._with_maps(data.rows(rows)), device)).feature for rows in chunks]
        data = to_device(data, device)
        return replace(data, seen=replace(data.seen, feature=torch.cat(features)))

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW; the branch, which starts from trained weights, has a rate of its own."""
        groups = [{"params": self.module.regressor.parameters(), "lr": self.rate}]
        if self.module.branch is not None:
            groups.append({"params": self.module.branch.parameters(), "lr": self.config.tune_rate})
        return torch.optim.AdamW(groups, self.rate, weight_decay=0.01)

    def schedule(self, optimiser: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """One cycle."""
        rise = 0.1 if self.steps > 10 else 0.3  # the scheduler divides by zero where the rise takes exactly one step
        peaks = [group["lr"] for group in optimiser.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimiser, peaks, total_steps=self.steps, pct_start=rise)

    def validate(self) -> dict[str, float]:
        """The loss and the errors of :func:`part_errors` on held-out samples, from the mean start."""
        data, module = self._seen(self.validation), self.module
        loss = sum(float(term.value) for term in module(data).values())
        answer = module.regressor(data.seen, None)[-1]
        errors = part_errors(answer, module.regressor.mean, data.target, self.spec, module.layer, module.skin)
        self.scores = {"loss": loss} | errors
        return self.scores

    def sheet(self) -> UInt8[Array, "h w 3"]:
        """Held-out crops with the true keypoints in green and the predicted ones in red."""
        count = min(_SHOWN, len(self.validation))
        data = self._seen(self.validation.rows(torch.linspace(0, len(self.validation) - 1, count).long()))
        answer = decode(self.module.regressor(data.seen, None)[-1], self.spec)
        flat = project_weak(posed_points(answer, self.spec, self.module.layer), answer.camera).cpu().numpy()
        truth = data.target.projected.cpu().numpy()
        cells = [_cell(*drawn) for drawn in zip(data.pictures(_CELL_PX), truth, flat, strict=True)]
        cells += [np.zeros_like(cells[0])] * (-count % _COLUMNS)
        grid = [np.concatenate(cells[k : k + _COLUMNS], 1) for k in range(0, len(cells), _COLUMNS)]
        return np.concatenate(grid)

    def export(self, folder: Path) -> None:
        """Write ``{part}.pt``."""
        names = (*_RECIPE, *(("trunk",) if self.config.trunk else ()), *(_TUNING if self.config.tune else ()))
        recipe = {name: getattr(self.config, name) for name in names}
        provenance = {"samples": str(len(self.training)), "recipe": json.dumps(recipe)}
        provenance |= {name: f"{value:.3f}" for name, value in self.scores.items()}
        path = folder / f"{self.spec.name}.pt"
        save_regressor(path, self.module.regressor, self.settings, provenance, self.module.branch)


def _cell(picture: Array, truth: Array, answer: Array) -> Array:
    """A crop [3, s, s] with two sets of points in crop coordinates."""
    cell = np.ascontiguousarray(np.rint(255 * picture.transpose(1, 2, 0)).astype(np.uint8))
    for points, colour in ((truth, (0, 255, 0)), (answer, (255, 60, 60))):
        for x, y in np.clip((points + 1) * _CELL_PX / 2, -1e4, 1e4).astype(int).tolist():
            cv2.circle(cell, (x, y), 1, colour, -1)
    return cell


def _fresh(
    config: TrainConfig, spec: PartSpec, data: PartData, layer: BodyLayer, branch: Branch | JointReader | None
) -> tuple[IterativeRegressor, RegressorConfig]:
    """A regressor whose evidence statistics and mean vector come from the training set, or with given weights, as the
    branch then, too. A fresh copy of the last stages tells what the trunk tells, so its statistics are those of the
    trunk; what a reader tells is taken as it is."""
    canonical = spec.name == "face"
    raw, told = Evidence.raw(data.seen, canonical), data.seen.feature.shape[1]
    mean, std = raw.mean(0), raw.std(0) + 1e-2
    if isinstance(branch, JointReader):
        mean, std = _inserted(mean, told, torch.zeros(branch.size)), _inserted(std, told, torch.ones(branch.size))
    elif branch is not None:
        mean, std = _inserted(mean, told, mean[:told]), _inserted(std, told, std[:told])
    settings = RegressorConfig(
        spec.name,
        len(mean),
        config.hidden,
        feedback=config.feedback,
        canonical=canonical,
        tuned=branch is not None,
        trunk=config.trunk,
    )
    regressor = build_regressor(settings, layer)
    if config.weights is not None:
        path = find_weights(config.weights, spec.name)
        if read_config(path).trunk != config.trunk:
            raise InputError(f"'{path}' on another trunk", f"weights on {packaged_trunk(spec.name, config.trunk)}")
        given, tuned = load_regressor(path, layer, part=spec.name)[0], load_branch(path)
        try:
            regressor.load_state_dict(given.state_dict())
            if branch is not None:
                branch.load_state_dict(tuned or {})
        except RuntimeError:
            form = f"{'with' if config.feedback else 'without'} feedback, {config.hidden} wide"
            form += ", with a tuned branch" if config.tune else ""
            raise InputError(f"'{path}', a regressor of another form", f"weights of a regressor {form}") from None
        return regressor, settings
    regressor.evidence.mean.copy_(mean)
    regressor.evidence.std.copy_(std)
    regressor.mean.copy_(_vector(data.target, spec).mean(0))
    return regressor, settings


def _inserted(values: Tensor, place: int, more: Tensor) -> Tensor:
    return torch.cat([values[:place], more, values[place:]])


def _vector(target: PartTarget, spec: PartSpec) -> Tensor:
    """Ground truth as parameter vectors."""
    rotations = matrix_to_sixd(target.pose[:, list(spec.pose_slots)]).flatten(1)
    scale = torch.log(torch.expm1(target.camera[:, :1].clamp(1e-3, 30.0)))
    expression = target.expression[:, : spec.num_expression]
    return torch.cat([rotations, target.betas, expression, scale, target.camera[:, 1:]], 1)
