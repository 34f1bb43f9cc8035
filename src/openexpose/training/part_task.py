"""Training of one network of the paper's recipe: body, hand or face alone, trunk and regressor together."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.data.augment import AUGMENTATIONS, NO_AUGMENTATION
from openexpose.data.sample import Sample
from openexpose.errors import InputError
from openexpose.geometry.camera import fit_weak
from openexpose.geometry.rotation import matrix_to_sixd
from openexpose.losses import PAPER_WEIGHTS, PartTarget, Term, paper_terms
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.decode import Decoded, decode, project_weak
from openexpose.nets.paper import (
    PAPER_PARTS,
    PAPER_TRUNKS,
    PaperPartConfig,
    build_paper_part,
    load_paper_part,
    save_paper_part,
)
from openexpose.nets.part import PartNet, trunks_only
from openexpose.nets.resnet import ConvTrunk, load_trunk_weights, read_trunk_file
from openexpose.predict.parts import PartSpec
from openexpose.training.examples import PartBatch, PartSetup, part_batch, plain_target
from openexpose.training.mixture import Listed, Mixture
from openexpose.training.picture import draw_keypoints, tile
from openexpose.training.prefetch import to_device
from openexpose.training.reading import read_parts
from openexpose.training.recipes import TrainConfig, find_weights

Array = np.ndarray

MILESTONES = (60, 100)
"""Epochs after which the learning rate falls to a tenth."""
_SHOWN = 8
_VALIDATION_BATCH = 32
_MEANS_FROM = 1000
_FEWEST_FOR_CAMERA = 8


class PartModule(nn.Module):
    """A part network with its losses.

    Args:
        net: trunk and regressor.
        layer: the body model, with the part's numbers of coefficients.
    """

    def __init__(self, net: PartNet, layer: BodyLayer) -> None:
        super().__init__()
        self.net, self.layer = net, layer

    def forward(self, batch: PartBatch) -> dict[str, Term]:
        """The paper's terms (eq. 6-12) of the last stage."""
        with trunks_only([self.net], batch.image.device):
            _, stages = self.net(batch.image, batch.start)
            return self.terms(stages[-1], batch.target)

    def terms(self, vector: Float[Tensor, "n size"], target: PartTarget) -> dict[str, Term]:
        """The terms of an answer."""
        spec = self.net.spec
        answer = decode(vector.float(), spec)
        points, projected = posed(self.layer, answer, spec)
        return paper_terms(answer, points, projected, target, spec, PAPER_WEIGHTS[spec.name])


def posed(layer: BodyLayer, answer: Decoded, spec: PartSpec) -> tuple[Float[Tensor, "n k 3"], Float[Tensor, "n k 2"]]:
    """The part's keypoints of an answer: metres, counted as its camera counts them, and in crop coordinates."""
    points = spec.from_root(layer.keypoints(answer.pose, answer.betas, answer.expression))[:, list(spec.keypoints)]
    return points, project_weak(points, answer.camera)


