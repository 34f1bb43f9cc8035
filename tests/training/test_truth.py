"""What answers of hands and face owe to the truth, and how held-out samples are chosen."""

import numpy as np
import torch

from openexpose.body.keypoints import PARTS
from openexpose.losses import PartTarget
from openexpose.training.reading import VALIDATED, _spread
from openexpose.training.truth import merged_target

HANDS_AND_FACE = (20, 21, 22, *range(25, 55))


def target(count: int) -> PartTarget:
    generator = torch.Generator().manual_seed(0)
    return PartTarget(
        torch.eye(3).expand(count, 55, 3, 3), torch.zeros(count, 10), torch.zeros(count, 10),
        torch.zeros(count, 144, 3), torch.zeros(count, 144, 2), torch.rand(count, 144, generator=generator) + 0.1,
        torch.ones(count, 3), pose_weight=torch.ones(count, 55),
    )  # fmt: skip


def test_merged_parts_owe_what_they_say_and_only_where_they_are_used() -> None:
    truth = target(2)
    used = {name: torch.tensor([True, False]) for name in ("left_hand", "right_hand", "face")}
    said = merged_target(truth, used)
    assert said.pose_weight is not None and said.expression_weight is not None
    assert torch.nonzero(said.pose_weight[0]).flatten().tolist() == list(HANDS_AND_FACE)
    assert not said.pose_weight[1].any() and not said.visible[1].any()
    fine = sorted({*PARTS["left_hand"][1:], *PARTS["right_hand"][1:], *PARTS["face"]})
    assert torch.nonzero(said.visible[0]).flatten().tolist() == fine
    torch.testing.assert_close(said.visible[0, fine], truth.visible[0, fine])
    assert said.expression_weight.tolist() == [1.0, 0.0]


def test_a_part_alone_is_used_alone() -> None:
    used = {name: torch.tensor([name == "left_hand"]) for name in ("left_hand", "right_hand", "face")}
    said = merged_target(target(1), used)
    assert said.pose_weight is not None
    assert torch.nonzero(said.pose_weight[0]).flatten().tolist() == [20, *range(25, 40)]


def test_held_out_samples_come_evenly_from_all_sets() -> None:
    sets = [list(range(10_000)), [], list(range(50)), list(range(1000))]
    chosen = _spread(sets)  # type: ignore[arg-type]
    sizes = VALIDATED // 3
    assert len(chosen) == 50 + 2 * sizes
    assert chosen[:sizes] == np.linspace(0, 9999, sizes).astype(int).tolist()
