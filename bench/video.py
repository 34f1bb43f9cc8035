"""How fast are clips predicted, stage by stage, and does the memory stay flat? 720p, 1, 3 and 6 people, `--fast`.

    python bench/video.py [--people 1 3 6] [--frames 150] [--threads 2] [--overlay] [--default] [--clips FOLDER]
    python bench/video.py --memory --frames 10000 [--people 1]

Makes its own clips: rendered people who stand side by side, whole, and gesture (needs the packages of `train`; kept in
--clips for the next time). `--clip FILE` measures another one. Each clip gets a fresh process. Prints a table and then
one JSON row: frames/s from the open file to the finished journal, milliseconds of each stage a frame (stages run at the
same time: their sum is more than the frame's share of the clock), crops that each network looked at a person and
frame, and the last step. --memory: a clip of 640 x 360 pixels, and the resident memory all along it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SIZE, SMALL = (1280, 720), (640, 360)
SCENES = {1: (3.2, 2), 3: (3.8, 1), 6: (5.2, 2)}
"""By the number of people: how far they stand, metres; a seed with nothing like a person behind them."""
APART_M = 1.2
FPS, RENDERED = 30, 120
"""Longer clips than ``RENDERED`` frames go to and fro."""


def make_clip(path: Path, people: int, frames: int, size: tuple[int, int]) -> None:
    """A clip of people who stand side by side and gesture."""
    import av

    from openexpose.synth.person import build_stage
    from openexpose.synth.sequence_render import shoot

    stage = build_stage()
    film = _film(stage, people, min(frames, RENDERED), size)
    rendered = [shoot(stage, film, k, k)[0] for k in range(min(frames, RENDERED))]
    there_and_back = rendered + rendered[-2:0:-1]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        for k in range(frames):
            image = there_and_back[k % len(there_and_back)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def _film(stage: Any, people: int, frames: int, size: tuple[int, int]) -> Any:
    """Cast, camera, place and motion of a clip."""
    import numpy as np

    from openexpose.synth.camera import Camera, look_from
    from openexpose.synth.sequence_cast import sample_character
    from openexpose.synth.sequence_motion import animate
    from openexpose.synth.sequence_plan import Plan
    from openexpose.synth.sequence_render import Film
    from openexpose.synth.sequence_script import Part, yaw_to
    from openexpose.synth.surroundings import sample_surroundings

    depth, seed = SCENES[people]
    rng = np.random.default_rng([people, seed])
    eye, times = np.array([0.0, 1.4, 0.0]), np.arange(frames) / FPS
    camera = Camera(look_from(eye, np.array([0.0, 0.9, -depth])), eye, 0.65 * size[0], *size)
    cast, motions = [], []
    for k in range(people):
        x = (k - (people - 1) / 2) * APART_M
        part = Part(x, -depth, yaw_to(x, -depth) + rng.normal(0, 0.3))
        part.wait(times[-1] + 2)
        cast.append(sample_character(rng, stage))
        motions.append(animate(rng, stage, cast[-1], part.script(talks=True), times))
    around = sample_surroundings(rng, stage, camera)
    while around.name == "none":  # a room of chance has no floor
        around = sample_surroundings(rng, stage, camera)
    return Film(Plan(camera, (), ()), around, tuple(cast), tuple(motions), 1.0)


class Measured:
    """What one process measures of a clip."""

    def __init__(self, options: argparse.Namespace) -> None:
        import psutil

        from openexpose.predict.bundle import fast_bundle
        from openexpose.predict.pipeline import Predictor

        self.process = psutil.Process()
        self.predictor = Predictor.load(None if options.default else fast_bundle(), threads=options.threads)
        self.seconds: dict[str, float] = {}
        self.looks: dict[str, int] = {}
        self.people = 0
        self.memory_mb: list[float] = []
        self._watch()

    def _watch(self) -> None:
        """Add up timings and crops of every call."""
        from openexpose.predict import looks

        predict, look = self.predictor._predict, looks.Looker.look

        def timed(*arguments):
            people = predict(*arguments)
            for name, seconds in self.predictor.timings.items():
                self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            return people

        def counted(looker, crop):
            name = looker.runner.spec.name
            self.looks[name] = self.looks.get(name, 0) + len(crop.side_px)
            return look(looker, crop)

        self.predictor._predict, looks.Looker.look = timed, counted
        detector = self.predictor.detector

        def detect(pixels):
            begin = time.perf_counter()
            found = detector(pixels)
            self.seconds["detector"] = self.seconds.get("detector", 0.0) + time.perf_counter() - begin
            return found

        self.predictor.__dict__["detector"] = detect

    def run(self, clip: Path, overlay: bool) -> dict:
        """Predict the clip into a journal, then the last step."""
        from openexpose.image.video import open_video
        from openexpose.predict.finish import Finish, FinishedPeople, clip_of, finished_tracks
        from openexpose.predict.journal import Journal
        from openexpose.predict.overlay_video import write_overlay
        from openexpose.predict.video import Follower, VideoConfig, example_of, predict_clip

        source = open_video(clip)
        example = example_of(self.predictor, source.image_size, None)
        with tempfile.TemporaryDirectory() as folder:
            journal, _ = Journal.open(Path(folder) / "journal", {}, example)
            follower = Follower(self.predictor, source.image_size, VideoConfig())
            self.seconds.clear()
            begin, processor = time.perf_counter(), time.process_time()
            predict_clip(source, journal, follower, self.seen)
            wall, processor = time.perf_counter() - begin, time.process_time() - processor
            begin = time.perf_counter()
            finished = FinishedPeople(Path(folder) / "finished.bin", example)
            tracks = finished_tracks(
                journal, clip_of(journal, clip.name, source.fps), follower.tracker.final,
                self.predictor.body_model, Finish(),
            )  # fmt: skip
            count = 0
            for track in tracks:
                finished.add(track)
                count += 1
            last_step = time.perf_counter() - begin
            report = self.report(journal.frames, wall, processor) | {
                "tracks": count,
                "last step s": round(last_step, 2),
            }
            if overlay:
                begin = time.perf_counter()
                write_overlay(Path(folder) / "overlay.mp4", source, finished, self.predictor, None)
                report["overlay frames/s"] = round(journal.frames / (time.perf_counter() - begin), 2)
            return report

    def seen(self, people: int) -> None:
        """Count people, and look at the memory."""
        if len(self.memory_mb) % 1000 == 999:
            print(f"frame {len(self.memory_mb) + 1}: {self.memory_mb[-1]:.0f} MB", file=sys.stderr, flush=True)
        self.people += people
        self.memory_mb.append(self.process.memory_info().rss / 2**20)

    def report(self, frames: int, wall: float, processor: float) -> dict:
        """Rates and shares."""
        memory = self.memory_mb
        marks = sorted({min(len(memory) - 1, k) for k in (30, *(len(memory) * n // 10 for n in range(1, 11)))})
        return {
            "frames": frames,
            "people a frame": round(self.people / frames, 2),
            "frames/s": round(frames / wall, 2),
            "processor ms a frame": round(1e3 * processor / frames, 1),
            "ms a frame": {name: round(1e3 * seconds / frames, 1) for name, seconds in sorted(self.seconds.items())},
            "crops a person": {name: round(n / max(1, self.people), 2) for name, n in sorted(self.looks.items())},
            "resident MB": {str(k): round(memory[k]) for k in marks},
        }


def print_table(rows: dict[str, dict]) -> None:
    """One column a clip."""
    print(f"{'':28}" + "".join(f"{name:>14}" for name in rows))
    first = next(iter(rows.values()))
    for name, value in first.items():
        if isinstance(value, dict) and name != "resident MB":
            keys = sorted({key for row in rows.values() for key in row[name]})
            for key in keys:
                print(f"{name + ': ' + key:28}" + "".join(f"{row[name].get(key, 0.0):14}" for row in rows.values()))
        elif not isinstance(value, dict):
            print(f"{name:28}" + "".join(f"{row.get(name, 0.0):14}" for row in rows.values()))
    for name, row in rows.items():
        print(f"resident MB, {name}: " + ", ".join(f"frame {k}: {v}" for k, v in row["resident MB"].items()))


def main() -> None:
    """Make the clips, measure each in a fresh process, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", choices=sorted(SCENES), default=None)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--overlay", action="store_true")
    parser.add_argument("--default", action="store_true", help="the default bundle instead of the fast one")
    parser.add_argument("--memory", action="store_true", help="one person only, unless --people says otherwise")
    parser.add_argument("--clip", type=Path, default=None)
    parser.add_argument("--clips", type=Path, default=None, help="folder where the rendered clips are kept")
    parser.add_argument("--worker", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(Measured(options).run(options.worker, options.overlay)))
        return
    size = SMALL if options.memory else SIZE
    rows: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        for people in options.people or ([1] if options.memory else sorted(SCENES)):
            clip = options.clip or (options.clips or Path(folder)) / f"{people}_{options.frames}_{size[1]}p.mp4"
            if not clip.exists():
                clip.parent.mkdir(parents=True, exist_ok=True)
                make_clip(clip, people, options.frames, size)
            command = [sys.executable, __file__, "--worker", str(clip), "--threads", str(options.threads)]
            command += ["--overlay"] * options.overlay + ["--default"] * options.default
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            name = clip.name if options.clip else f"{people} people" if people > 1 else "1 person"
            rows[name] = json.loads(done.stdout)
            if options.clip:
                break
    print_table(rows)
    about = {"threads": options.threads, "bundle": "default" if options.default else "fast"}
    print(json.dumps({"bench": "video", **({} if options.clip else {"size": size}), **about, **rows}))


if __name__ == "__main__":
    main()
