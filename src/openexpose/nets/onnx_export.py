"""torch module -> small, checked ONNX file: float16 weights behind a Cast, no build-machine traces, proven parity."""

import logging
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from openexpose.errors import InputError

OPSET = 18
PARITY_TOLERANCE = 1e-4
"""Largest accepted |torch - onnxruntime| of any output element, relative to max(1, the output's largest magnitude)."""
WEIGHT_OPS = ("Conv", "Gemm", "MatMul", "PRelu")


def export_onnx(
    net: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], provenance: Mapping[str, str]
) -> onnx.ModelProto:
    """Export `net`, called with the named inputs (free batch axis), with the named outputs.

    Weights are stored as float16 where that is exact.
    """
    batch = torch.export.Dim("batch", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells that torchvision is not there: it is not needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch warns about its own tree classes
        warnings.filterwarnings("ignore", "# The axis name")
        program = torch.onnx.export(
            net,
            kwargs=dict(inputs),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes={name: {0: batch} for name in inputs},
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = program.model_proto
    strip_traces(model)
    halve_weights(model)
    for key, value in provenance.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    return model


def strip_traces(model: onnx.ModelProto) -> None:
    """Remove the exporter's debugging notes (they hold paths of the build machine) and inner value shapes, in place."""
    model.doc_string = ""
    del model.metadata_props[:]
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]
    for entry in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        entry.doc_string = ""
        del entry.metadata_props[:]


def halve_weights(model: onnx.ModelProto) -> None:
    """Store float32 weights of Conv, Gemm, MatMul, PRelu as float16 and a Cast, in place, where that is exact."""
    names = {name for node in model.graph.node if node.op_type in WEIGHT_OPS for name in node.input[1:]}
    casts = []
    for initializer in model.graph.initializer:
        if initializer.name not in names or initializer.data_type != onnx.TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(initializer)
        half = value.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), value):
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def noise_images(side_px: int) -> list[dict[str, Tensor]]:
    """Seeded noise images [n, 3, side_px, side_px], batches of 1 and 3: what trunks are compared on."""
    return [{"image": torch.rand(n, 3, side_px, side_px, generator=torch.Generator().manual_seed(n))} for n in (1, 3)]


def measure_parity(model: onnx.ModelProto, net: nn.Module, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Return the largest difference of each output between `net` in torch and the model in onnxruntime.

    Relative to max(1, largest magnitude of the output), over batches of named inputs.
    """
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    worst = dict.fromkeys(names, 0.0)
    for batch in batches:
        with torch.no_grad():
            expected = net(**batch)
        expected = (expected,) if isinstance(expected, Tensor) else expected
        feed = {name: value.numpy() for name, value in batch.items()}
        for name, got, want in zip(names, session.run(None, feed), expected, strict=True):
            scale = max(1.0, float(want.abs().max()))
            worst[name] = max(worst[name], float(np.abs(got - want.numpy()).max()) / scale)
    return worst


def write_checked(
    model: onnx.ModelProto, net: nn.Module, batches: Sequence[Mapping[str, Tensor]], path: Path
) -> dict[str, float]:
    """Write the model to `path` whole or not at all, after checking parity; return the parity of each output.

    Raises `InputError` when the difference between torch and onnxruntime is above `PARITY_TOLERANCE`.
    """
    parity = measure_parity(model, net, batches)
    if max(parity.values()) > PARITY_TOLERANCE:
        raise InputError(
            got=f"differences {parity} for {path.name}",
            expected=f"at most {PARITY_TOLERANCE}",
            fix="compare the converted operators one by one",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(model.SerializeToString())
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    return parity
