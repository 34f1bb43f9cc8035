"""What the truth says of attention: where the crops should lie, which are near enough, and what their answers owe."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from openexpose.body.keypoints import LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.losses import MIN_BOX_OVERLAP, PartTarget, iou_boxes
from openexpose.nets.attention import Crops, attention_crop
from openexpose.nets.whole import ATTENDED, WholeBodyNet
from openexpose.predict.landmarks import UP

FEWEST_SEEN = 8
"""A hand or face of which fewer keypoints are labelled is not looked at in training."""
_SAID = {"left_hand": [20, *range(25, 40)], "right_hand": [21, *range(40, 55)], "face": [22]}
"""Slots of the pose that the networks' answers replace: wrist and fingers, jaw. (The default recipe's head counts with
its 2D points only.)"""


def near_the_truth(net: WholeBodyNet, target: PartTarget, crops: Crops) -> Callable[[str, Crops], Bool[Tensor, "n"]]:
    """Tells which crops of a part overlap the true one by at least ``MIN_BOX_OVERLAP``."""
    true = true_crops(net, target, crops)

    def near(part: str, region: Crops) -> Bool[Tensor, "n"]:
        expected, known = true[part]
        return known & (overlap(region, expected) >= MIN_BOX_OVERLAP)

    return near


def merged_target(target: PartTarget, used: dict[str, Bool[Tensor, "n"]]) -> PartTarget:
    """What the hand and face networks say of the merged body, where they were used: wrists, fingers, jaw, expression
    and 2D points of hands and face. All else has weight 0: the body network's own answer has these terms already."""
    known = torch.ones_like(target.pose[..., 0, 0]) if target.pose_weight is None else target.pose_weight
    pose_weight, visible = torch.zeros_like(known), torch.zeros_like(target.visible)
    for part, slots in _SAID.items():
        use = used[part].to(known.dtype)[:, None]
        pose_weight[:, slots] = known[:, slots] * use
        points = (PARTS["face"] if part == "face" else PARTS[part][1:]).tolist()
        visible[:, points] = target.visible[:, points] * use
    face = used["face"].to(known.dtype)
    expression = face if target.expression_weight is None else target.expression_weight * face
    return replace(target, pose_weight=pose_weight, visible=visible, expression_weight=expression)


def true_crops(net: WholeBodyNet, target: PartTarget, crops: Crops) -> dict[str, tuple[Crops, Bool[Tensor, "n"]]]:
    """The crops that the true keypoints ask for, and where enough of them are labelled to tell."""
    projected, angle = crops.to_image(target.projected), crops.angle_rad
    found = {}
    for part, network in ATTENDED.items():
        config, chosen = net.configs[network], PARTS["head" if part == "face" else part].tolist()
        labelled = target.visible[:, chosen] > 0
        middle = (projected[:, chosen] * labelled[..., None]).sum(1) / labelled.sum(1).clamp_min(1)[:, None]
        points = projected.clone()  # unlabelled ones lie anywhere: put into the middle, they do not widen the crop
        points[:, chosen] = torch.where(labelled[..., None], projected[:, chosen], middle[:, None])
        region = attention_crop(points, part, config.crop_scale, config.upright, None if config.upright else angle)
        known = labelled.sum(1) >= FEWEST_SEEN
        if config.upright:
            known &= (target.visible[:, UP[part].tolist()] > 0).all(1)
        found[part] = region, known
    return found


def overlap(a: Crops, b: Crops) -> Float[Tensor, "n"]:
    """Overlap (IoU) of squares, each pair taken to be turned like the first."""

    def boxes(crops: Crops) -> Float[Tensor, "n 4"]:
        c, s = torch.cos(a.angle_rad), torch.sin(a.angle_rad)
        x, y = crops.centre_px.unbind(-1)
        centre, half = torch.stack([c * x + s * y, c * y - s * x], -1), 0.5 * crops.side_px[:, None]
        return torch.cat([centre - half, centre + half], -1)

    return iou_boxes(boxes(a), boxes(b))


def fine_errors(points: Float[Tensor, "n 144 3"], target: PartTarget) -> dict[str, float]:
    """Mean errors (mm) of hands from their wrists and of the face from the head joint."""
    known = target.points_weight if target.points_weight is not None else torch.ones_like(target.visible)
    parts = {
        "hands": [(int(LEFT_HAND21[0]), LEFT_HAND21[1:]), (int(RIGHT_HAND21[0]), RIGHT_HAND21[1:])],
        "face": [(15, PARTS["face"])],
    }
    errors = {}
    for name, sides in parts.items():
        found = []
        for root, columns in sides:
            chosen = columns.tolist()
            mine, theirs = (p[:, chosen] - p[:, [root]] for p in (points, target.points))
            found.append((mine - theirs).norm(dim=-1)[(known[:, chosen] > 0) & (known[:, [root]] > 0)])
        values = torch.cat(found)
        errors[name] = 1000.0 * float(values.mean()) if values.numel() else float("nan")
    return errors
