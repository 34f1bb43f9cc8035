"""A perception trunk: an ONNX file of the trunk contract, read into a torch module that can be trained further.

The contract (inputs, outputs, units) is documented in `openexpose.assets.trunk_nets`, which makes the files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from jaxtyping import Float, Shaped
from onnx import numpy_helper
from torch import Tensor, nn

from openexpose.errors import InputError
from openexpose.nets.onnx_ops import OPERATORS
from openexpose.nets.trunk_file import read_trunk

_IMPLIED_ATTRIBUTES: dict[str, dict[str, tuple[Any, ...]]] = {
    "Conv": {"auto_pad": ("NOTSET",), "kernel_shape": ()},
    "MaxPool": {"auto_pad": ("NOTSET",), "ceil_mode": (0,), "dilations": ([1, 1],), "storage_order": (0,)},
    "Pad": {"mode": ("constant",)},
    "ReduceMax": {"noop_with_empty_axes": (0,)},
    "ReduceMean": {"noop_with_empty_axes": (0,)},
    "ReduceMin": {"noop_with_empty_axes": (0,)},
    "ReduceSum": {"noop_with_empty_axes": (0,)},
    "Reshape": {"allowzero": ()},
    "Resize": {
        "antialias": (0,),
        "coordinate_transformation_mode": ("half_pixel",),
        "cubic_coeff_a": (),
        "exclude_outside": (0,),
        "extrapolation_value": (),
        "keep_aspect_ratio_policy": (),
        "mode": ("linear",),
        "nearest_mode": (),
    },
}
"""Attributes that are not passed on: the values under which that is right (none listed: any)."""


@dataclass(frozen=True)
class TrunkOutput:
    """What a trunk says about n crops; crop units: x right, y down in [-1,1], z in the same unit."""

    feature: Float[Tensor, "n f"]
    """Input of the regressors: body and hand 1152, face 288 numbers."""
    landmarks: Float[Tensor, "n l 3"]
    """Body 39, hand 21, face 478 points, crop units."""
    visibility: Float[Tensor, "n l"]
    """Probability that a landmark is visible (hand and face: the presence, repeated)."""
    world: Float[Tensor, "n l 3"] | None
    """Metres about the hip centre (body) or the hand's centre; None for the face."""
    presence: Float[Tensor, "n"]
    """Probability that the crop shows the part at all."""
    handedness: Float[Tensor, "n"] | None = None
    """Hand only: probability that it is a right hand, in a mirrored crop a left one."""

    @property
    def certainty(self) -> Float[Tensor, "n"]:
        """Probability that the crop shows just this part: of hands, the hand of this side."""
        return self.presence if self.handedness is None else self.presence * self.handedness


@dataclass(frozen=True)
class _Name:
    """An argument that is looked up when the graph runs."""

    name: str


@dataclass(frozen=True)
class _Step:
    """One node: the operator, its arguments (names, literals or None) and attributes."""

    op: str
    arguments: tuple[Any, ...]
    attributes: dict[str, Any]
    output: str
    last_use: tuple[str, ...] = ()
    """Activations nobody reads after this step."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of activations, weights and buffers among the arguments."""
        return tuple(argument.name for argument in self.arguments if isinstance(argument, _Name))


class Graph(nn.Module):
    """Operations in their order (`steps`, which subclasses set), and the weights and buffers that they read.

    Args:
        output_names: what comes out.
    """

    def __init__(self, output_names: tuple[str, ...]) -> None:
        super().__init__()
        self.output_names = output_names
        self.weights = nn.ParameterDict()
        self.steps: list[_Step] = []

    def run(self, values: dict[str, Tensor], also: Sequence[str] = ()) -> dict[str, Tensor]:
        """Run the graph on named inputs and return its named outputs, and the tensors ``also`` of its inside."""
        values = dict(values)
        for step in self.steps:
            arguments = [self._value(a.name, values) if isinstance(a, _Name) else a for a in step.arguments]
            values[step.output] = OPERATORS[step.op](*arguments, **step.attributes)
            for name in {*step.last_use}.difference(also):
                del values[name]
        return {name: values[name] for name in (*self.output_names, *also)}

    def _value(self, name: str, values: dict[str, Tensor]) -> Tensor:
        if name in values:
            return values[name]
        key = kept_as(name)
        return self.weights[key] if key in self.weights else getattr(self, key)


