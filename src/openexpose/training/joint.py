"""Joint training of body, hands and face, end to end through the attention (paper, section 3.3), of both recipes.

Each step takes pictures of bodies, of which hands and faces are cut where the body network has them, and pictures of
hands and of faces alone. The losses of the hand and face networks reach the body network through their start vectors
and through the places of their crops.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from openexpose.body.model import load_body_model
from openexpose.data.augment import AUGMENTATIONS, NO_AUGMENTATION
from openexpose.data.sample import Sample
from openexpose.errors import InputError
from openexpose.losses import (
    PAPER_WEIGHTS,
    Term,
    paper_terms,
    part_crop_terms,
)
from openexpose.nets.attention import Crops, sample_crops
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.branch import TunedTrunk
from openexpose.nets.build import build_part
from openexpose.nets.checkpoint import load_regressor, read_config, save_regressor
from openexpose.nets.decode import Decoded
from openexpose.nets.merge import PinholeCamera
from openexpose.nets.paper import PaperPartConfig, build_paper_whole, load_paper_part, save_paper_part
from openexpose.nets.part import PartNet, trunks_only
from openexpose.nets.resnet import ConvTrunk
from openexpose.nets.whole import ATTENDED, WholeBody, WholeBodyNet
from openexpose.predict.bundle import BundleConfig, default_bundle, packaged_trunk
from openexpose.predict.parts import BODY, RECIPES
from openexpose.training.examples import BodyBatch, PartBatch, PartSetup, body_batch, part_batch
from openexpose.training.mixture import Listed, Mixture
from openexpose.training.part_task import (
    PartModule,
    adam,
    epochs_to_steps,
    keypoint_errors,
    milestones,
    share,
)
from openexpose.training.picture import draw_keypoints, tile
from openexpose.training.prefetch import to_device
from openexpose.training.reading import read_parts
from openexpose.training.recipes import TrainConfig, find_weights
from openexpose.training.truth import fine_errors, merged_target, near_the_truth

Array = np.ndarray

_MERGED = replace(
    PAPER_WEIGHTS["body"], projected_body=0.0, points3d_body=0.0, global_orient=0.0, betas=0.0, betas_prior=0.0
)
"""Terms of the merged body: of what the hand and face networks say. The body network has all terms of its own."""
_VALIDATION_BATCH = 16
_SHOWN, _SHOWN_PX = 8, 256
_CROP_NAMES = {"left_hand": "left_hand", "right_hand": "right_hand", "face": "head"}


@dataclass(frozen=True)
class JointBatch:
    """Pictures of bodies, and crops of hands and faces alone."""

    bodies: BodyBatch
    alone: dict[str, PartBatch]
    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class JointModule(nn.Module):
    """The whole-body network with its losses.

    Args:
        net: the network.
        layers: body layers for pictures of hands and faces alone, by network.
        weak: the camera is the paper's weak-perspective one.
        freeze_body: the body network is left as it is.
    """

    def __init__(self, net: WholeBodyNet, layers: dict[str, BodyLayer], weak: bool, freeze_body: bool) -> None:
        super().__init__()
        self.net, self.weak, self.freeze_body = net, weak, freeze_body
        alone = {name: PartModule(self._part(name), layer) for name, layer in layers.items()}
        self.alone = nn.ModuleDict(alone)
        if freeze_body:
            self._part("body").requires_grad_(False)

    def _part(self, name: str) -> PartNet:
        part = self.net.parts[name]
        if not isinstance(part, PartNet):
            raise TypeError(name)
        return part

    def train(self, mode: bool = True) -> "JointModule":
        """Switch between training and evaluation; a frozen body network stays in evaluation."""
        super().train(mode)
        if self.freeze_body:
            self._part("body").eval()
        return self

    def look(self, batch: JointBatch, *, gated: bool) -> tuple[WholeBody, Crops, PinholeCamera]:
        """The network's answer, the body crops and the camera.

        Args:
            gated: parts whose crops miss the true ones are not used, as in training; else as in prediction.
        """
        bodies = batch.bodies
        pictures = [
            (picture.float() / 255.0 * gains[:, None, None]).clamp(0.0, 1.0)
            for picture, gains in zip(bodies.pictures, bodies.gains, strict=True)
        ]
        crops = Crops(bodies.centre_px, bodies.side_px, bodies.angle_rad)
        camera = PinholeCamera(bodies.focal_px, bodies.principal_px, self.weak)
        images = {name: part.image for name, part in batch.alone.items()}
        gate = near_the_truth(self.net, bodies.target, crops) if gated else None
        return self.net(pictures, crops, camera, alone=images, gate=gate), crops, camera

    def forward(self, batch: JointBatch) -> dict[str, Term]:
        """All terms: ``body_*`` of the body network's own answer, ``whole_*`` of the merged one, ``crop_*`` in the
        crops of hands and head, ``hand_*`` and ``face_*`` of pictures of these alone (paper, eq. 6-12)."""
        with trunks_only([self._part(name) for name in self.net.parts], batch.bodies.side_px.device):
            return self.terms(batch, *self.look(batch, gated=True))

    def terms(self, batch: JointBatch, whole: WholeBody, crops: Crops, camera: PinholeCamera) -> dict[str, Term]:
        """The terms of an answer of :meth:`look`."""
        target, spec = batch.bodies.target, self._part("body").spec
        own = self.answer(whole, whole.own_pose)
        merged = self.answer(whole, whole.pose)
        terms: dict[str, Term] = {}
        if not self.freeze_body:
            points, projected = self.posed(own, whole, crops, camera)
            terms |= _named("body", paper_terms(own, points, projected, target, spec, PAPER_WEIGHTS["body"]))
        points, projected = self.posed(merged, whole, crops, camera)
        said = merged_target(target, {part: whole.answers[part].used for part in ATTENDED})
        terms |= _named("whole", paper_terms(merged, points, projected, said, spec, _MERGED))
        to_part = {_CROP_NAMES[p]: whole.answers[p].crops.T_image_crop.detach() for p in _CROP_NAMES}
        use = {_CROP_NAMES[p]: whole.answers[p].used for p in _CROP_NAMES}
        weights = PAPER_WEIGHTS["body"]
        terms |= part_crop_terms(projected, target, crops.T_image_crop, to_part, use, weights)
        for name, part in batch.alone.items():
            module = self.alone[name]
            if isinstance(module, PartModule):
                vector = module.net.regressor(whole.alone[name], part.start)[-1]
                terms |= _named(name, module.terms(vector, part.target))
        return terms

    def answer(self, whole: WholeBody, pose: Float[Tensor, "n 55 3 3"]) -> Decoded:
        """A pose with the other parameters: the merged expression with the merged pose, else the body network's own."""
        body = whole.answers["body"].parameters
        expression = whole.expression if pose is whole.pose else body.expression
        return Decoded(pose.float(), body.betas.float(), expression.float(), body.camera.float())

    def posed(
        self, answer: Decoded, whole: WholeBody, crops: Crops, camera: PinholeCamera
    ) -> tuple[Float[Tensor, "n 144 3"], Float[Tensor, "n 144 2"]]:
        """Keypoints: metres in the picture's axes, and in coordinates of the body crops."""
        points = self.net.layer.keypoints(answer.pose, answer.betas, answer.expression)
        if not self.weak:
            return points, crops.from_image(camera.project(points + whole.transl[:, None]))
        c, s = torch.cos(crops.angle_rad), torch.sin(crops.angle_rad)
        turn = torch.stack([c, s, -s, c], -1).unflatten(-1, (2, 2))  # picture's axes to the crop's
        root = points[:, :1, :2] if self._part("body").spec.from_origin else torch.zeros_like(points[:, :1, :2])
        turned = (points[..., :2] - points[:, :1, :2]) @ turn.mT + root
        return points, answer.camera[:, None, :1] * (turned + answer.camera[:, None, 1:])