class PartTask:
    """Pre-training of one part (paper, section 3.3); see :class:`openexpose.training.engine.Task`."""

    def __init__(self, config: TrainConfig, setup: PartSetup, module: PartModule, data: tuple[Mixture, list[Sample]]):
        self.config, self.setup, self.module = config, setup, module
        self.training, held_out = data
        self.plain = replace(setup, augmentation=NO_AUGMENTATION, noise=False)
        self.held_out = held_out
        self.batch_size = int(config.batch or 1)
        self.unused_parameters = config.stage == "body"
        """HRNet's last exchange makes a finest map that nobody reads."""

    def batch(self, step: int, rank: int, ranks: int) -> PartBatch:
        """This process's crops of a step."""
        return part_batch(self.setup, self.training, share(step, self.batch_size, rank, ranks), self.config.seed)

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam, without weight decay on offsets."""
        return adam(self.module, self.config.rate or 1e-4)

    def schedule(self, optimiser: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """A tenth of the rate after the milestones."""
        return milestones(optimiser, len(self.training) / self.batch_size)

    def validate(self) -> dict[str, float]:
        """Errors on held-out pictures from the mean start: loss, 3D (mm), 2D (% of the crop's side), root (degrees)."""
        sums: dict[str, list[float]] = {}
        count = 0
        for batch in self._held_out():
            count += len(batch.names)
            spec, target = self.setup.spec, batch.target
            vector = self.module.net(batch.image, batch.start)[1][-1]
            terms = self.module.terms(vector, target)
            answer = decode(vector, spec)
            points, projected = posed(self.module.layer, answer, spec)
            scores = {"loss": float(sum(term.value for term in terms.values()))}
            scores |= keypoint_errors(spec, points, projected, target)
            known = target.pose_weight[:, 0] > 0 if target.pose_weight is not None else torch.zeros(0, dtype=torch.bool)
            scores["root_deg"] = _mean(angles_deg(answer.pose[:, 0], target.pose[:, 0])[known])
            for name, value in scores.items():
                sums.setdefault(name, []).extend([value] * (len(batch.names) if np.isfinite(value) else 0))
        return {name: float(np.mean(values)) for name, values in sums.items() if values} | {"n": count}

    def sheet(self) -> UInt8[Array, "h w 3"] | None:
        """Held-out crops with labelled and predicted keypoints."""
        batch = next(iter(self._held_out()), None)
        if batch is None:
            return None
        answer = decode(self.module.net(batch.image, batch.start)[1][-1], self.setup.spec)
        projected = posed(self.module.layer, answer, self.setup.spec)[1].cpu().numpy()
        truth = torch.cat([batch.target.projected, batch.target.visible[..., None]], -1).cpu().numpy()
        images = batch.image.cpu().numpy()
        return tile([draw_keypoints(images[k], truth[k], projected[k]) for k in range(min(_SHOWN, len(images)))])

    def export(self, folder: Path) -> None:
        """Write ``{part}.pt``."""
        part, trunk = self.setup.spec.name, self.config.trunk
        provenance = {"recipe": "paper", "stage": part, "samples": str(len(self.training)), "data": _told(self.config)}
        save_paper_part(folder / f"{part}.pt", self.module.net, PaperPartConfig(part, str(trunk)), provenance)

    def _held_out(self) -> Iterator[PartBatch]:
        device = next(self.module.parameters()).device
        for k in range(0, len(self.held_out), _VALIDATION_BATCH):
            try:
                batch = fixed_batch(self.plain, self.held_out[k : k + _VALIDATION_BATCH])
            except InputError:  # not one of them is usable
                continue
            yield to_device(batch, device)


def part_task(config: TrainConfig) -> tuple[PartTask, int]:
    """The task of a stage ``body``, ``hand`` or ``face`` of the paper's recipe, and its number of steps.

    A network that does not start from ``config.weights`` starts at the mean of the training labels, as the paper's does
    at the mean of its data, and at random weights or those of ``config.trunk_weights``.

    Raises:
        InputError: data, weights or names that do not fit.
    """
    part = config.stage
    net, trunk = _network(config)
    num_betas, num_expression = net.spec.model_size
    model = load_body_model(config.body_model, num_betas=num_betas, num_expression=num_expression)
    training, held_out = read_parts(config, [part])[part]
    augmentation = AUGMENTATIONS[part] if config.augment else NO_AUGMENTATION
    mean = net.regressor.mean.numpy().astype(float)
    setup = PartSetup(net.spec, PAPER_PARTS[part], model, augmentation, mean, noise=config.augment)
    if config.weights is None:
        setup = replace(setup, mean=mean_vector(setup, training))
        net.regressor.mean.copy_(torch.from_numpy(setup.mean))
    config = replace(config, trunk=trunk)
    task = PartTask(config, setup, PartModule(net, BodyLayer(model)), (training, held_out))
    return task, config.steps or epochs_to_steps(config, len(training))


def _network(config: TrainConfig) -> tuple[PartNet, str]:
    """The network to train, and the name of its trunk."""
    torch.manual_seed(config.seed)
    if config.weights is not None and config.trunk_weights is not None:
        raise InputError("--trunk-weights and --weights", "one of the two: where to start from")
    if config.weights is not None:
        net, known, _ = load_paper_part(find_weights(config.weights, config.stage), config.stage)
        if config.trunk not in (None, known.trunk):
            raise InputError(f"--trunk {config.trunk} with weights of {known.trunk}", "one of the two")
        return net, known.trunk
    net = build_paper_part(config.stage, config.trunk)
    if config.trunk_weights is not None and isinstance(net.trunk, ConvTrunk):
        load_trunk_weights(net.trunk, read_trunk_file(config.trunk_weights), headless=True)
    return net, config.trunk or PAPER_TRUNKS[config.stage]


def mean_vector(setup: PartSetup, training: Mixture) -> Float[Array, "size"]:
    """The mean parameter vector of labelled samples, unvaried; what no sample tells stays as it is.

    The root keeps the network's own start (facing the camera): an average of orientations has no meaning.
    """
    plain = replace(setup, noise=False, augmentation=NO_AUGMENTATION)
    sums, counts = np.zeros(len(setup.mean)), np.zeros(len(setup.mean))
    for number in range(min(_MEANS_FROM, len(training))):
        try:
            target = plain_target(plain, training[number])
        except InputError:
            continue
        vector, known = _labelled_vector(setup, target)
        sums += np.where(known, vector, 0.0)
        counts += known
    return np.where(counts > 0, sums / np.maximum(counts, 1), setup.mean)


def _labelled_vector(setup: PartSetup, target: dict[str, Array]) -> tuple[Float[Array, "size"], Bool[Array, "size"]]:
    """A sample's labels as a parameter vector, and which entries are known; the root's never are."""
    spec, slots = setup.spec, list(setup.spec.pose_slots)
    turns = np.repeat(target["pose_weight"][slots] > 0, 6) & (np.arange(6 * len(slots)) >= 6)
    camera = _labelled_camera(setup, target)
    expression = target["expression"][: spec.num_expression]
    raw_camera = (
        np.zeros(3) if camera is None else np.array([np.log(np.expm1(np.clip(camera[0], 1e-3, 30.0))), *camera[1:]])
    )
    vector = np.concatenate([matrix_to_sixd(target["pose"][slots]).ravel(), target["betas"], expression, raw_camera])
    betas_known = np.full(len(target["betas"]), target["betas_weight"] > 0)
    expression_known = np.full(len(expression), target["expression_weight"] > 0)
    return vector, np.concatenate([turns, betas_known, expression_known, np.full(3, camera is not None)])


def _labelled_camera(setup: PartSetup, target: dict[str, Array]) -> Float[Array, "3"] | None:
    """The weak-perspective camera of a sample's labels; the 3D points are labelled, or else posed if the pose is."""
    spec, points = setup.spec, target["points"]
    labelled, root = target["points_weight"] > 0, None
    if spec.root_joint in spec.keypoints:
        column = spec.keypoints.index(spec.root_joint)
        root = points[column] if labelled[column] else None
    if root is None:
        if not target["pose_weight"][list(spec.pose_slots)].all():
            return None
        rows = (target[name][None] for name in ("pose", "betas", "expression"))
        points = spec.from_root(keypoints(setup.model, *rows))[0][list(spec.keypoints)]
        labelled, root = np.ones(len(points), bool), np.zeros(3)
    valid = labelled & (target["visible"] > 0)
    if valid.sum() < _FEWEST_FOR_CAMERA:
        return None
    camera = fit_weak(points[valid] - root, target["projected"][valid])
    origin = setup.model.joint_template[0, :2] if spec.from_origin else np.zeros(2)
    return np.concatenate([camera[:1], camera[1:] - origin])


def fixed_batch(setup: PartSetup, samples: Sequence[Sample]) -> PartBatch:
    """A batch of just these samples; broken ones are left out."""
    return part_batch(setup, Listed(samples), range(len(samples)), 0)


def share(step: int, batch: int, rank: int, ranks: int) -> range:
    """Numbers of the draws of one process in the global batch of a step.

    Raises:
        InputError: the batch cannot be shared evenly.
    """
    if batch % ranks:
        raise InputError(f"a batch of {batch} for {ranks} processes", "a multiple of the processes")
    mine = batch // ranks
    first = step * batch + rank * mine
    return range(first, first + mine)


def epochs_to_steps(config: TrainConfig, samples: int) -> int:
    """Steps that make the configuration's epochs."""
    return max(1, round((config.epochs or 1) * samples / (config.batch or 1)))


def adam(module: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Adam as in the released training: weight decay 1e-4, none on offsets; frozen parameters are left out."""
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    offsets = [p for name, p in trained if name.endswith("bias")]
    others = [p for name, p in trained if not name.endswith("bias")]
    groups = [{"params": others, "weight_decay": 1e-4}, {"params": offsets, "weight_decay": 0.0}]
    return torch.optim.Adam([group for group in groups if group["params"]], rate, betas=(0.9, 0.999), eps=1e-8)


def milestones(optimiser: torch.optim.Optimizer, steps_an_epoch: float) -> torch.optim.lr_scheduler.LRScheduler:
    """A tenth of the rate after each of the milestones."""
    steps = [max(1, round(epoch * steps_an_epoch)) for epoch in MILESTONES]
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, steps, gamma=0.1)


def keypoint_errors(
    spec: PartSpec, points: Float[Tensor, "n k 3"], projected: Float[Tensor, "n k 2"], target: PartTarget
) -> dict[str, float]:
    """Mean 3D error (mm, from the hips' middle in bodies, else from the root) and 2D error (% of the crop's side)."""
    columns = {k: c for c, k in enumerate(spec.keypoints)}
    roots = [columns[k] for k in ((1, 2) if spec.name == "body" else (spec.root_joint,))]
    chosen = [columns[k] for k in range(22)] if spec.name == "body" else list(range(len(columns)))

    def centred(p: Tensor) -> Tensor:
        return (p - p[:, roots].mean(1, keepdim=True))[:, chosen]

    known = target.points_weight if target.points_weight is not None else torch.ones_like(target.visible)
    valid = (known[:, chosen] > 0) & (known[:, roots] > 0).all(1, keepdim=True)
    error = 1000.0 * (centred(points) - centred(target.points)).norm(dim=-1)
    flat = 50.0 * (projected - target.projected).norm(dim=-1)[:, chosen]
    return {"mpjpe_mm": _mean(error[valid]), "error_2d_percent": _mean(flat[target.visible[:, chosen] > 0])}


def angles_deg(a: Float[Tensor, "n 3 3"], b: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n"]:
    """Angles between rotations, degrees."""
    cosine = ((a.mT @ b).diagonal(dim1=-2, dim2=-1).sum(-1) - 1.0) / 2.0
    return torch.rad2deg(torch.arccos(cosine.clamp(-1.0, 1.0)))


def _mean(values: Tensor) -> float:
    return float(values.mean()) if values.numel() else float("nan")


def _told(config: TrainConfig) -> str:
    return ", ".join(one.name for one in config.data)
