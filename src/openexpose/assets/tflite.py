"""Read a TFLite graph (float32 or float16 weights, dense or sparse) and run it as a torch module.

A conversion vehicle only: `openexpose.assets.trunks` builds a `TfliteNet`, wraps it and exports the result as ONNX.
Only the operators of the MediaPipe landmark networks are known; an unknown one raises `InputError`.
Four-dimensional activations are kept NCHW (TFLite is NHWC), so the weights are ordinary torch convolution weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tflite
import torch
from flatbuffers import flexbuffers
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from openexpose.assets.tflite_ops import (
    AddStep,
    BoxFromLandmarks,
    ConcatStep,
    MeanStep,
    PadStep,
    PreluStep,
    ReshapeStep,
    ResizeStep,
    SampleBox,
    activation_step,
    conv_step,
    pool_step,
    same_padding,
    unbox_landmarks,
)
from openexpose.errors import InputError

_OPERATOR_NAMES = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
_DTYPES = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
    tflite.TensorType.INT64: np.int64,
    tflite.TensorType.INT8: np.int8,
    tflite.TensorType.UINT8: np.uint8,
}
_OPTIONS_CLASS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "ADD": "AddOptions",
    "MUL": "MulOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "CONCATENATION": "ConcatenationOptions",
    "MEAN": "ReducerOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
}


@dataclass(frozen=True)
class TfliteOperator:
    """One operator: its name, the tensor ids it reads and writes, and its options (a schema object or a dict)."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any = None


@dataclass(frozen=True)
class TfliteGraph:
    """A parsed graph: tensor shapes (NHWC), constants already float32 and dense, operators in execution order."""

    shapes: tuple[tuple[int, ...], ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[TfliteOperator, ...]
    constants: Mapping[int, Shaped[np.ndarray, "..."]] = field(repr=False)


def _sparse_indices(union: Any, kind: int) -> Shaped[np.ndarray, "n"]:
    """Return the integers of a SparseIndexVector union (32, 16 or 8 bit)."""
    vector = {1: tflite.Int32Vector, 2: tflite.Uint16Vector, 3: tflite.Uint8Vector}[kind]()
    vector.Init(union.Bytes, union.Pos)
    return vector.ValuesAsNumpy().astype(np.int64)


def densify(values: Shaped[np.ndarray, "n"], shape: Sequence[int], sparsity: Any) -> Shaped[np.ndarray, "..."]:
    """Expand a TFLite sparse tensor (traversal order, a dense or CSR level for each dimension, optional blocks)."""
    order = sparsity.TraversalOrderAsNumpy().tolist()
    block_map = sparsity.BlockMapAsNumpy().tolist() if sparsity.BlockMapLength() else []
    levels = [sparsity.DimMetadata(i) for i in range(sparsity.DimMetadataLength())]
    block_size = [levels[len(shape) + j].DenseSize() for j in range(len(block_map))]
    position = np.zeros(1, np.int64)
    coords = np.zeros((1, 0), np.int64)
    for level in levels:
        if level.Format() == tflite.DimensionType.DENSE:
            size = level.DenseSize()
            step = np.tile(np.arange(size), len(position))
            coords = np.concatenate([np.repeat(coords, size, 0), step[:, None]], 1)
            position = (position[:, None] * size + np.arange(size)).ravel()
        else:
            segments = _sparse_indices(level.ArraySegments(), level.ArraySegmentsType())
            indices = _sparse_indices(level.ArrayIndices(), level.ArrayIndicesType())
            parent = np.repeat(np.arange(len(position)), segments[position + 1] - segments[position])
            position = np.concatenate([np.arange(segments[p], segments[p + 1]) for p in position])
            coords = np.concatenate([coords[parent], indices[position][:, None]], 1)
    full = np.zeros((len(position), len(shape)), np.int64)
    for column, dim in enumerate(order):
        if dim < len(shape):
            full[:, dim] += coords[:, column] * (block_size[block_map.index(dim)] if dim in block_map else 1)
        else:
            full[:, block_map[dim - len(shape)]] += coords[:, column]
    dense = np.zeros(shape, values.dtype)
    dense[tuple(full.T)] = values[position]
    return dense


def _read_constant(tensor: Any, buffer: Any, shape: tuple[int, ...]) -> Shaped[np.ndarray, "..."]:
    values = np.frombuffer(buffer.DataAsNumpy().tobytes(), _DTYPES[tensor.Type()])
    return densify(values, shape, tensor.Sparsity()) if tensor.Sparsity() else values.reshape(shape)


def _read_options(operator: Any, kind: str, *, custom: bool) -> Any:
    if custom:
        data = bytes(operator.CustomOptionsAsNumpy()) if operator.CustomOptionsLength() else b""
        return flexbuffers.Loads(data) if data else {}
    if kind not in _OPTIONS_CLASS:
        return None
    options = getattr(tflite, _OPTIONS_CLASS[kind])()
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return options


def read_graph(data: bytes) -> TfliteGraph:
    """Parse the bytes of a .tflite file with one subgraph; float16 and sparse constants become dense float32 arrays.

    Raises `InputError` when the bytes are not a TFLite file.
    """
    if data[4:8] != b"TFL3":
        raise InputError(
            got=f"{len(data)} bytes starting with {data[:8]!r}", expected="a .tflite file (TFL3)", fix="check the path"
        )
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(i) for i in range(graph.TensorsLength())]
    shapes = tuple(tuple(t.ShapeAsNumpy().tolist()) if t.ShapeLength() else () for t in tensors)
    constants = {
        i: _read_constant(t, model.Buffers(t.Buffer()), shapes[i])
        for i, t in enumerate(tensors)
        if model.Buffers(t.Buffer()).DataLength()
    }
    operators = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = _OPERATOR_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        inputs, outputs = tuple(operator.InputsAsNumpy().tolist()), tuple(operator.OutputsAsNumpy().tolist())
        if kind in ("DEQUANTIZE", "DENSIFY") and inputs[0] in constants:
            value = constants[inputs[0]]
            constants[outputs[0]] = value.astype(np.float32) if kind == "DEQUANTIZE" else value
            continue
        custom = kind == "CUSTOM"
        kind = code.CustomCode().decode() if custom else kind
        operators.append(TfliteOperator(kind, inputs, outputs, _read_options(operator, kind, custom=custom)))
    ends = tuple(graph.InputsAsNumpy().tolist()), tuple(graph.OutputsAsNumpy().tolist())
    return TfliteGraph(shapes, *ends, tuple(operators), constants)