class JointTask:
    """The last stage: everything together; see :class:`openexpose.training.engine.Task`."""

    def __init__(
        self,
        config: TrainConfig,
        setups: dict[str, PartSetup],
        module: JointModule,
        mixtures: dict[str, Mixture],
        held_out: list[Sample],
    ) -> None:
        self.config, self.setups, self.module, self.mixtures = config, setups, module, mixtures
        self.held_out = held_out

    def batch(self, step: int, rank: int, ranks: int) -> JointBatch:
        """This process's pictures of a step."""
        seed, count = self.config.seed, int(self.config.part_batch or 0)
        numbers = share(step, int(self.config.batch or 1), rank, ranks)
        bodies = body_batch(self.setups["body"], self.mixtures["body"], numbers, seed)
        alone = {
            name: part_batch(self.setups[name], self.mixtures[name], share(step, count, rank, ranks), seed)
            for name in self.mixtures
            if name != "body"
        }
        names = bodies.names + [name for part in alone.values() for name in part.names]
        problems = bodies.problems + [problem for part in alone.values() for problem in part.problems]
        return JointBatch(bodies, alone, names, problems)

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam, without weight decay on offsets."""
        return adam(self.module, self.config.rate or 1e-4)

    def schedule(self, optimiser: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """A tenth of the rate after the milestones."""
        return milestones(optimiser, len(self.mixtures["body"]) / int(self.config.batch or 1))

    def validate(self) -> dict[str, float]:
        """Errors on held-out people, predicted without any knowledge of the truth: the loss (without the terms in the
        crops' coordinates, which mean nothing in crops that lie elsewhere); bodies (mm from the hips,
        % of the crop in 2D); hands (mm from the wrist) and faces (mm from the head joint), each by the body network
        alone and after the merge; and the share of attention's crops that lie near the true ones."""
        sums: dict[str, list[float]] = {}
        count = 0
        for batch in self._held_out():
            count += len(batch.bodies.names)
            whole, crops, camera = self.module.look(batch, gated=False)
            terms = self.module.terms(batch, whole, crops, camera)
            counted = [term.value for name, term in terms.items() if not name.startswith("crop_")]
            scores = {"loss": float(sum(counted))}
            for name, pose in (("alone", whole.own_pose), ("merged", whole.pose)):
                points, projected = self.module.posed(self.module.answer(whole, pose), whole, crops, camera)
                if name == "alone":
                    scores |= keypoint_errors(self.setups["body"].spec, points, projected, batch.bodies.target)
                scores |= {f"{part}_{name}_mm": e for part, e in fine_errors(points, batch.bodies.target).items()}
            gate = near_the_truth(self.module.net, batch.bodies.target, crops)
            near = torch.stack([gate(part, whole.answers[part].crops) for part in ATTENDED])
            scores["crops_near"] = float(near.float().mean())
            for name, value in scores.items():
                sums.setdefault(name, []).extend([value] * (len(batch.bodies.names) if np.isfinite(value) else 0))
        return {name: float(np.mean(values)) for name, values in sums.items() if values} | {"n": count}

    def sheet(self) -> UInt8[Array, "h w 3"] | None:
        """Held-out body crops with labelled keypoints and those of the merged prediction."""
        batch = next(iter(self._held_out()), None)
        if batch is None:
            return None
        whole, crops, camera = self.module.look(batch, gated=False)
        projected = self.module.posed(self.module.answer(whole, whole.pose), whole, crops, camera)[1].cpu().numpy()
        target, pictures = batch.bodies.target, [p.float() / 255.0 for p in batch.bodies.pictures]
        truth = torch.cat([target.projected, target.visible[..., None]], -1).cpu().numpy()
        images = sample_crops(pictures, crops, _SHOWN_PX).cpu().numpy()
        return tile([draw_keypoints(images[k], truth[k], projected[k]) for k in range(min(_SHOWN, len(images)))])

    def export(self, folder: Path) -> None:
        """Write ``body.pt``, ``hand.pt`` and ``face.pt``."""
        data = ", ".join(one.name for one in self.config.data)
        told = {"recipe": self.config.recipe, "stage": "joint", "data": data}
        for name in RECIPES[self.config.recipe]:
            source, net = find_weights(Path(self.config.weights or ""), name), self.module._part(name)
            if self.config.recipe == "paper":
                _, known, before = load_paper_part(source, name)
                save_paper_part(folder / f"{name}.pt", net, PaperPartConfig(name, known.trunk), before | told)
            else:
                _, before = load_regressor(source, self.module.net.layer, part=name)
                branch = net.trunk.branch if isinstance(net.trunk, TunedTrunk) else None
                save_regressor(folder / f"{name}.pt", net.regressor, read_config(source), before | told, branch)

    def _held_out(self) -> Iterator[JointBatch]:
        device = next(self.module.parameters()).device
        plain = replace(self.setups["body"], augmentation=NO_AUGMENTATION)
        for k in range(0, len(self.held_out), _VALIDATION_BATCH):
            mixture = Listed(self.held_out[k : k + _VALIDATION_BATCH])
            try:
                bodies = body_batch(plain, mixture, range(len(mixture)), 0)
            except InputError:  # not one of them is usable
                continue
            yield to_device(JointBatch(bodies, {}), device)


