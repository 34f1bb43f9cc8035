"""How fast are synthetic crops made? CPU milliseconds a crop, one thread: python bench/render.py [count]"""

import json
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2

from openexpose.synth.dataset import sample_people
from openexpose.synth.person import build_stage


def main(count: int) -> None:
    """Print a table and a JSON row."""
    cv2.setNumThreads(1)
    stage, row = build_stage(), {}
    for kind in ("body", "hands", "faces"):
        people = sample_people(kind, 0, 0, stage)
        for _ in range(2):
            next(people)
        start = time.process_time()
        for _ in range(count):
            next(people)
        row[kind] = 1000 * (time.process_time() - start) / count
        print(f"{kind:6s} {row[kind]:6.1f} ms a crop  {1000 / row[kind]:5.1f} crops a second and core")
    print(json.dumps({f"{kind}_ms": round(value, 1) for kind, value in row.items()}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