def _build_conv(graph: TfliteGraph, op: TfliteOperator) -> nn.Module:
    weight, options = graph.constants[op.inputs[1]], op.options
    _, height, width, channels = graph.shapes[op.inputs[0]]
    if op.kind == "CONV_2D":
        weight, groups = weight.transpose(0, 3, 1, 2), channels // weight.shape[3]
    else:
        weight, groups = weight[0].transpose(2, 0, 1)[:, None], channels
    stride = options.StrideH(), options.StrideW()
    dilation = options.DilationHFactor(), options.DilationWFactor()
    padding = (0, 0, 0, 0)
    if options.Padding() == tflite.Padding.SAME:
        kernel = weight.shape[2:]
        padding = same_padding((height, width), kernel, stride, dilation)
    bias = graph.constants[op.inputs[2]] if len(op.inputs) > 2 and op.inputs[2] >= 0 else None
    layer = nn.Conv2d(
        weight.shape[1] * groups, len(weight), weight.shape[2:], stride, 0, dilation, groups, bias is not None
    )
    return conv_step(layer, weight, bias, padding, options.FusedActivationFunction())


def _build_fully_connected(graph: TfliteGraph, op: TfliteOperator) -> nn.Module:
    weight = graph.constants[op.inputs[1]]
    layer = nn.Linear(weight.shape[1], len(weight))
    layer.weight.data = torch.from_numpy(weight.copy())
    layer.bias.data = torch.from_numpy(graph.constants[op.inputs[2]].copy())
    return nn.Sequential(nn.Flatten(), layer, activation_step(op.options.FusedActivationFunction()))


def _build_pool(graph: TfliteGraph, op: TfliteOperator) -> nn.Module:
    options = op.options
    kernel, stride = (options.FilterHeight(), options.FilterWidth()), (options.StrideH(), options.StrideW())
    padding = (0, 0, 0, 0)
    if options.Padding() == tflite.Padding.SAME:
        padding = same_padding(graph.shapes[op.inputs[0]][1:3], kernel, stride, (1, 1))
    return pool_step(kernel, stride, padding)


