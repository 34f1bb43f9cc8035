"""A branch of a trunk: from tensors of its inside (the cut) on, something that is trained on the task.

The trunk itself stays as it is, with landmarks that were learnt from real photos. Of hands and faces the branch is a
copy of the trunk's last stages, of bodies it reads joints off the map; the feature is then [frozen, tuned].
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openexpose.body.keypoints import PARTS
from openexpose.errors import InputError
from openexpose.nets.reader import JointReader
from openexpose.nets.trunk import Graph, OnnxTrunk, TrunkOutput, kept_as, with_last_uses
from openexpose.nets.trunk_file import GOAL, between

CUTS: dict[str, tuple[str, ...]] = {
    "body": ("add_1487",),
    "full": ("add_365",),
    "hand": ("add_325",),
    "face": ("prelu_8",),
}
"""Tensors of the trunks from which the tuned branches go: body [192, 16, 16], hand [112, 14, 14], face [64, 24, 24]; of
the fast bundle's body trunk, ``full``, [88, 16, 16]. No name is there twice: files of kept tensors bear them."""
CHANNELS = {"body": 192, "full": 88}
"""Channels of the maps that are read by a :class:`JointReader`; from the others a copy of the last stages goes."""


def fresh_branch(trunk: OnnxTrunk, name: str) -> "Branch | JointReader":
    """The branch that a trunk gets; ``name``: a key of :data:`CUTS`.

    Raises:
        InputError: the trunk has no such tensors.
    """
    if name in CHANNELS:
        if CUTS[name][0] not in {step.output for step in trunk.steps}:
            raise InputError(
                f"the trunk '{trunk.path}' without the tensor '{CUTS[name][0]}'", "the trunk of the weights"
            )
        return JointReader(CUTS[name][0], CHANNELS[name], len(PARTS["body"]))
    return Branch(trunk, CUTS[name])


class Branch(Graph):
    """The steps of a trunk from the tensors of a cut to its feature, with copies of the weights; at first it says what
    the trunk says.

    Raises:
        InputError: the trunk has no such tensors, or the feature does not follow from them alone.
    """

    def __init__(self, trunk: OnnxTrunk, cut: tuple[str, ...]) -> None:
        super().__init__((GOAL,))
        reads = {step.output: step.reads for step in trunk.steps}
        inside = between(reads, cut, trunk.input_name, str(trunk.path))
        self.cut = cut
        self.steps = with_last_uses([step for step in trunk.steps if step.output in inside], {GOAL})
        buffers = dict(trunk.named_buffers())
        for key in (kept_as(name) for step in self.steps for name in step.reads):
            if key in trunk.weights:
                self.weights[key] = nn.Parameter(trunk.weights[key].detach().clone())
            elif key in buffers:
                self.register_buffer(key, buffers[key], persistent=False)

    def forward(self, *maps: Float[Tensor, "n _ _ _"]) -> Float[Tensor, "n f"]:
        """The tuned feature from the tensors of the cut, in the order of the cut."""
        return self.run(dict(zip(self.cut, maps, strict=True)))[GOAL]


def beside(seen: TrunkOutput, tuned: Float[Tensor, "n f"]) -> TrunkOutput:
    """What a trunk saw, with the feature [frozen, tuned]."""
    return replace(seen, feature=torch.cat([seen.feature, tuned], 1))


class TunedTrunk(nn.Module):
    """A trunk, from now on frozen, and a branch of it: a trunk with the feature [frozen, tuned]."""

    def __init__(self, trunk: OnnxTrunk, branch: Branch | JointReader) -> None:
        super().__init__()
        self.trunk, self.branch = trunk.requires_grad_(False), branch
        self.side_px, self.output_names = trunk.side_px, trunk.output_names

    def forward(self, image: Float[Tensor, "n 3 side side"]) -> TrunkOutput:
        """Run both on RGB crops in 0..1. Raises `InputError` for a wrong image shape."""
        seen, maps = self.trunk.see(image, self.branch.cut)
        return beside(seen, self.branch(*maps))