def joint_task(config: TrainConfig) -> tuple[JointTask, int]:
    """The task of the joint stage, and its number of steps.

    Raises:
        InputError: data or weights that are missing or do not fit.
    """
    torch.manual_seed(config.seed)
    specs, paper = RECIPES[config.recipe], config.recipe == "paper"
    net = _paper_net(config) if paper else _default_net(config)
    net.detach_crops = config.detach_crops
    read = read_parts(config, list(specs) if config.part_batch else ["body"])
    mixtures, held_out = {name: mixture for name, (mixture, _) in read.items()}, read["body"][1]
    setups = {}
    for name in mixtures:
        spec = specs[name]
        model = load_body_model(config.body_model, num_betas=spec.model_size[0], num_expression=spec.model_size[1])
        part = net.parts[name]
        mean = part.regressor.mean.numpy().astype(float) if isinstance(part, PartNet) else np.zeros(spec.size)
        vary = config.augment and paper
        augmentation = AUGMENTATIONS[name] if vary else NO_AUGMENTATION
        setups[name] = PartSetup(spec, net.configs[name], model, augmentation, mean, noise=config.augment)
    layers = {name: BodyLayer(setup.model) for name, setup in setups.items() if name != "body"}
    module = JointModule(net, layers, weak=paper, freeze_body=config.freeze_body)
    task = JointTask(config, setups, module, mixtures, held_out)
    return task, config.steps or epochs_to_steps(config, len(mixtures["body"]))


