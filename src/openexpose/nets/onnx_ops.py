"""The ONNX operators of the shipped trunks as functions of torch tensors (and of literal lists and numbers).

Each function takes the inputs of the node in order, then its attributes by ONNX's names.
See the ONNX operator specification, opset 18.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

_TORCH_DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}
"""onnx.TensorProto.DataType -> torch dtype."""


def cast(x: Tensor, *, to: int) -> Tensor:
    """Cast."""
    return x.to(_TORCH_DTYPES[to])


def clip(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Clip. With both bounds as an activation, whose gradient is cheaper than that of a clamp."""
    return x.clamp(low, high) if low is None or high is None else functional.hardtanh(x, low, high)


def concat(*parts: Tensor, axis: int) -> Tensor:
    """Concat."""
    return torch.cat(parts, axis)


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
) -> Tensor:
    """Conv in two dimensions; `pads` are (top, left, bottom, right)."""
    top, left, bottom, right = pads
    if (top, left) != (bottom, right):
        x, top, left = functional.pad(x, (left, right, top, bottom)), 0, 0
    return functional.conv2d(x, weight, bias, tuple(strides), (top, left), tuple(dilations), group)


def gather(x: Tensor, index: Tensor | int, *, axis: int = 0) -> Tensor:
    """Gather with a scalar or a one-dimensional index."""
    return x.select(axis, index) if isinstance(index, int) else x.index_select(axis, index)


def gemm(
    a: Tensor, b: Tensor, c: Tensor, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> Tensor:
    """Gemm."""
    return torch.addmm(c, a.T if transA else a, b.T if transB else b, beta=beta, alpha=alpha)


def grid_sample(
    x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "bilinear", padding_mode: str = "zeros"
) -> Tensor:
    """GridSample."""
    mode = "bilinear" if mode == "linear" else mode
    return functional.grid_sample(x, grid, mode, padding_mode, bool(align_corners))


def max_pool(
    x: Tensor, *, kernel_shape: Sequence[int], strides: Sequence[int], pads: Sequence[int] = (0, 0, 0, 0)
) -> Tensor:
    """MaxPool in two dimensions."""
    top, left, bottom, right = pads
    if any(pads):
        x = functional.pad(x, (left, right, top, bottom), value=float("-inf"))
    return functional.max_pool2d(x, tuple(kernel_shape), tuple(strides))


def pad(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """Pad by a constant, all axes named; begins then ends."""
    half = len(pads) // 2
    pairs = [side for axis in reversed(range(half)) for side in (pads[axis], pads[half + axis])]
    return functional.pad(x, pairs, value=value)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """PRelu with one slope for each channel."""
    return functional.prelu(x, slope.reshape(-1))


def reduce_max(x: Tensor, axes: Sequence[int], *, keepdims: int = 1) -> Tensor:
    """ReduceMax."""
    return x.amax(tuple(axes), bool(keepdims))


def reduce_mean(x: Tensor, axes: Sequence[int], *, keepdims: int = 1) -> Tensor:
    """ReduceMean."""
    return x.mean(tuple(axes), bool(keepdims))


def reduce_min(x: Tensor, axes: Sequence[int], *, keepdims: int = 1) -> Tensor:
    """ReduceMin."""
    return x.amin(tuple(axes), bool(keepdims))


def reduce_sum(x: Tensor, axes: Sequence[int], *, keepdims: int = 1) -> Tensor:
    """ReduceSum."""
    return x.sum(tuple(axes), bool(keepdims))


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Reshape; the exported graphs hold no zero in a shape."""
    return x.reshape(tuple(shape))


def resize(x: Tensor, _roi: None, scales: Sequence[float]) -> Tensor:
    """Resize, bilinear with half-pixel centres, by factors."""
    return functional.interpolate(x, scale_factor=tuple(scales[2:]), mode="bilinear", align_corners=False)


def slice_axes(
    x: Tensor, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]
) -> Tensor:
    """Slice with positive steps."""
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index = [slice(None)] * x.ndim
        index[axis] = slice(start, end, step)
        x = x[tuple(index)]
    return x


def transpose(x: Tensor, *, perm: Sequence[int]) -> Tensor:
    """Transpose."""
    return x.permute(tuple(perm))


def unsqueeze(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Unsqueeze one axis."""
    return x.unsqueeze(axes[0])


def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """LeakyRelu."""
    return functional.leaky_relu(x, alpha)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "Cast": cast,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "Div": torch.div,
    "Gather": gather,
    "Gemm": gemm,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "GridSample": grid_sample,
    "LeakyRelu": leaky_relu,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "MatMul": torch.matmul,
    "MaxPool": max_pool,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "PRelu": prelu,
    "Pad": pad,
    "ReduceMax": reduce_max,
    "ReduceMean": reduce_mean,
    "ReduceMin": reduce_min,
    "ReduceSum": reduce_sum,
    "Relu": functional.relu,
    "Reshape": reshape,
    "Resize": resize,
    "Sigmoid": torch.sigmoid,
    "Slice": slice_axes,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Where": torch.where,
}
"""ONNX operator name -> function."""
