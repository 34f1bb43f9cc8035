"""ONNX files of trunks: reading them, telling what lies between a cut and the feature, and a branch in the file.

A file with a branch is a trunk like any other to whoever runs it; its ``feature`` is [frozen, tuned].
Everything that trains reads it without the branch: :func:`read_trunk`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from jaxtyping import Float, Int8
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, compose, helper, numpy_helper

from openexpose.errors import InputError

Array = np.ndarray

GOAL = "feature"
_FROZEN, _TUNED, _TOLD, _LENGTH = "frozen.", "tuned.", "tuned", "frozen length"


def read_trunk(path: Path) -> ModelProto:
    """The trunk of a file, without the tuned branch that it may have.

    Raises:
        InputError: no ONNX file, or none of a trunk.
    """
    try:
        model = onnx.load(path)
    except (OSError, DecodeError) as error:
        raise InputError(got=f"{path}: {error}", expected="an ONNX file", fix="check the path") from error
    if len(model.graph.input) != 1:
        raise InputError(got=f"{path} with {len(model.graph.input)} inputs", expected="an ONNX file of a trunk")
    return without_branch(model)


def between(reads: Mapping[str, Sequence[str]], cut: Sequence[str], source: str, trunk: str) -> set[str]:
    """What has to be computed to get from the tensors of a cut to the feature.

    Args:
        reads: what each computed tensor is computed from.
        cut: names of the tensors that are given.
        source: the trunk's input.
        trunk: file of the trunk, for messages.

    Raises:
        InputError: a tensor is not there, or the feature cannot be computed from them alone.
    """
    missing = [name for name in (*cut, GOAL) if name not in reads]
    if missing:
        raise InputError(f"the trunk '{trunk}' without the tensors {missing}", f"one to be cut at {list(cut)}")
    found, ahead = set[str](), [GOAL]
    while ahead:
        name = ahead.pop()
        if name == source:
            raise InputError(f"the trunk '{trunk}' cut at {list(cut)}", "tensors from which the feature follows")
        if name in reads and name not in found and name not in cut:
            found.add(name)
            ahead.extend(reads[name])
    return found


def with_outputs(model: ModelProto, names: Sequence[str], trunk: str) -> ModelProto:
    """A trunk that also tells tensors from its inside.

    Raises:
        InputError: it has none of that name.
    """
    known = {output for node in model.graph.node for output in node.output}
    missing = [name for name in names if name not in known]
    if missing:
        raise InputError(f"the trunk '{trunk}' without the tensors {missing}", "names of tensors of the trunk")
    told = ModelProto()
    told.CopyFrom(model)
    told.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return told


def with_branch(
    model: ModelProto, cut: Sequence[str], weight: Callable[[str], Float[Array, "..."]], told: str, trunk: str
) -> ModelProto:
    """A trunk whose feature is [its own, that of a branch]: the steps after the cut again, with other weights.

    Args:
        model: a trunk without a branch.
        cut: where the branch begins.
        weight: the branch's weights by their names in the trunk; stored as :func:`in_steps` says.
        told: where they come from, kept in the file.
        trunk: file of the trunk, for messages.

    Raises:
        InputError: as :func:`between`.
    """
    grown = ModelProto()
    grown.CopyFrom(model)
    graph = grown.graph
    reads = {output: tuple(node.input) for node in graph.node for output in node.output}
    inside = between(reads, cut, graph.input[0].name, trunk)
    _rename(graph.node, GOAL, _FROZEN + GOAL)
    constants = {entry.name: entry for entry in model.graph.initializer}
    copies = []
    for node in model.graph.node:
        if not inside.isdisjoint(node.output):
            if node.op_type == "Cast" and node.input[0] in constants:
                frozen = numpy_helper.to_array(constants[node.input[0]]).astype(np.float32)
                copies += _changed(graph, node.output[0], weight(node.output[0]) - frozen)
                continue
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = _TUNED + node.name if node.name else ""
            copy.input[:] = [_TUNED + name if name in inside else name for name in copy.input]
            copy.output[:] = [_TUNED + name for name in copy.output]
            copies.append(copy)
    graph.node.extend(copies)
    return _joined(grown, _goal_length(model).dim_value, told)


def with_reader(model: ModelProto, cut: str, reader: ModelProto, length: int, told: str, trunk: str) -> ModelProto:
    """A trunk whose feature is [its own, what a reader tells of a tensor of its inside].

    Args:
        model: a trunk without a branch.
        cut: the tensor.
        reader: a model with one input and the output ``feature``, of the trunk's operator set.
        length: of what it tells.
        told: where its weights come from, kept in the file.
        trunk: file of the trunk, for messages.

    Raises:
        InputError: the trunk has no such tensor.
    """
    grown = with_outputs(model, [cut], trunk)
    grown.graph.output.pop()
    added = compose.add_prefix(reader, _TUNED).graph
    _rename(grown.graph.node, GOAL, _FROZEN + GOAL)
    _rename(added.node, added.input[0].name, cut)
    grown.graph.initializer.extend(added.initializer)
    grown.graph.node.extend(added.node)
    return _joined(grown, length, told)


def _joined(grown: ModelProto, length: int, told: str) -> ModelProto:
    """The two features as one."""
    goal = _goal_length(grown)
    grown.metadata_props.add(key=_TOLD, value=told)
    grown.metadata_props.add(key=_LENGTH, value=str(goal.dim_value))
    grown.graph.node.append(helper.make_node("Concat", [_FROZEN + GOAL, _TUNED + GOAL], [GOAL], axis=1))
    goal.dim_value += length
    onnx.checker.check_model(grown)
    return grown


def in_steps(difference: Float[Array, "n *rest"]) -> tuple[Int8[Array, "n *rest"], Float[Array, "n *ones"]]:
    """Differences of weights as whole numbers from -127 to 127 and the size of a step, for each row of the first axis.

    A tuned weight lies near the frozen one, so that a step is small; the weights themselves would lose far more.
    """
    largest = np.abs(difference).max(tuple(range(1, difference.ndim)), keepdims=True)
    step = np.maximum(largest, np.finfo(np.float32).tiny * 127) / 127
    return np.rint(difference / step).astype(np.int8), step.astype(np.float32)


def _changed(graph: GraphProto, name: str, difference: Float[Array, "..."]) -> list[NodeProto]:
    """Nodes that add a difference, which is put into the graph, to a frozen weight."""
    arrays = dict(zip((f"{_TUNED}{name}.count", f"{_TUNED}{name}.step"), in_steps(difference), strict=True))
    graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in arrays.items())
    count, step = arrays
    return [
        helper.make_node("Cast", [count], [f"{count}.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{count}.float", step], [f"{_TUNED}{name}.difference"]),
        helper.make_node("Add", [name, f"{_TUNED}{name}.difference"], [_TUNED + name]),
    ]


def without_branch(model: ModelProto) -> ModelProto:
    """The trunk as it was before :func:`with_branch`; one without a branch is returned as it is."""
    nodes = model.graph.node
    if not any(_FROZEN + GOAL in node.output for node in nodes):
        return model
    bare = ModelProto()
    bare.CopyFrom(model)
    del bare.graph.node[:], bare.graph.initializer[:], bare.metadata_props[:]
    bare.graph.node.extend(n for n in nodes if n.output[0] != GOAL and not n.output[0].startswith(_TUNED))
    bare.graph.initializer.extend(i for i in model.graph.initializer if not i.name.startswith(_TUNED))
    kept = {entry.key: entry.value for entry in model.metadata_props}
    goal = _goal_length(bare)
    goal.dim_value = int(kept.get(_LENGTH, goal.dim_value // 2))  # older files hold copies only, which tell as much
    bare.metadata_props.extend(entry for entry in model.metadata_props if entry.key not in (_TOLD, _LENGTH))
    _rename(bare.graph.node, _FROZEN + GOAL, GOAL)
    return bare


def _rename(nodes: Sequence[NodeProto], old: str, new: str) -> None:
    for node in nodes:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def _goal_length(model: ModelProto) -> onnx.TensorShapeProto.Dimension:
    (goal,) = (output for output in model.graph.output if output.name == GOAL)
    return goal.type.tensor_type.shape.dim[1]
