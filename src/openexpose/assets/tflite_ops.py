"""The operators of `openexpose.assets.tflite` as small torch modules that export to plain ONNX nodes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from openexpose.errors import InputError


def activation_step(code: int) -> nn.Module:
    """Return the fused activation with TFLite's code (0 none, 1 ReLU, 3 ReLU6). Raises `InputError` for others."""
    known = {0: nn.Identity, 1: nn.ReLU, 3: nn.ReLU6}
    if code not in known:
        raise InputError(got=f"activation code {code}", expected="0 (none), 1 (ReLU) or 3 (ReLU6)", fix="add it here")
    return known[code]()


def same_padding(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int, int, int]:
    """Return TensorFlow's SAME padding (left, right, top, bottom) for sizes, kernels, strides given as (h, w)."""
    sides = []
    for extent, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-extent // s) - 1) * s + (k - 1) * d + 1 - extent, 0)
        sides.append((total // 2, total - total // 2))
    return (*sides[1], *sides[0])


def conv_step(
    layer: nn.Conv2d,
    weight: Float[np.ndarray, "o i h w"],
    bias: Float[np.ndarray, "o"] | None,
    padding: tuple[int, int, int, int],
    activation: int,
) -> nn.Module:
    """Fill a convolution with weights; padding (left, right, top, bottom) is put into the layer where symmetric."""
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(weight, dtype=np.float32))
    if bias is not None and layer.bias is not None:
        layer.bias.data = torch.from_numpy(np.array(bias, dtype=np.float32))
    left, right, top, bottom = padding
    steps: list[nn.Module] = []
    if left == right and top == bottom:
        layer.padding = (top, left)
    else:
        steps.append(nn.ZeroPad2d(padding))
    steps.append(layer)
    if activation:
        steps.append(activation_step(activation))
    return nn.Sequential(*steps)


def pool_step(kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int, int, int]) -> nn.Module:
    """Return max pooling with padding (left, right, top, bottom) by -inf."""
    pool = nn.MaxPool2d(kernel, stride)
    return nn.Sequential(nn.ConstantPad2d(padding, -math.inf), pool) if any(padding) else pool


class AddStep(nn.Module):
    """a + b (or a * b), where b may be a constant of the graph; then the fused activation."""

    def __init__(self, constant: Float[np.ndarray, "..."] | None, activation: int, *, multiply: bool):
        """Keep the constant as a parameter."""
        super().__init__()
        self.multiply = multiply
        self.constant = None
        if constant is not None:
            self.constant = nn.Parameter(torch.from_numpy(np.ascontiguousarray(constant, dtype=np.float32)))
        self.activation = activation_step(activation)

    def forward(self, left: Tensor, right: Tensor | None = None) -> Tensor:
        """Combine two activations, or one with the constant."""
        other = self.constant if right is None else right
        if other is None:
            raise ValueError("an addition of one activation without a constant")
        return self.activation(left * other if self.multiply else left + other)


class PreluStep(nn.Module):
    """x where positive, slope * x elsewhere; a slope for each channel, or for each channel and pixel."""

    def __init__(self, slope: Float[np.ndarray, "c h w"]):
        """Keep the slope as a parameter [c] or [c,h,w]."""
        super().__init__()
        slope = slope.reshape(-1) if slope.shape[1:] == (1, 1) else slope
        self.weight = nn.Parameter(torch.from_numpy(np.ascontiguousarray(slope, dtype=np.float32)))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Apply the activation."""
        if self.weight.ndim == 1:
            return functional.prelu(x, self.weight)
        return x.clamp(min=0) + self.weight * x.clamp(max=0)


class PadStep(nn.Module):
    """Zero padding (left, right, top, bottom, front, back); front/back are channels."""

    def __init__(self, padding: tuple[int, ...]):
        """Keep the padding; channel padding is dropped where it is zero."""
        super().__init__()
        self.padding = padding if any(padding[4:]) else padding[:4]

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        """Pad."""
        return functional.pad(x, self.padding)


class ResizeStep(nn.Module):
    """Bilinear resizing with half-pixel centres by a whole factor (a fixed scale keeps the batch axis free)."""

    def __init__(self, size: tuple[int, int], source: Sequence[int]):
        """Compute the scale factors from source (h, w) to `size` (h, w)."""
        super().__init__()
        self.scale = (size[0] / source[0], size[1] / source[1])

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
        """Resize."""
        return functional.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)


class ReshapeStep(nn.Module):
    """Reshape of an NHWC tensor kept as NCHW; the batch axis stays free."""

    def __init__(self, source: Sequence[int], target: Sequence[int]):
        """`source` and `target` are NHWC shapes with batch 1."""
        super().__init__()
        self.permute = len(source) == 4 and source[1] * source[2] > 1
        self.target = tuple(target[1:])
        self.back = len(target) == 4

    def forward(self, x: Tensor) -> Tensor:
        """Reshape."""
        x = x.permute(0, 2, 3, 1) if self.permute else x
        if not self.back:
            return x.reshape(-1, *self.target)
        height, width, channels = self.target
        if height == width == 1:
            return x.reshape(-1, channels, 1, 1)
        return x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)


class MeanStep(nn.Module):
    """Mean over height and width."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c"]:
        """Average."""
        return x.mean((2, 3))


