"""How fast are exact distances from a surface? Seconds a mesh, one thread: python bench/closest.py [repetitions]

Every candidate builds its index over one posed body and asks for the distance of every vertex of another: a posed body
nearby (what P2S and scans do), and the same one metre away. trimesh and libigl are measured where they are installed.
"""

import json
import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("IGL_NUM_THREADS", "1")

import numpy as np

from openexpose.body.mesh import posed_mesh
from openexpose.body.model import load_body_model
from openexpose.fitting.closest import SurfaceIndex
from openexpose.geometry.rotation import rotvec_to_matrix

Candidate = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
SMPLX_VERTICES = 10475


def main(repetitions: int) -> None:
    """Print a table and a JSON row."""
    first, second, faces = two_people()
    row: dict[str, float] = {}
    for size, kept in (("freebody", len(first)), ("smplx-size", SMPLX_VERTICES)):
        used = faces[(faces < kept).all(1)]
        for where, offset in (("near", 0.0), ("1 m away", 1.0)):
            points, truth = first[:kept] + [0.0, 0.0, offset], None
            for name, candidate in candidates().items():
                best = np.inf
                for _ in range(repetitions if offset == 0.0 else 1):
                    start = time.perf_counter()
                    distances = candidate(second[:kept], used, points)
                    best = min(best, time.perf_counter() - start)
                truth = distances if truth is None else truth
                difference = np.abs(distances - truth).max()
                print(
                    f"{size:10s} {kept:6d} vertices {len(used):6d} faces  {where:8s}  {name:10s} {best:7.3f} s a mesh  "
                    f"differs by {difference:.1e} m"
                )
                row[f"{size} {where} {name}"] = round(best, 3)
    print(json.dumps(row))


def two_people() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices of two people in slightly different poses, centimetres apart, and their faces."""
    model, rng = load_body_model(), np.random.default_rng(0)
    turns = rng.normal(0.0, 0.2, (2, 55, 3))
    turns[1] = turns[0] + rng.normal(0.0, 0.04, (55, 3))
    betas = np.stack([np.zeros(10), rng.normal(0.0, 0.5, 10)])
    mesh = posed_mesh(model, rotvec_to_matrix(turns).astype(np.float32), betas, np.zeros((2, model.num_expression)))
    return *mesh.vertices.astype(float), model.faces


def candidates() -> dict[str, Candidate]:
    """Name to function (vertices, faces, points) -> distances."""
    known: dict[str, Candidate] = {"own": lambda v, f, p: SurfaceIndex(v, f).distances(p)}
    try:
        import igl

        known["libigl"] = lambda v, f, p: np.sqrt(igl.point_mesh_squared_distance(p, v, f.astype(np.int64))[0])
    except ImportError:
        pass
    try:
        import rtree  # noqa: F401  (trimesh.proximity needs it)
        import trimesh

        known["trimesh"] = lambda v, f, p: trimesh.proximity.closest_point(trimesh.Trimesh(v, f, process=False), p)[1]
    except ImportError:
        pass
    return known


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
