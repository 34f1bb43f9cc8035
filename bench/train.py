"""How many pictures a second does training take in, stage by stage, in the paper's sizes? Forward, backward, update.

    python bench/train.py [--threads 2] [--steps 5] [--small]

Random weights and pictures rendered for it: time does not depend on what they show. Preparation of data (decoding,
crops, augmentation) is timed apart, because worker processes do it beside the steps. Prints a table and one JSON row.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import psutil
import torch

from openexpose.nets.paper import PAPER_TRUNKS, PaperPartConfig, build_paper_part, save_paper_part
from openexpose.synth.dataset import SynthJob, synth
from openexpose.training.recipes import DEFAULTS, DataSet, TrainConfig, _completed, _task

SMALL = "resnet18_w16"
BATCH = {"body": 8, "hand": 16, "face": 16, "joint": 4}


def measure(stage: str, data: Path, weights: Path, steps: int, small: bool) -> dict[str, float]:
    """Median seconds of a step and of making its batch, as pictures a second; the parts' batches count in ``joint``."""
    trunk = SMALL if small and stage != "joint" else None
    config = TrainConfig(stage, (DataSet("synthetic", data),), data / "run", "paper", batch=BATCH[stage], trunk=trunk)
    if stage == "joint":
        config = TrainConfig(stage, config.data, config.out, "paper", batch=4, part_batch=8, weights=weights)
    task, _ = _task(_completed(config))
    optimiser = task.optimiser()
    task.module.train()
    making, stepping, pictures = [], [], 0
    for step in range(steps + 1):
        begin = time.perf_counter()
        batch = task.batch(step, 0, 1)
        pictures = len(batch.names)
        middle = time.perf_counter()
        optimiser.zero_grad()
        torch.stack([term.value for term in task.module(batch).values()]).sum().backward()
        optimiser.step()
        making.append(middle - begin)
        stepping.append(time.perf_counter() - middle)
    return {
        "images": pictures,
        "images_per_s": pictures / statistics.median(stepping[1:]),
        "preparation_images_per_s": pictures / statistics.median(making[1:]),
        "resident_mb": psutil.Process().memory_info().rss / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="the narrow trunk of runs/tiny.sh instead of the paper's")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report = {}
    with tempfile.TemporaryDirectory() as folder:
        data, weights = Path(folder) / "shards", Path(folder) / "weights"
        for kind in ("people", "hands", "faces"):
            list(synth(SynthJob(kind, 12, seed=9), data))
        for part in PAPER_TRUNKS:
            trunk = SMALL if arguments.small else PAPER_TRUNKS[part]
            save_paper_part(weights / f"{part}.pt", build_paper_part(part, trunk), PaperPartConfig(part, trunk), {})
        for stage in ("body", "hand", "face", "joint"):
            report[stage] = measure(stage, data, weights, arguments.steps, arguments.small)
            shown = report[stage]
            print(
                f"{stage:6s} {shown['images_per_s']:7.1f} images/s ({shown['images']} a step), preparation "
                f"{shown['preparation_images_per_s']:6.1f} images/s on one core, {shown['resident_mb']:6.0f} MB",
                flush=True,
            )
    recipe = {stage: DEFAULTS["paper", stage].batch for stage in report}
    print(json.dumps({"threads": arguments.threads, "small": arguments.small, "recipe_batch": recipe, **report}))


if __name__ == "__main__":
    main()
