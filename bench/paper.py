"""How long do the paper's networks take for one person, and how much memory: in torch and as a bundle in onnxruntime?

    python bench/paper.py [--photo examples/astronaut.jpg] [--runs 15] [--threads 2] [--bundle FOLDER]

HRNet-W48 for the body and ResNet18 for both hands and the face, crops and mesh included; the box is given; warmed up;
medians. The weights are random, as time does not depend on them, and the answers the mean pose, so that the crops are
those of a person; --bundle takes an imported bundle for the second column instead. Each runtime gets a fresh process.
Prints a table and then one JSON row.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ORIGINAL_S = 0.63
"""Seconds a person of the original program, crops and both body-model passes included, warmed up: measured once on the
same class of machine (2 virtual cores, torch with 2 threads, the released network's layout with made-up weights)."""
EVERYTHING = "one person, with mesh"


def random_parts():
    """The paper's networks, their answers the mean; activations neither vanish nor overflow, which would cost time."""
    import torch
    from torch import nn

    from openexpose.nets.paper import build_paper_part

    torch.manual_seed(0)
    parts = {}
    for name in ("body", "hand", "face"):
        net = build_paper_part(name)
        for module in net.trunk.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.running_var, 2.0)
        nn.init.zeros_(net.regressor.output_layer.weight)
        parts[name] = net.eval()
    return parts


def write_random_bundle(folder: Path) -> None:
    """The same as a bundle, with the packaged free body."""
    from openexpose.nets.paper import PAPER_PARTS
    from openexpose.nets.part_export import export_plain_part, write_bundle
    from openexpose.predict.bundle import BundleConfig

    parts = random_parts()
    config = BundleConfig("random", "freebody", PAPER_PARTS, None, {}, recipe="paper", weak_camera=True)

    def fill(place: Path) -> None:
        for name, net in parts.items():
            export_plain_part(net, PAPER_PARTS[name].size, place, "random weights")

    write_bundle(folder, config, {name: net.regressor.mean for name, net in parts.items()}, fill)


def bench_torch(pixels, runs: int, threads: int) -> dict[str, float]:
    """Milliseconds of the whole-body network in torch."""
    import numpy as np
    import torch

    from openexpose.body.model import load_body_model
    from openexpose.nets.merge import PinholeCamera
    from openexpose.nets.paper import build_paper_whole

    torch.set_num_threads(threads)
    height, width = pixels.shape[:2]
    net = build_paper_whole(random_parts(), load_body_model(num_betas=10, num_expression=10)).eval()
    box = torch.tensor([[0.0, 0.0, width, height]])
    camera = PinholeCamera(torch.tensor([1000.0]), torch.tensor([[width / 2, height / 2]]), weak=True)
    times: dict[str, list[float]] = {"one person": [], EVERYTHING: []}
    with torch.inference_mode():
        for _ in range(runs + 2):
            begin = time.perf_counter()
            picture = torch.from_numpy(pixels.astype(np.float32) / 255.0).permute(2, 0, 1)[None]
            whole = net(picture, box, camera)
            times["one person"].append(time.perf_counter() - begin)
            net.layer.keypoints(whole.pose, whole.betas, whole.expression)
            net.layer.vertices(whole.pose, whole.betas, whole.expression)
            times[EVERYTHING].append(time.perf_counter() - begin)
    if not torch.isfinite(whole.answers["body"].seen.feature).all():
        raise SystemExit("the random network overflows")
    return {name: median_ms(seconds[2:]) for name, seconds in times.items()}


def bench_onnx(pixels, runs: int, threads: int, bundle: Path) -> dict[str, float]:
    """Milliseconds of the runtime on a bundle, and of its stages."""
    import numpy as np

    from openexpose.predict.pipeline import Predictor

    predictor = Predictor.load(bundle, threads=threads)
    box = np.array([[0.0, 0.0, pixels.shape[1], pixels.shape[0]]])
    times: dict[str, list[float]] = {"one person": [], EVERYTHING: []}
    stages = []
    for _ in range(runs + 2):
        begin = time.perf_counter()
        people = predictor(pixels, boxes=box)
        times["one person"].append(time.perf_counter() - begin)
        stages.append(dict(predictor.timings))
        predictor.keypoints(people)
        predictor.mesh(people)
        times[EVERYTHING].append(time.perf_counter() - begin)
    report = {name: median_ms(seconds[2:]) for name, seconds in times.items()}
    return report | {f"  {name}": median_ms([stage[name] for stage in stages[2:]]) for name in stages[-1]}


def median_ms(seconds: list[float]) -> float:
    """Median in milliseconds, to 0.1 ms."""
    return round(1000.0 * statistics.median(seconds), 1)


def peak_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def work(options: argparse.Namespace) -> None:
    """What a fresh process does."""
    if options.worker == "make":
        write_random_bundle(options.bundle)
        return
    from openexpose.image.read import read_image

    pixels = read_image(options.photo).pixels
    if options.worker == "torch":
        times = bench_torch(pixels, options.runs, options.threads)
    else:
        times = bench_onnx(pixels, options.runs, options.threads, options.bundle)
    print(json.dumps({"ms": times, "peak MB": peak_mb()}))


def start(worker: str, options: argparse.Namespace, bundle: Path) -> str:
    """Run a worker; what it printed."""
    command = [sys.executable, __file__, "--worker", worker, "--photo", str(options.photo), "--bundle", str(bundle)]
    command += ["--runs", str(options.runs), "--threads", str(options.threads)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def print_table(rows: dict[str, dict], threads: int) -> None:
    """One column a runtime."""
    print(f"{f'ms (median), {threads} threads':28}" + "".join(f"{name:>14}" for name in rows) + f"{'original':>14}")
    for stage in max((row["ms"] for row in rows.values()), key=len):
        cells = [f"{row['ms'][stage]:14.1f}" if stage in row["ms"] else f"{'':14}" for row in rows.values()]
        print(f"{stage:28}" + "".join(cells) + (f"{1000 * ORIGINAL_S:14.1f}" if stage == EVERYTHING else ""))
    print(f"{'peak MB':28}" + "".join(f"{row['peak MB']:14.1f}" for row in rows.values()))


def main() -> None:
    """Measure in fresh processes and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, default=ROOT / "examples" / "astronaut.jpg")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--worker", choices=("make", "torch", "onnx"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or Path(folder)
        if options.bundle is None:
            start("make", options, bundle)
        rows = {worker: json.loads(start(worker, options, bundle)) for worker in ("torch", "onnx")}
    print_table(rows, options.threads)
    row = {"bench": "paper", "photo": options.photo.name, "threads": options.threads, "original_s": ORIGINAL_S, **rows}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
