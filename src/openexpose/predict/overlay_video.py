"""The video with the people drawn over it: a second pass through the clip. Colours stay with the people."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from openexpose.image.frames import Frame, VideoSource
from openexpose.image.video_writer import VideoWriter
from openexpose.people import People
from openexpose.predict.ahead import ahead
from openexpose.predict.finish import FinishedPeople
from openexpose.predict.pipeline import Predictor
from openexpose.render.overlay import render_overlay

Array = np.ndarray

_AHEAD = 3


def write_overlay(
    path: Path,
    source: VideoSource,
    finished: FinishedPeople,
    predictor: Predictor,
    sound: Path | None,
    written: Callable[[], Any] = lambda: None,
) -> str | None:
    """Write the clip with its people drawn over it.

    Decoding, drawing and encoding work at the same time on different frames.

    Args:
        path: the video to make.
        source: the clip.
        finished: its people.
        predictor: makes meshes.
        sound: the file whose sound is copied; None: silent.
        written: called after each frame.

    Returns:
        What could not be kept, or None.

    Raises:
        InputError: the file cannot be written.
    """

    def drawn(frame: Frame) -> Frame:
        ids, people = finished.at(frame.index)
        return Frame(frame.index, frame.time_s, draw(frame.pixels, people, predictor, ids))

    sound = sound if source.has_audio else None
    with (
        VideoWriter(path, source.image_size, source.fps, sound) as writer,
        ahead(source.frames(), _AHEAD) as frames,
        ahead(map(drawn, frames), _AHEAD) as pictures,
    ):
        for frame in pictures:
            writer.write(frame.pixels, frame.time_s)
            written()
    return writer.warning


def draw(pixels: UInt8[Array, "h w 3"], people: People, predictor: Predictor, ids: Array) -> UInt8[Array, "h w 3"]:
    """A frame with people drawn over it, each in the colour of their number (from 1)."""
    if not len(people):
        return pixels
    camera = (people.focal_px, float(people.principal_px[0]), float(people.principal_px[1]))
    return render_overlay(pixels, predictor.mesh(people), predictor.body_model.faces, camera, numbers=ids - 1, fine=1)
