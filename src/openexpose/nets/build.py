"""Building the torch networks from files: trunks as ONNX, regressors as checkpoints."""

import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.branch import TunedTrunk, fresh_branch
from openexpose.nets.checkpoint import RegressorConfig, build_regressor, load_branch, load_regressor, read_config
from openexpose.nets.decode import matrix_to_sixd
from openexpose.nets.part import PartNet
from openexpose.nets.regressor import Evidence
from openexpose.nets.trunk import OnnxTrunk
from openexpose.nets.whole import WholeBodyNet
from openexpose.predict.bundle import BundleConfig
from openexpose.predict.parts import BODY, SPECS, PartSpec

_REST_SCALE = {"body": 0.9, "hand": 5.0, "face": 6.0}
"""Crop units a metre at which a part about fills its crop."""


def rest_vector(spec: PartSpec) -> Float[Tensor, "size"]:
    """Parameter vector of a part at rest that faces the camera and about fills its crop: where fresh networks start."""
    rotations = torch.eye(3).repeat(len(spec.pose_slots), 1, 1)
    rotations[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    raw_scale = math.log(math.expm1(_REST_SCALE[spec.name]))
    rest = torch.zeros(spec.num_betas + spec.num_expression)
    return torch.cat([matrix_to_sixd(rotations).flatten(), rest, torch.tensor([raw_scale, 0.0, 0.0])])


def build_part(name: str, trunk_onnx: Path, checkpoint: Path | None, layer: BodyLayer | None = None) -> PartNet:
    """A part network.

    Args:
        name: ``body``, ``hand`` or ``face``.
        trunk_onnx: its trunk.
        checkpoint: its regressor, and the trunk's tuned branch if there is one; None: fresh weights that start from the
            part at rest.
        layer: the body model to share; None builds the packaged free body.

    Raises:
        InputError: no such part, a file that does not load, or a regressor that does not fit the part or the trunk.
    """
    if name not in SPECS:
        raise InputError(f"the part '{name}'", f"one of {sorted(SPECS)}")
    spec, trunk = SPECS[name], build_trunk(name, trunk_onnx, checkpoint)
    with torch.no_grad():
        seen = trunk(torch.zeros(1, 3, trunk.side_px, trunk.side_px))
    if checkpoint is None:
        canonical = name == "face"
        evidence = Evidence.raw(seen, canonical).shape[1]
        regressor = build_regressor(RegressorConfig(name, evidence, canonical=canonical), layer)
        regressor.mean.copy_(rest_vector(spec))
    else:
        regressor, _ = load_regressor(checkpoint, layer)
        evidence = Evidence.raw(seen, regressor.evidence.canonical).shape[1]
    numbers = len(regressor.mean), len(regressor.evidence.mean)
    if numbers != (spec.size, evidence):
        raise InputError(
            f"a regressor in '{checkpoint}' of {numbers[0]} parameters from {numbers[1]} numbers",
            f"one of {spec.size} parameters from {evidence} numbers ({name} and {trunk_onnx.name})",
        )
    return PartNet(spec, trunk, regressor)


def build_trunk(name: str, trunk_onnx: Path, checkpoint: Path | None) -> OnnxTrunk | TunedTrunk:
    """The trunk that a checkpoint's regressor reads: with the tuned branch that the checkpoint holds, if it does.

    Raises:
        InputError: a file that does not load, or a branch that does not fit the trunk.
    """
    trunk = OnnxTrunk(trunk_onnx)
    weights = None if checkpoint is None else load_branch(checkpoint)
    if checkpoint is None or weights is None:
        return trunk
    branch = fresh_branch(trunk, read_config(checkpoint).trunk or name)
    try:
        branch.load_state_dict(weights)
    except RuntimeError:
        raise InputError(f"'{checkpoint}' with a tuned branch of another trunk", f"one of {trunk_onnx.name}") from None
    return TunedTrunk(trunk, branch)


def build_whole(bundle: Path, weights: Path | None) -> WholeBodyNet:
    """The whole-body network.

    Args:
        bundle: folder with ``bundle.json`` and the trunks; its body model is used.
        weights: folder with the checkpoints ``{body,hand,face}.pt``; None: fresh regressors.

    Raises:
        InputError: a file is missing, does not load, or does not fit the others.
    """
    config = BundleConfig.read(bundle)
    path = None if config.body_model == "freebody" else bundle / config.body_model
    layer = BodyLayer(load_body_model(path, num_betas=BODY.num_betas, num_expression=BODY.num_expression))
    parts = {}
    for name in SPECS:
        checkpoint = None if weights is None else weights / f"{name}.pt"
        parts[name] = build_part(name, config.file(bundle, f"{name}_trunk.onnx"), checkpoint, layer)
    return WholeBodyNet(parts, config.parts, layer)