def _paper_net(config: TrainConfig) -> WholeBodyNet:
    weights = Path(config.weights or "")
    parts = {name: load_paper_part(find_weights(weights, name), name)[0] for name in RECIPES["paper"]}
    model = load_body_model(config.body_model, num_betas=10, num_expression=10)
    trunk = parts["body"].trunk
    if config.freeze_body and isinstance(trunk, ConvTrunk):
        trunk.freeze_norm()
    return build_paper_whole(parts, model)


def _default_net(config: TrainConfig) -> WholeBodyNet:
    """Packaged frozen trunks with regressors to train."""
    if config.body_model is not None:
        raise InputError("--body-model with the recipe 'default'", "the free body", "Leave it out.")
    weights = Path(config.weights or "")
    layer = BodyLayer(load_body_model(num_betas=BODY.num_betas, num_expression=BODY.num_expression))
    parts = {}
    for name in RECIPES["default"]:
        path = find_weights(weights, name)
        parts[name] = build_part(name, packaged_trunk(name, read_config(path).trunk), path, layer)
        parts[name].trunk.requires_grad_(False)
    return WholeBodyNet(parts, BundleConfig.read(default_bundle()).parts, layer)


def _named(prefix: str, terms: dict[str, Term]) -> dict[str, Term]:
    return {f"{prefix}_{name}": term for name, term in terms.items()}
