"""The whole-body network in torch: what the runtime's pipeline computes without refinement, with gradients throughout.

    pictures ──► body crop ──► body network ──► joints in the picture ──► crops of hands and face   (attention)
                                    │                                             │
                                    │ conditions                crops from the ORIGINAL pictures
                                    ▼                                             ▼
                                  merge ◄── wrist, fingers; head, jaw, expression ── hand and face networks

Losses of the hand and face networks reach the body network by two ways: through the conditions (start vectors), and
through the attention (where the crops lie; paper, section 3.2). Choices between looks, and of the parts that are too
little seen to be merged, have no gradient. Twin of :mod:`openexpose.predict.pipeline`; a test holds both equal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from openexpose.body.keypoints import INDEX
from openexpose.image.crop import SAMPLINGS
from openexpose.nets.attention import Crops, Pictures, attention_crop, crops_from_boxes, sample_crops, trunk_crop
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.decode import Decoded, decode, project_weak
from openexpose.nets.merge import PinholeCamera, condition, merge_part, place_body
from openexpose.nets.part import PartNet
from openexpose.nets.trunk import TrunkOutput
from openexpose.predict.bundle import PartConfig
from openexpose.predict.landmarks import ANCHORS, agreement, cut_off
from openexpose.predict.looks import DOUBTFUL, SURELY_BETTER, TURNED_START, WIDER_STARTS

ATTENDED: dict[str, str] = {"right_hand": "hand", "left_hand": "hand", "face": "face"}
"""What the body's attention looks at, and the network that answers: one hand network serves both hands."""


@dataclass(frozen=True)
class PartAnswer:
    """A part network's answer: where it looked, what the trunk saw, and its parameters, in the crop's frame."""

    crops: Crops
    seen: TrunkOutput
    stages: list[Float[Tensor, "n size"]]
    """Parameter vectors of all stages."""
    parameters: Decoded
    """The last stage, decoded."""
    used: Bool[Tensor, "n"]
    """Whether the part was seen well enough to be merged."""


@dataclass(frozen=True)
class WholeBody:
    """People in the full camera's frame."""

    pose: Float[Tensor, "n 55 3 3"]
    betas: Float[Tensor, "n b"]
    expression: Float[Tensor, "n e"]
    transl: Float[Tensor, "n 3"]
    """Metres; vertices are LBS(pose, betas, expression) + transl."""
    own_pose: Float[Tensor, "n 55 3 3"]
    """The body network's own pose, before the merge."""
    answers: dict[str, PartAnswer]
    """By part: ``body``, and with attention ``right_hand``, ``left_hand`` (as a right one, mirrored), ``face``."""
    alone: dict[str, TrunkOutput]
    """What the hand and face trunks saw in pictures of hands and faces alone."""


