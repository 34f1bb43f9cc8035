"""How long does a prediction take, stage by stage, and how much memory? One person, box given, warm, 1 and 2 threads.

    python bench/predict.py [--photo examples/astronaut.jpg] [--runs 15] [--bundle FOLDER]

Prints a table and then one JSON row. Without --bundle the packaged fast bundle (`openexpose predict --fast`) gets a
column, too. A trunk's time is that of all its looks: up to three, and
those at wider crops where the bundle asks for them. Each number of threads gets a fresh process, whose time from its
start to the first result (imports and loading included) is measured, too.
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


def measure(photo: Path, runs: int, threads: int, bundle: Path | None, started: float) -> dict:
    """Everything about one number of threads; ``started``: wall-clock time when this process was launched."""
    import numpy as np
    import psutil

    from openexpose.image.read import read_image
    from openexpose.predict.pipeline import Predictor

    predictor = Predictor.load(bundle, threads=threads)
    image = read_image(photo)
    whole = np.array([[0.0, 0.0, image.width, image.height]])
    predictor.keypoints(predictor(image.pixels, boxes=whole))
    first_result_s = time.time() - started

    found, detecting = None, []
    for _ in range(max(3, runs // 3)):
        found = predictor(image.pixels, attention=False)
        detecting.append(predictor.timings["detector"])
    boxes = found.bbox_xyxy[:1] if len(found) else whole
    stages, totals = [], []
    for _ in range(runs):
        begin = time.perf_counter()
        people = predictor(image.pixels, boxes=boxes)
        predictor.keypoints(people)
        totals.append(time.perf_counter() - begin)
        stages.append(dict(predictor.timings))
    stages = stages[1:] or stages
    process = psutil.Process()
    resident_mb = process.memory_info().rss / 2**20
    report = {f"{name}": median_ms([stage.get(name, 0.0) for stage in stages]) for name in stages[0]}
    report["everything, box given"] = median_ms(totals[1:] or totals)
    report["detector"] = median_ms(detecting[1:])
    report |= outputs(predictor, people, image, max(2, runs // 5))
    memory = {"first result, fresh process": first_result_s, "resident MB": resident_mb, "peak MB": peak_mb()}
    return {"ms": report, **memory}


def outputs(predictor, people, image, runs: int) -> dict[str, float]:
    """Milliseconds of the mesh, the overlay and each kind of file."""
    from openexpose.cli.prediction import overlay_jpeg
    from openexpose.formats.glb import write_glb
    from openexpose.formats.native import write_json, write_npz

    names = {"image_name": image.path.name, "focal_source": "default"}
    faces = predictor.body_model.faces
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        vertices, joints = predictor.mesh(people), predictor.keypoints(people)
        work = {
            "mesh": lambda: predictor.mesh(people),
            "overlay with side view, as JPEG": lambda: overlay_jpeg(image.pixels, people, vertices, faces),
            "writing JSON": lambda: write_json(out / "a.json", people, joints, **names),
            "writing npz": lambda: write_npz(out / "a.npz", people, **names),
            "writing GLB": lambda: write_glb(out / "a.glb", vertices, faces),
        }
        return {name: median_ms([timed(step) for _ in range(runs)]) for name, step in work.items()}


def timed(step) -> float:
    """Seconds of a call."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def median_ms(seconds: list[float]) -> float:
    """Median in milliseconds, to 0.1 ms."""
    return round(1000.0 * statistics.median(seconds), 1)


def peak_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def print_table(rows: dict[str, dict]) -> None:
    """One column a number of threads."""
    columns = list(rows)
    print(f"{'ms (median)':36}" + "".join(f"{name:>16}" for name in columns))
    for stage in rows[columns[0]]["ms"]:
        print(f"{stage:36}" + "".join(f"{rows[name]['ms'].get(stage, 0.0):16.1f}" for name in columns))
    for what in ("first result, fresh process", "resident MB", "peak MB"):
        unit = " (s)" if "first" in what else ""
        print(f"{what + unit:36}" + "".join(f"{rows[name][what]:16.2f}" for name in columns))


def main() -> None:
    """Measure in fresh processes and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, default=ROOT / "examples" / "astronaut.jpg")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--worker", nargs=2, type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        threads, started = options.worker
        print(json.dumps(measure(options.photo, options.runs, int(threads), options.bundle, started)))
        return
    rows = {}
    from openexpose.predict.bundle import fast_bundle

    for name, threads, bundle in (
        ("1 thread", 1, options.bundle),
        ("2 threads", 2, options.bundle),
        *([] if options.bundle else [("2 threads, fast", 2, fast_bundle())]),
    ):
        command = [sys.executable, __file__, "--photo", str(options.photo), "--runs", str(options.runs)]
        command += ["--bundle", str(bundle)] if bundle else []
        command += ["--worker", str(threads), repr(time.time())]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows[name] = json.loads(done.stdout)
    help_s = [
        timed(
            lambda: subprocess.run(
                [sys.executable, "-m", "openexpose.cli.main", "--help"], capture_output=True, check=True
            )
        )
        for _ in range(5)
    ]
    print_table(rows)
    print(f"{'openexpose --help':36}{median_ms(help_s):16.1f}")
    print(json.dumps({"bench": "predict", "photo": options.photo.name, "help_ms": median_ms(help_s), **rows}))


if __name__ == "__main__":
    main()
