"""How fast and exact is the transfer between body models? python bench/transfer.py [FRAMES [FROM TO]]

Seconds a frame (wall clock and processor time, one thread, batches of 16), distance of the fit and of the way there and
back, on ordinary random poses: the free body to itself, a shape for each frame and one shape for all; and, where model
files are given, between these (registration is measured apart).
"""

import json
import os
import sys
import time
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from openexpose.fitting.models import SkinnedModel, load_model
from openexpose.fitting.transfer import find_correspondence, round_trip, transfer
from openexpose.fitting.transfer_skin import Parameters
from openexpose.geometry.rotation import rotvec_to_matrix


def main(frames: int, names: list[str]) -> None:
    """Print a table and a JSON row."""
    row: dict[str, float] = {}
    body = load_model("freebody")
    measure("freebody to freebody", body, body, frames, False, row)
    measure("freebody to freebody, one shape", body, body, frames, True, row)
    if len(names) == 2:
        one, other = map(load_model, names)
        measure(f"{one.name} to {other.name}", one, other, frames, False, row)
        measure(f"{other.name} to {one.name}", other, one, frames, False, row)
    print(json.dumps(row))


def measure(
    name: str, source: SkinnedModel, target: SkinnedModel, frames: int, one_shape: bool, row: dict[str, float]
) -> None:
    """Transfer random poses and print what it took."""
    start = time.perf_counter()
    way = find_correspondence(source, target)
    registering = time.perf_counter() - start
    given = poses(source, target, frames)
    if one_shape:
        given = replace(given, betas=np.tile(given.betas[:1], (frames, 1)))
    busy = time.process_time()
    done = transfer(source, target, given, way, one_shape=one_shape)
    busy = (time.process_time() - busy) / frames
    back = round_trip(source, target, given, done.parameters, way)
    print(
        f"{name:40s} {frames:4d} frames  {done.seconds / frames:.3f} s a frame ({busy:.3f} s of the processor)  "
        f"fit {done.fit.mean_mm:.4f} mm mean {done.fit.max_mm:6.2f} max  "
        f"there and back {back.mean_mm:.4f} mean {back.max_mm:6.2f} max  correspondence {registering:.1f} s"
    )
    row |= {f"{name} s": round(busy, 4), f"{name} fit mm": round(done.fit.mean_mm, 4)}
    row[f"{name} back mm"] = round(back.mean_mm, 4)


def poses(source: SkinnedModel, target: SkinnedModel, frames: int) -> Parameters:
    """Random turns of 15 degrees, the trunk's and the face's less, of the joints that both models have; shapes of
    standard deviation 1."""
    rng = np.random.default_rng(0)
    turns = rng.normal(0.0, 0.26, (frames, source.num_joints, 3))
    turns[:, np.isin(source.joints, [3, 6, 9, 12, 13, 14, 15, 22, 23, 24])] *= 0.4
    turns[:, np.isin(source.joints, [18, 19]), 0] *= 0.3  # forearms hardly turn at the elbow
    turns[:, ~np.isin(source.joints, target.joints)] = 0.0
    turns[:, 0] = rng.normal(0.0, 1.0, (frames, 3))
    expression = rng.normal(0.0, 1.0, (frames, source.num_expression)) * bool(target.num_expression)
    betas = rng.normal(0.0, 1.0, (frames, source.num_betas))
    return Parameters(rotvec_to_matrix(turns), betas, expression, rng.normal(0.0, 1.0, (frames, 3)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 32, sys.argv[2:])
