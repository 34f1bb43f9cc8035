"""How fast are synthetic photos made? CPU milliseconds a photo, one thread: python bench/render.py [count]

Stages: pose (bodies, hands, faces, meshes), wear (clothes, hair, skin, things held), draw (the renderer), place (light
and background), label, faults (of cameras); the rest is choosing cameras and company.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from openexpose.synth import closeup, company, crowd, photograph
from openexpose.synth.person import build_stage
from openexpose.synth.scene import sample_photo

_STAGES = {
    "pose": ((closeup, "sample_figure"), (company, "sample_figure"), (crowd, "sample_figure")),
    "wear": ((closeup, "dress"), (company, "dress"), (crowd, "dress")),
    "draw": ((photograph, "draw"),),
    "place": ((photograph, "sample_surroundings"),),
    "label": ((photograph, "subject"),),
    "faults": ((photograph, "degrade"),),
}
_KINDS = ("body", "hands", "faces", "people")
spent = dict.fromkeys(_STAGES, 0.0)


def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its CPU time added to its stage's."""

    def call(*args: Any, **names: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args, **names)
        finally:
            spent[stage] += time.process_time() - start

    return call


def main(count: int) -> None:
    """Print a table and a JSON row."""
    cv2.setNumThreads(1)
    for name, places in _STAGES.items():
        for module, function in places:
            setattr(module, function, timed(name, getattr(module, function)))
    stage, row = build_stage(), {}
    print("kind    ms a photo  photos a second and core  " + "  ".join(f"{name:>6s}" for name in _STAGES) + "    rest")
    for kind in _KINDS:
        for k in range(3):
            sample_photo(kind, np.random.default_rng([0, k]), stage)
        spent.update(dict.fromkeys(_STAGES, 0.0))
        start = time.process_time()
        for k in range(count):
            sample_photo(kind, np.random.default_rng([1, k]), stage)
        all_ms = 1000 * (time.process_time() - start) / count
        parts = [1000 * value / count for value in spent.values()]
        row[kind] = all_ms
        shown = "  ".join(f"{part:6.1f}" for part in [*parts, all_ms - sum(parts)])
        print(f"{kind:6s} {all_ms:11.1f} {1000 / all_ms:25.1f}  {shown}")
    print(json.dumps({f"{kind}_ms": round(value, 1) for kind, value in row.items()}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
