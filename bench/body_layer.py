"""How long do the body model's joints, keypoints and meshes take? One thread; minimum of several calls.

    python bench/body_layer.py

Prints a table in milliseconds and, as its last line, the same numbers as one JSON row. ``numpy`` is the runtime's
forward pass, ``torch`` the training layer's forward and ``backward`` its forward and backward together.
"""

import json
import os
import time
from collections.abc import Callable

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
import torch

from openexpose.body.mesh import joint_transforms, keypoints, posed_mesh
from openexpose.body.model import load_body_model
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.nets.body_layer import BodyLayer

PEOPLE = (1, 32, 256)
OUTPUTS = {"joints": joint_transforms, "keypoints": keypoints, "vertices": posed_mesh}


def milliseconds(call: Callable[[], object], seconds: float = 1.0, least: int = 3) -> float:
    """Fastest of the calls that fit into ``seconds``, at least ``least``, after one call to warm up."""
    call()
    durations, start = [], time.perf_counter()
    while len(durations) < least or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        call()
        durations.append(1e3 * (time.perf_counter() - before))
    return round(min(durations), 3)


def main() -> None:
    torch.set_num_threads(1)
    row: dict[str, float] = {"load": milliseconds(load_body_model)}
    print(f"load_body_model {row['load']:.0f} ms\n{'':10s} people    numpy    torch  backward")
    model, rng = load_body_model(), np.random.default_rng(0)
    layer = BodyLayer(model)
    for people in PEOPLE:
        pose = rotvec_to_matrix(0.3 * rng.normal(size=(people, 55, 3)))
        arrays = [a.astype(np.float32) for a in (pose, rng.normal(size=(people, 10)), rng.normal(size=(people, 20)))]
        tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
        for name, function in OUTPUTS.items():
            method = getattr(layer, name)
            with torch.no_grad():
                forward = milliseconds(lambda method=method, tensors=tensors: method(*tensors))
            backward = milliseconds(lambda method=method, tensors=tensors: method(*tensors).square().sum().backward())
            plain = milliseconds(lambda function=function, arrays=arrays: function(model, *arrays))
            print(f"{name:10s} {people:6d} {plain:8.2f} {forward:8.2f} {backward:9.2f}")
            row[f"{name}_{people}_numpy"] = plain
            row[f"{name}_{people}_torch"], row[f"{name}_{people}_backward"] = forward, backward
    print(json.dumps({"bench": "body_layer", "unit": "ms", **row}))


if __name__ == "__main__":
    main()