def _build_add(graph: TfliteGraph, op: TfliteOperator) -> nn.Module:
    constant = [graph.constants[i] for i in op.inputs if i in graph.constants]
    if constant and graph.shapes[op.outputs[0]] == (1, 4, 4):  # a 4x4 map of the face mesh; only 2x3 of it matters
        constant = [constant[0][:, :2, [0, 1, 3]]]
    if constant and len(graph.shapes[op.outputs[0]]) == 4:
        value = constant[0]
        constant = [value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(0, 3, 1, 2)]
    return AddStep(constant[0] if constant else None, op.options.FusedActivationFunction(), multiply=op.kind == "MUL")


def _build_prelu(graph: TfliteGraph, op: TfliteOperator) -> nn.Module:
    slope = graph.constants[op.inputs[1]]
    return PreluStep(slope.reshape((1,) * (3 - slope.ndim) + slope.shape).transpose(2, 0, 1))


def _build_pad(graph: TfliteGraph, op: TfliteOperator) -> nn.Module:
    _, rows, columns, channels = graph.constants[op.inputs[1]].reshape(4, 2).tolist()
    return PadStep((*columns, *rows, *channels))


def _build_resize(graph: TfliteGraph, op: TfliteOperator) -> nn.Module:
    if not op.options.HalfPixelCenters():
        raise InputError(got="RESIZE_BILINEAR without half-pixel centres", expected="half-pixel centres", fix="extend")
    height, width = graph.constants[op.inputs[1]].tolist()
    return ResizeStep((height, width), graph.shapes[op.inputs[0]][1:3])


def _build_slice(graph: TfliteGraph, op: TfliteOperator) -> nn.Module:
    source, target = graph.shapes[op.inputs[0]], graph.shapes[op.outputs[0]]
    if source != target:
        raise InputError(got=f"STRIDED_SLICE {source} -> {target}", expected="a slice that keeps all", fix="extend")
    return nn.Identity()


_BUILDERS: dict[str, Callable[[TfliteGraph, TfliteOperator], nn.Module]] = {
    "CONV_2D": _build_conv,
    "DEPTHWISE_CONV_2D": _build_conv,
    "FULLY_CONNECTED": _build_fully_connected,
    "MAX_POOL_2D": _build_pool,
    "ADD": _build_add,
    "MUL": _build_add,
    "PRELU": _build_prelu,
    "PAD": _build_pad,
    "RESIZE_BILINEAR": _build_resize,
    "RESHAPE": lambda graph, op: ReshapeStep(graph.shapes[op.inputs[0]], graph.shapes[op.outputs[0]]),
    "CONCATENATION": lambda graph, op: ConcatStep(op.options.Axis(), len(graph.shapes[op.inputs[0]])),
    "MEAN": lambda graph, op: MeanStep(),
    "STRIDED_SLICE": _build_slice,
    "LOGISTIC": lambda graph, op: nn.Sigmoid(),
    "Landmarks2TransformMatrix": lambda graph, op: BoxFromLandmarks(op.options),
    "TransformTensorBilinear": lambda graph, op: SampleBox(
        graph.shapes[op.inputs[0]][1:3], op.options["output_height"], op.options["output_width"]
    ),
    "TransformLandmarks": lambda graph, op: unbox_landmarks(),
}


class TfliteNet(nn.Module):
    """The part of a TFLite graph that leads to the tensors `wanted` (ids), as a torch module."""

    def __init__(self, graph: TfliteGraph, wanted: Sequence[int]):
        """Build one step for every operator needed. Raises `InputError` for an operator that is not known."""
        super().__init__()
        self.graph_input, self.wanted = graph.inputs[0], tuple(wanted)
        needed, kept = set(wanted), []
        for op in reversed(graph.operators):
            if needed.intersection(op.outputs):
                needed.update(op.inputs)
                kept.append(op)
        kept.reverse()
        for op in kept:
            if op.kind not in _BUILDERS:
                raise InputError(got=f"operator {op.kind}", expected=f"one of {sorted(_BUILDERS)}", fix="add a builder")
        self.steps = nn.ModuleList(_BUILDERS[op.kind](graph, op) for op in kept)
        self.wires = [([i for i in op.inputs if i >= 0 and i not in graph.constants], op.outputs[0]) for op in kept]
        self.boxes = [tuple(op.options["subset_idxs"]) for op in kept if op.kind == "Landmarks2TransformMatrix"]

    def forward(self, image: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """Return the wanted tensors in order (four-dimensional ones NCHW) for an RGB image in 0..1."""
        values = {self.graph_input: image}
        for step, (sources, target) in zip(self.steps, self.wires, strict=True):
            values[target] = step(*(values[i] for i in sources))
        return [values[i] for i in self.wanted]
