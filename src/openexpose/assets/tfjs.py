"""NanoDet-416 from its TF.js graph (`nanodet.json` + `nanodet.bin`) as a torch module, persons only.

The graph came from ONNX: it is NCHW except that each convolution, pooling and resizing stands between two transposes.
So everything is kept NCHW here and the transposes vanish. Its tail (a sigmoid, reshapes) is written anew in `NanoDet`.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from openexpose.errors import InputError

DETECTOR_SIDE_PX = 416
DETECTOR_OUTPUTS = ("score", "distance")
STRIDES_PX = (8, 16, 32)
BINS = 11
"""A distance to a side of the box is a distribution over 0..10 strides (Generalized Focal Loss, Li et al. 2020)."""
COCO_CLASSES = 80
HEADS = ("PartitionedCall/Add_29", "PartitionedCall/Add_33", "PartitionedCall/Add_37")
"""Outputs of the last convolutions at strides 8, 16, 32: 80 class logits and 4 * 11 distance logits in a cell."""
MEAN_BGR = (103.53, 116.28, 123.675)
STD_BGR = (57.375, 57.12, 58.395)
"""Of the channels in 0..255, in the order the network takes them (NanoDet's configuration)."""


@dataclass(frozen=True)
class TfjsNode:
    """One node of the graph: TensorFlow's operator name, inputs by name, and attributes as plain values."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TfjsGraph:
    """Nodes by name and constants (float32 or integers)."""

    nodes: Mapping[str, TfjsNode]
    constants: Mapping[str, Shaped[np.ndarray, "..."]] = field(repr=False)


def _plain(value: Mapping[str, Any]) -> Any:
    """Turn a protobuf-JSON attribute into a plain value."""
    if "i" in value:
        return int(value["i"])
    if "s" in value:
        return base64.b64decode(value["s"]).decode()
    if "list" in value:
        return [int(v) for v in value["list"].get("i", [])]
    return value.get("f", value.get("b"))


def read_tfjs(topology: bytes, weights: bytes) -> TfjsGraph:
    """Parse `model.json` and its one weight file. Raises `InputError` for a quantised dtype other than float16."""
    model = json.loads(topology)
    constants, offset = {}, 0
    for entry in (entry for manifest in model["weightsManifest"] for entry in manifest["weights"]):
        stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
        if stored not in ("float16", "float32", "int32"):
            raise InputError(got=f"weights of dtype {stored}", expected="float16, float32 or int32", fix="extend")
        value = np.frombuffer(weights, stored, int(np.prod(entry["shape"])), offset).reshape(entry["shape"])
        offset += value.nbytes
        constants[entry["name"]] = value.astype(entry["dtype"])
    nodes = {}
    for node in model["modelTopology"]["node"]:
        attributes = {key: _plain(value) for key, value in node.get("attr", {}).items()}
        nodes[node["name"]] = TfjsNode(node["name"], node["op"], tuple(node.get("input", ())), attributes)
    return TfjsGraph(nodes, constants)


def _nchw_padding(pads: Shaped[np.ndarray, "4 2"]) -> tuple[int, int]:
    """Return (vertical, horizontal) of a symmetric spatial padding of an NCHW tensor."""
    if pads[:2].any() or (pads[2:, 0] != pads[2:, 1]).any():
        raise InputError(got=f"padding {pads.tolist()}", expected="a symmetric spatial padding", fix="extend")
    return int(pads[2, 0]), int(pads[3, 0])


class TfjsNet(nn.Module):
    """The part of a TF.js graph that leads from its placeholder to the nodes `wanted`."""

    def __init__(self, graph: TfjsGraph, wanted: Sequence[str]):
        """Build a layer for every convolution. Raises `InputError` for an operator that is not known."""
        super().__init__()
        self.graph, self.wanted = graph, tuple(wanted)
        self.layers = nn.ModuleDict()
        self.order: list[TfjsNode] = []
        seen: set[str] = set(graph.constants)
        for name in wanted:
            self._visit(name, seen)
        biases = {node.inputs[0]: node.inputs[1] for node in self.order if node.op == "Add"}
        for node in self.order:
            if node.op == "Conv2D":
                self.layers[_key(node.name)] = self._convolution(node, graph.constants[biases[node.name]])

    def _visit(self, name: str, seen: set[str]) -> None:
        stack = [(name, False)]
        while stack:
            name, ready = stack.pop()
            if ready:
                self.order.append(self.graph.nodes[name])
            elif name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack.extend((source, False) for source in self.graph.nodes[name].inputs)

    def _convolution(self, node: TfjsNode, bias: Float[np.ndarray, "o"]) -> nn.Conv2d:
        weight = self.graph.constants[node.inputs[1]].transpose(3, 2, 0, 1)
        padding = self._padding_before(node)
        strides = node.attributes["strides"]
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], tuple(strides[1:3]), padding)
        layer.weight, layer.bias = (nn.Parameter(torch.from_numpy(value.copy())) for value in (weight, bias))
        return layer

    def _padding_before(self, node: TfjsNode) -> tuple[int, int]:
        """Return the padding by the Pad node that feeds `node`, through transposes; (0, 0) without one."""
        source = self.graph.nodes[node.inputs[0]]
        while source.op == "Transpose":
            source = self.graph.nodes[source.inputs[0]]
        return _nchw_padding(self.graph.constants[source.inputs[1]]) if source.op in ("Pad", "PadV2") else (0, 0)

    def _run(self, node: TfjsNode, inputs: Sequence[Tensor]) -> Tensor:
        if node.op in ("Transpose", "Pad", "PadV2"):  # layouts are NCHW throughout; padding is in the layers
            return inputs[0]
        if node.op == "Conv2D":
            return self.layers[_key(node.name)](inputs[0])
        if node.op == "Add":  # a second input: feature maps; none: the bias, already in the layer
            return inputs[0] + inputs[1] if len(inputs) == 2 else inputs[0]
        if node.op == "LeakyRelu":
            return functional.leaky_relu(inputs[0], node.attributes["alpha"])
        if node.op == "ConcatV2":
            return torch.cat(list(inputs), 1)
        if node.op == "MaxPool":
            size, strides = node.attributes["ksize"], node.attributes["strides"]
            return functional.max_pool2d(inputs[0], size[1:3], strides[1:3], self._padding_before(node))
        if node.op == "ResizeBilinear":
            size = self.graph.constants[node.inputs[1]]
            scale = (float(size[0]) / inputs[0].shape[2], float(size[1]) / inputs[0].shape[3])
            return functional.interpolate(inputs[0], scale_factor=scale, mode="bilinear", align_corners=False)
        raise InputError(got=f"TensorFlow operator {node.op}", expected="an operator of NanoDet", fix="add it here")

    def forward(self, image: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """Return the wanted feature maps, NCHW."""
        values: dict[str, Tensor] = {}
        for node in self.order:
            if node.op == "Placeholder":
                values[node.name] = image
            else:
                values[node.name] = self._run(node, [values[i] for i in node.inputs if i in values])
        return [values[name] for name in self.wanted]


def _key(name: str) -> str:
    return name.replace("/", "_").replace(".", "_")


class NanoDet(nn.Module):
    """Person scores and box distances of NanoDet (RangiLyu/nanodet) at the cells of three grids.

    Cells in order: stride 8 row by row (52*52), then 16 (26*26), then 32 (13*13), 3549 together.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, graph: TfjsGraph):
        """Build the network and keep only the person rows of its last convolutions."""
        super().__init__()
        self.net = TfjsNet(graph, HEADS)
        rows = torch.tensor([0, *range(COCO_CLASSES, COCO_CLASSES + 4 * BINS)])
        for name in HEADS:
            source = graph.nodes[name].inputs[0]
            layer = self.net.layers[_key(source)]
            if not isinstance(layer, nn.Conv2d) or layer.bias is None:
                raise InputError(f"a {type(layer).__name__} before {name}", "a convolution with a bias")
            layer.weight, layer.bias = nn.Parameter(layer.weight[rows]), nn.Parameter(layer.bias[rows])
        self.register_buffer("scale", 255 / torch.tensor(STD_BGR).reshape(3, 1, 1))
        self.register_buffer("shift", (torch.tensor(MEAN_BGR) / torch.tensor(STD_BGR)).reshape(3, 1, 1))

    def forward(self, image: Float[Tensor, "n 3 416 416"]) -> tuple[Tensor, Tensor]:
        """Return score [n,3549] (probability of a person) and distance [n,3549,44] (logits: left, top, right, bottom).

        `image` is RGB in 0..1.
        """
        bgr = image.index_select(1, torch.tensor([2, 1, 0]))
        heads = [head.flatten(2) for head in self.net(bgr * self.scale - self.shift)]
        cells = torch.cat(heads, 2).transpose(1, 2)
        return cells[:, :, 0].sigmoid(), cells[:, :, 1:]