class WholeBodyNet(nn.Module):
    """Body, hand and face networks, joined by attention, conditions and merge.

    Args:
        parts: the networks ``body``, ``hand`` and ``face``.
        configs: how each is run (a bundle's ``parts``).
        layer: the body model, shared with the networks' residual feedback.
    """

    def __init__(self, parts: dict[str, PartNet], configs: dict[str, PartConfig], layer: BodyLayer) -> None:
        super().__init__()
        self.parts, self.configs, self.layer = nn.ModuleDict(parts), configs, layer
        self.detach_crops = False
        """Pass no gradients from the crops of hands and face to the body network."""

    def forward(
        self,
        pictures: Pictures,
        boxes: Float[Tensor, "n 4"] | Crops,
        camera: PinholeCamera,
        attention: bool = True,
        alone: Mapping[str, Float[Tensor, "k 3 s s"]] | None = None,
        gate: Callable[[str, Crops], Bool[Tensor, "n"]] | None = None,
    ) -> WholeBody:
        """People from pictures and their boxes.

        Args:
            pictures: original pictures, RGB 0..1: one for each person, or one for all.
            boxes: box (x1, y1, x2, y2) of each person, pixels; or the body crops themselves.
            camera: pinhole camera of each person's picture, or one for all.
            attention: False: the body network alone (first row of the paper's ablation).
            alone: crops of hands and faces alone, by network: their trunks see them together with the attention's crops
                (in training, batch statistics are those of all).
            gate: tells of a part's crops which are good enough to be used (in training: near the true ones).
        """
        alone = alone or {}
        found = self._find(pictures, boxes) if isinstance(boxes, Tensor) else self._look(pictures, "body", boxes)
        body = self._answer("body", *found)
        pose, transl = place_body(self.layer, self._net("body").spec, body.parameters, body.crops, camera)
        # Conditions are in the picture's frame, as the pose is; the weak camera projects in the crop's.
        estimate = replace(body.parameters, pose=pose, sixd=body.parameters.sixd if camera.weak else None)
        whole = WholeBody(pose, estimate.betas, estimate.expression, transl, pose, {"body": body}, {})
        seen_as = body.parameters if camera.weak else estimate
        regions = self.attend(seen_as, body.crops, transl, camera) if attention else {}
        for network in ("hand", "face"):
            attended = {part: regions[part][0] for part in regions if ATTENDED[part] == network}
            looks, seen_alone = self._look_together(pictures, network, attended, alone.get(network))
            if seen_alone is not None:
                whole.alone[network] = seen_alone
            for part, look in looks.items():
                answer = self._answer(network, *look, estimate, camera)
                near = self._near(part, answer, *regions[part])
                if gate is not None:
                    near = near & gate(part, regions[part][0])
                whole = self.merge(whole, part, replace(answer, used=answer.used & near), camera)
        return whole

    def attend(
        self, body: Decoded, body_crops: Crops, transl: Float[Tensor, "n 3"], camera: PinholeCamera
    ) -> dict[str, tuple[Crops, Float[Tensor, "n 2"]]]:
        """Crops of hands and face around the projected joints of the body's estimate (paper, section 3.2).

        With each crop the place of the part's anchor (wrist or nose tip), pixels.
        """
        points = self.layer.keypoints(body.pose, body.betas, body.expression)
        if camera.weak:
            projected = body_crops.to_image(project_weak(self._net("body").spec.from_root(points), body.camera))
        else:
            projected = camera.project(points + transl[:, None])
        crops = {}
        for part, network in ATTENDED.items():
            config, angle = self.configs[network], body_crops.angle_rad if camera.weak else None
            region = attention_crop(projected, part, config.crop_scale, config.upright, angle)
            region = region.detach() if self.detach_crops else region
            crops[part] = region, projected[:, INDEX[ANCHORS[part][1]]]
        return crops

    def _near(self, part: str, answer: PartAnswer, crops: Crops, anchor: Float[Tensor, "n 2"]) -> Bool[Tensor, "n"]:
        """Whether the trunk sees the part where the body has it."""
        if not answer.seen.landmarks.shape[1]:
            return torch.ones_like(answer.used)
        seen = answer.crops.to_image(answer.seen.landmarks[:, [ANCHORS[part][0]], :2])[:, 0]
        return (seen - anchor).norm(dim=-1) <= self.configs[ATTENDED[part]].max_shift * crops.side_px

    def look_and_answer(
        self,
        pictures: Pictures,
        network: str,
        crops: Crops,
        body: Decoded | None = None,
        camera: PinholeCamera | None = None,
    ) -> PartAnswer:
        """Run a network in crops, from the body's estimate or, without one, from its own mean."""
        return self._answer(network, *self._look(pictures, network, crops), body, camera)

    def _answer(
        self,
        network: str,
        crops: Crops,
        seen: TrunkOutput,
        body: Decoded | None = None,
        camera: PinholeCamera | None = None,
    ) -> PartAnswer:
        """What a network's regressor says of what its trunk saw."""
        net, start = self._net(network), None
        if body is not None and camera is not None and self.configs[network].conditioned:
            start = condition(net.spec, body, net.regressor.mean, crops, camera)
        stages = net.regressor(seen, start)
        used = seen.certainty >= self.configs[network].min_presence
        return PartAnswer(crops, seen, stages, decode(stages[-1], net.spec), used)

    def merge(self, whole: WholeBody, part: str, answer: PartAnswer, camera: PinholeCamera) -> WholeBody:
        """Put a part's answer into the body where the part was seen (paper, eq. 5)."""
        spec = self._net(ATTENDED[part]).spec
        pose = merge_part(whole.pose, spec, answer.parameters, answer.crops, camera, answer.used)
        expression = whole.expression
        if spec.num_expression:
            theirs = answer.parameters.expression[:, : expression.shape[1]]
            expression = torch.where(answer.used[:, None], theirs, expression)
        return replace(whole, pose=pose, expression=expression, answers=whole.answers | {part: answer})

    def _find(self, pictures: Pictures, boxes: Float[Tensor, "n 4"]) -> tuple[Crops, TrunkOutput]:
        """Look at people from the usual crop and from wider ones; follow the look that agrees best with the box. Who
        still cannot be made out is looked at from turned crops, too."""
        config = self.configs["body"]
        crops = crops_from_boxes(boxes, config.crop_scale)
        seen = self._trunk(pictures, "body", crops)
        if not config.wider:
            return self._follow(pictures, "body", crops, seen)
        best = 1.02 * _agreement(crops, seen, boxes)
        height, width = pictures[0].shape[-2:]
        cut = cut_off(boxes.detach().cpu().numpy(), width, height)
        for factor, only_cut in WIDER_STARTS:
            if only_cut and not cut.any():
                continue
            wider = crops_from_boxes(boxes, factor * config.crop_scale)
            other = self._trunk(pictures, "body", wider)
            score = _agreement(wider, other, boxes)
            use = (score > best) & (cut if only_cut else True)
            chosen = torch.as_tensor(use, device=boxes.device)
            crops, seen = crops.where(chosen, wider), _choose(seen, other, chosen)
            best = np.where(use, score, best)
        return self._turned(pictures, boxes, *self._follow(pictures, "body", crops, seen))

    def _turned(
        self, pictures: Pictures, boxes: Float[Tensor, "n 4"], crops: Crops, seen: TrunkOutput
    ) -> tuple[Crops, TrunkOutput]:
        """What was seen of bodies, or what is seen in turned crops where that agrees far better with the boxes."""
        score = _agreement(crops, seen, boxes)
        if not (score < DOUBTFUL).any():
            return crops, seen
        wide = crops_from_boxes(boxes, TURNED_START * self.configs["body"].crop_scale)
        turned, best = (crops, seen), np.full(len(score), -1.0)
        for quarters in (1, 2, 3):
            there = replace(wide, angle_rad=wide.angle_rad + quarters * np.pi / 2)
            other = self._trunk(pictures, "body", there)
            found = _agreement(there, other, boxes)
            use = torch.as_tensor(found > best, device=boxes.device)
            turned, best = (turned[0].where(use, there), _choose(turned[1], other, use)), np.maximum(best, found)
        turned = self._follow(pictures, "body", *turned)
        better = (score < DOUBTFUL) & (_agreement(*turned, boxes) > score + SURELY_BETTER)
        use = torch.as_tensor(better, device=boxes.device)
        return crops.where(use, turned[0]), _choose(seen, turned[1], use)

    def _look_together(
        self, pictures: Pictures, network: str, crops: dict[str, Crops], alone: Tensor | None
    ) -> tuple[dict[str, tuple[Crops, TrunkOutput]], TrunkOutput | None]:
        """Look at the crops of several parts and at pictures of the part alone; in one batch if one look is all."""
        net, config = self._net(network), self.configs[network]
        if config.looks > 1 or not crops:
            seen_alone = None if alone is None else net.see(alone)
            return {part: self._look(pictures, network, region) for part, region in crops.items()}, seen_alone
        images = [self._images(pictures, network, region) for region in crops.values()]
        together = net.see(torch.cat(images + ([] if alone is None else [alone])))
        ends = np.cumsum([0, *(len(image) for image in images)])
        looks = {
            part: (region, _rows(together, slice(int(ends[k]), int(ends[k + 1]))))
            for k, (part, region) in enumerate(crops.items())
        }
        return looks, None if alone is None else _rows(together, slice(int(ends[-1]), None))

    def _look(self, pictures: Pictures, network: str, crops: Crops) -> tuple[Crops, TrunkOutput]:
        """Look at crops, then follow up."""
        return self._follow(pictures, network, crops, self._trunk(pictures, network, crops))

    def _follow(self, pictures: Pictures, network: str, crops: Crops, seen: TrunkOutput) -> tuple[Crops, TrunkOutput]:
        """Look again at the crops that the trunk's own landmarks ask for, unless the part is then hardly there."""
        for _ in range(self.configs[network].looks - 1):
            own = trunk_crop(network, crops.to_image(seen.landmarks[..., :2]), crops.mirrored)
            sane = (own.side_px > 0.1 * crops.side_px) & (own.side_px < 4.0 * crops.side_px) & (own.side_px > 4.0)
            sane &= seen.certainty > 0.3
            if not sane.any():
                break
            own = crops.where(sane, own)
            again = self._trunk(pictures, network, own)
            use = sane & (again.certainty > seen.certainty - 0.3)
            crops, seen = crops.where(use, own), _choose(seen, again, use)
        return crops, seen

    def _net(self, network: str) -> PartNet:
        return cast(PartNet, self.parts[network])

    def _images(self, pictures: Pictures, network: str, crops: Crops) -> Float[Tensor, "n 3 s s"]:
        config = self.configs[network]
        return sample_crops(pictures, crops, config.size, SAMPLINGS[config.sampling])

    def _trunk(self, pictures: Pictures, network: str, crops: Crops) -> TrunkOutput:
        return self._net(network).see(self._images(pictures, network, crops))