class OnnxTrunk(Graph):
    """The graph of an ONNX trunk as torch operations; float16 weights become float32 parameters.

    A tuned branch in the file is left out: see :mod:`openexpose.nets.branch`.
    """

    def __init__(self, path: Path):
        """Read the file. Raises `InputError` when it is not ONNX or holds an operator that is not known."""
        graph = read_trunk(path).graph
        super().__init__(tuple(output.name for output in graph.output))
        constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
        self.path = path
        self.side_px = int(graph.input[0].type.tensor_type.shape.dim[2].dim_value)
        self.input_name = graph.input[0].name
        steps: list[_Step] = []
        for node in graph.node:
            if node.op_type == "Cast" and node.input[0] in constants:
                weight = constants[node.input[0]].astype(np.float32)
                self.weights[kept_as(node.output[0])] = nn.Parameter(torch.from_numpy(weight))
            else:
                steps.append(self._compile(node, constants))
        self.steps = with_last_uses(steps, {*self.output_names, self.input_name})

    def _compile(self, node: onnx.NodeProto, constants: dict[str, Shaped[np.ndarray, "..."]]) -> _Step:
        if node.op_type not in OPERATORS or len(node.output) != 1:
            raise InputError(
                got=f"ONNX operator {node.op_type} with {len(node.output)} outputs",
                expected=f"one of {sorted(OPERATORS)} with one output",
                fix="add it to openexpose/nets/onnx_ops.py",
            )
        arguments = tuple(self._argument(node.op_type, name, constants) for name in node.input)
        return _Step(node.op_type, arguments, _attributes(node), node.output[0])

    def _argument(self, op: str, name: str, constants: dict[str, Shaped[np.ndarray, "..."]]) -> Any:
        """Turn an input into a literal (integers, scalars) or the name of a buffer or an activation."""
        if not name:
            return None
        if name not in constants:
            return _Name(name)
        value = constants[name]
        is_index = op == "Gather" and value.ndim == 1
        if value.ndim == 0 or op == "Resize" or (value.dtype == np.int64 and not is_index):
            return value.tolist()
        if not hasattr(self, kept_as(name)):
            self.register_buffer(kept_as(name), torch.from_numpy(value.copy()))
        return _Name(name)

    def forward(self, image: Float[Tensor, "n 3 side side"]) -> TrunkOutput:
        """Run the graph on RGB crops in 0..1. Raises `InputError` for a wrong image shape."""
        return self.see(image)[0]

    def see(
        self, image: Float[Tensor, "n 3 side side"], also: Sequence[str] = ()
    ) -> tuple[TrunkOutput, list[Float[Tensor, "n ..."]]]:
        """As :meth:`forward`, and the tensors ``also`` of the inside."""
        if image.ndim != 4 or image.shape[1:] != (3, self.side_px, self.side_px):
            raise InputError(
                got=f"an image of shape {tuple(image.shape)}",
                expected=f"[n,3,{self.side_px},{self.side_px}]",
                fix="resample the crop to the trunk's side",
            )
        values = self.run({self.input_name: image}, also)
        seen = TrunkOutput(
            feature=values["feature"],
            landmarks=values["landmarks"],
            visibility=values["visibility"],
            world=values.get("world"),
            presence=values["presence"],
            handedness=values.get("handedness"),
        )
        return seen, [values[name] for name in also]


def with_last_uses(steps: Sequence[_Step], kept: set[str]) -> list[_Step]:
    """Mark, from the end, where each activation that is not `kept` is read for the last time (or is never read)."""
    produced, marked = {step.output for step in steps}, []
    seen = set(kept)
    for step in reversed(steps):
        read = {*step.reads} & produced
        ending = (read | {step.output}) - seen
        seen |= ending
        marked.append(replace(step, last_use=tuple(sorted(ending))))
    return marked[::-1]


def kept_as(name: str) -> str:
    """The name under which torch keeps a weight or buffer of that name."""
    return name.replace(".", "_").replace("/", "_")


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes to pass on; raise `InputError` for a value the operator's function does not cover."""
    implied = _IMPLIED_ATTRIBUTES.get(node.op_type, {})
    passed = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        value = value.decode() if isinstance(value, bytes) else value
        if attribute.name not in implied:
            passed[attribute.name] = value
        elif implied[attribute.name] and value not in implied[attribute.name]:
            raise InputError(
                got=f"{node.op_type} with {attribute.name}={value}",
                expected=f"one of {implied[attribute.name]}",
                fix="extend openexpose/nets/onnx_ops.py",
            )
    return passed