class ConcatStep(nn.Module):
    """Concatenation along an NHWC axis."""

    def __init__(self, axis: int, ndim: int):
        """Translate the axis to NCHW."""
        super().__init__()
        axis %= ndim
        self.axis = (0, 2, 3, 1)[axis] if ndim == 4 else axis

    def forward(self, *parts: Tensor) -> Tensor:
        """Concatenate."""
        return torch.cat(parts, self.axis)


class BoxFromLandmarks(nn.Module):
    """MediaPipe's Landmarks2TransformMatrix: landmarks -> affine map [n,2,3] from a rotated box around some of them.

    The map takes pixels of an output grid to the frame of the landmarks; the box is upright after turning the line
    between two named landmarks to a target angle. Attention Mesh (Grishchenko et al. 2020), section 2.
    """

    subset: Tensor

    def __init__(self, options: Mapping[str, Any]):
        """Read MediaPipe's options (indices, scale, output size in pixels, angle in radians)."""
        super().__init__()
        self.left, self.right = options["left_rotation_idx"], options["right_rotation_idx"]
        self.target_rad = float(options["target_rotation_radians"])
        self.scale = float(options["scale_x"]), float(options["scale_y"])
        self.size = int(options["output_width"]), int(options["output_height"])
        self.register_buffer("subset", torch.tensor(list(options["subset_idxs"])), persistent=False)

    def forward(self, landmarks: Float[Tensor, "n l 3"]) -> Float[Tensor, "n 2 3"]:
        """Return the map."""
        line = landmarks[:, self.right, :2] - landmarks[:, self.left, :2]
        line = line / (line * line).sum(1, keepdim=True).clamp(min=1e-12).sqrt()
        cos_t, sin_t = math.cos(self.target_rad), math.sin(self.target_rad)
        cos = cos_t * line[:, 0:1] + sin_t * line[:, 1:2]
        sin = sin_t * line[:, 0:1] - cos_t * line[:, 1:2]
        points = landmarks.index_select(1, self.subset)
        x, y = points[:, :, 0], points[:, :, 1]
        turned_x, turned_y = cos * x - sin * y, sin * x + cos * y
        x1, x0 = turned_x.amax(1, keepdim=True), turned_x.amin(1, keepdim=True)
        y1, y0 = turned_y.amax(1, keepdim=True), turned_y.amin(1, keepdim=True)
        middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
        step_x, step_y = self.scale[0] * (x1 - x0) / self.size[0], self.scale[1] * (y1 - y0) / self.size[1]
        half_w, half_h = self.size[0] / 2, self.size[1] / 2
        shift_x = cos * middle_x + sin * middle_y - cos * step_x * half_w - sin * step_y * half_h
        shift_y = cos * middle_y - sin * middle_x + sin * step_x * half_w - cos * step_y * half_h
        rows = cos * step_x, sin * step_y, shift_x, -sin * step_x, cos * step_y, shift_y
        return torch.cat(rows, 1).reshape(-1, 2, 3)


class SampleBox(nn.Module):
    """MediaPipe's TransformTensorBilinear: sample a feature map over a box, half-pixel aligned, zero outside."""

    grid: Tensor
    limit: Tensor

    def __init__(self, source: Sequence[int], height: int, width: int):
        """`source` is the (h, w) of the feature map, `height` and `width` those of the sampled grid."""
        super().__init__()
        self.grid_size = height, width
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        self.register_buffer("grid", torch.stack([x.reshape(-1), y.reshape(-1), torch.ones(height * width)], 0))
        self.register_buffer("limit", torch.tensor([source[1] - 1.0, source[0] - 1.0]))

    def forward(self, features: Float[Tensor, "n c h w"], box: Float[Tensor, "n 2 3"]) -> Float[Tensor, "n c h2 w2"]:
        """Sample."""
        xy = (box @ self.grid).transpose(1, 2) - 0.5
        inside = ((xy >= 0) & (xy <= self.limit)).to(xy.dtype).amin(2).reshape(-1, 1, *self.grid_size)
        grid = (xy * (2 / self.limit) - 1).reshape(-1, *self.grid_size, 2)
        return functional.grid_sample(features, grid, "bilinear", "zeros", align_corners=True) * inside


class _Unbox(nn.Module):
    def forward(self, landmarks: Float[Tensor, "n l 2"], box: Float[Tensor, "n 2 3"]) -> Float[Tensor, "n l 2"]:
        return landmarks[..., :2] @ box[:, :, :2].transpose(1, 2) + box[:, :, 2].unsqueeze(1)


def unbox_landmarks() -> nn.Module:
    """Return MediaPipe's TransformLandmarks: box coordinates to the frame of the map; z is dropped."""
    return _Unbox()