@torch.no_grad()
def _agreement(crops: Crops, seen: TrunkOutput, boxes: Float[Tensor, "n 4"]) -> Float[np.ndarray, "n"]:
    """:func:`openexpose.predict.landmarks.agreement` of a look, times the presence: it chooses and has no gradient."""
    landmarks = crops.to_image(seen.landmarks[..., :2])
    arrays = (tensor.detach().cpu().double().numpy() for tensor in (landmarks, seen.visibility, boxes))
    return seen.presence.detach().cpu().double().numpy() * agreement(*arrays)


def _rows(seen: TrunkOutput, rows: slice) -> TrunkOutput:
    """What was seen in some of the crops."""
    chosen: dict[str, Any] = {name: None if value is None else value[rows] for name, value in vars(seen).items()}
    return TrunkOutput(**chosen)


def _choose(first: TrunkOutput, second: TrunkOutput, use: Bool[Tensor, "n"]) -> TrunkOutput:
    """Rows of ``second`` where ``use`` is true, else of ``first``."""
    rows: dict[str, Any] = {}
    for name, mine in vars(first).items():
        theirs = getattr(second, name)
        rows[name] = None if mine is None else torch.where(use.view(-1, *[1] * (mine.ndim - 1)), theirs, mine)
    return TrunkOutput(**rows)
