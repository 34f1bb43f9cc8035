"""Follow the people of a video from Python: `python examples/02_video.py [clip.mp4]` (needs the extra 'video').

`openexpose predict clip.mp4 --out out/` does all of this and more: it goes on where it was stopped, draws and exports.
"""

import sys
from pathlib import Path

import numpy as np

from openexpose.formats.animated_glb import write_animated_glb
from openexpose.image.read import read_image
from openexpose.image.video import open_video
from openexpose.image.video_writer import VideoWriter
from openexpose.motion import Clip, Motion, Track, joined
from openexpose.predict.bundle import fast_bundle
from openexpose.predict.pipeline import Predictor
from openexpose.predict.smoothing import smooth
from openexpose.predict.video import Follower, VideoConfig

path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("pan.mp4")
if len(sys.argv) == 1:  # no clip: the camera pans over the photo
    photo = read_image(Path(__file__).parent / "astronaut.jpg").pixels
    with VideoWriter(path, (480, 480), 25.0, None) as writer:
        for k in range(12):
            writer.write(photo[2 * k : 2 * k + 480, k : k + 480], k / 25)

source, predictor = open_video(path), Predictor.load(fast_bundle())
follower = Follower(predictor, source.image_size, VideoConfig())
times, seen = [], []
for frame in source.frames():
    found = predictor.detector(frame.pixels) if follower.wants_detection(frame.index) else None
    ids, people = follower(frame, found)
    times.append(frame.time_s)
    seen += [(int(number), frame.index, people[k : k + 1]) for k, number in enumerate(ids)]

clip = Clip(path.name, np.array(times), source.fps)
finals = follower.tracker.final(np.array([number for number, _, _ in seen], int)).tolist()
tracks = []
for number in sorted({number for number in finals if number}):
    rows = [row for row, final in zip(seen, finals, strict=True) if final == number]
    raw = Track(number, np.array([index for _, index, _ in rows]), joined([person for _, _, person in rows]))
    tracks.append(smooth(raw, clip, predictor.body_model))
    x, y, z = tracks[-1].people.transl[-1]
    print(f"person {number}: {len(raw.frames)} of {len(times)} frames, at last at ({x:+.2f}, {y:+.2f}, {z:.2f}) m")
write_animated_glb(Path("people.glb"), Motion(clip, tuple(tracks)), predictor.body_model)
