"""Prediction of clips: who is in each frame, written to a journal frame by frame.

decoding ──► detector (one frame in three) ──► tracker: whom to look at, and where
                                                   │
     where to look in the next frame ◄──┐          ▼
                                        └── body, hands, face ──► tracker: who they are ──► journal

Decoding, the detector and the networks work at the same time on different frames; what comes out does not depend on
which of them is quicker.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from openexpose.errors import InputError
from openexpose.geometry.camera import project_perspective
from openexpose.image.frames import Frame, VideoSource
from openexpose.people import People
from openexpose.predict.ahead import ahead
from openexpose.predict.detector import Detections
from openexpose.predict.follow import SURE, Aims, unknown
from openexpose.predict.journal import Journal
from openexpose.predict.pipeline import Predictor
from openexpose.predict.tracking import Candidates, Tracker

Array = np.ndarray

FRAMES_AHEAD = 3
"""Frames that wait between decoding, the detector and the networks: bounds the memory."""


@dataclass(frozen=True)
class VideoConfig:
    """How a clip is predicted."""

    detect_every: int = 3
    """The detector looks at every so many frames, and wherever nobody is followed."""
    focal_px: float | None = None
    """Focal length, the same in all frames, pixels; None: the picture's diagonal."""
    attention: bool = True
    refinement: bool = True

    def __post_init__(self) -> None:
        if self.detect_every < 1:
            raise InputError(f"a detector that looks at every {self.detect_every}th frame", "1 or more")


class Follower:
    """Predicts the people of one clip, frame by frame, and says who is who.

    Args:
        predictor: what finds bodies.
        image_size: width and height of the frames, pixels.
        config: how.
    """

    def __init__(self, predictor: Predictor, image_size: tuple[int, int], config: VideoConfig) -> None:
        self.predictor, self.config = predictor, config
        self.tracker = Tracker(image_size)
        self._ids, self._aims = np.zeros(0, int), unknown(0)

    def wants_detection(self, index: int) -> bool:
        """Whether the detector looks at a frame, whoever is followed."""
        return index % self.config.detect_every == 0

    def __call__(self, frame: Frame, found: Detections | None) -> tuple[Int[Array, "n"], People]:
        """Predict the next frame.

        Args:
            frame: numbers and times ascend.
            found: what the detector found in it; None: it did not look. Where nobody is followed it looks now.

        Returns:
            Tracks, ascending, and the people.
        """
        if found is None and not len(self.tracker.following):
            found = self.predictor.detector(frame.pixels)
        candidates = self.tracker.look_at(frame.index, frame.time_s, found)
        boxes = np.asarray(candidates.boxes_xyxy_px, float).reshape(-1, 4)
        people, aims = self.predictor.follow(
            frame.pixels,
            boxes,
            self._aims_of(candidates),
            focal_px=self.config.focal_px,
            attention=self.config.attention,
            refinement=self.config.refinement,
        )
        people = replace(people, score=np.asarray(candidates.score, float))
        points_px = project_perspective(self.predictor.keypoints(people), people.focal_px, people.principal_px)
        ids = self.tracker.accept(frame.index, frame.time_s, candidates, people, points_px, frame.pixels)
        rows = np.flatnonzero(ids > 0)
        rows = rows[np.argsort(ids[rows], kind="stable")]
        self._ids, self._aims = ids[rows], aims[rows]
        return self._ids, _inside(people[rows])

    def state(self) -> dict[str, Array]:
        """Everything that the next frame depends on, as plain arrays."""
        own = {"ids": self._ids, "crops": self._aims.crops, "anchors_px": self._aims.anchors_px}
        own["presence"] = self._aims.presence
        tracker = {f"tracker.{name}": array for name, array in self.tracker.state().items()}
        return tracker | {f"follower.{name}": array for name, array in own.items()}

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from a :meth:`state`; an empty one is the beginning.

        Raises:
            InputError: the state lacks something.
        """
        if not state:
            return
        try:
            self._ids = state["follower.ids"]
            self._aims = Aims(*(state[f"follower.{name}"] for name in ("crops", "anchors_px", "presence")))
        except KeyError as error:
            raise InputError(f"a state without {error}", "what Follower.state() gave") from None
        prefix = "tracker."
        self.tracker.restore({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})

    def _aims_of(self, candidates: Candidates) -> Aims:
        """Where to look at the candidates: at those who are followed where the last frame says.

        Where the detector looked, people of whom little is seen are looked at from all sides again.
        """
        aims = unknown(len(candidates))
        for row, number in enumerate(candidates.id):
            (known,) = np.flatnonzero(self._ids == number)[:1].tolist() or (None,)
            if known is None or not candidates.followed[row]:
                continue
            if candidates.searched and self._aims.presence[known] < SURE:
                continue
            aims.crops[row] = self._aims.crops[known]
            aims.anchors_px[row] = self._aims.anchors_px[known]
            aims.presence[row] = self._aims.presence[known]
        return aims


def predict_clip(
    source: VideoSource,
    journal: Journal,
    follower: Follower,
    seen: Callable[[int], Any] = lambda people: None,
) -> None:
    """Predict what is left of a clip, into its journal.

    Args:
        source: the clip.
        journal: of this clip and these options.
        follower: new, of the clip's picture size.
        seen: called after each frame with the number of people in it.

    Raises:
        InputError: a frame that cannot be read, or a disk that is full; what was done before stays in the journal.
    """
    follower.restore(journal.state)
    detector = follower.predictor.detector  # loaded here, once

    def detected(frame: Frame) -> tuple[Frame, Detections | None]:
        return frame, detector(frame.pixels) if follower.wants_detection(frame.index) else None

    with ahead(source.frames(journal.frames), FRAMES_AHEAD) as frames, ahead(map(detected, frames), 1) as work:
        for frame, found in work:
            ids, people = follower(frame, found)
            journal.add(frame.time_s, ids, people, follower.state())
            seen(len(people))
    journal.finish(source.warning or "")


def example_of(predictor: Predictor, image_size: tuple[int, int], focal_px: float | None) -> People:
    """The record of nobody in a clip's camera: what all of its people share."""
    width, height = image_size
    nothing: UInt8[Array, "h w 3"] = np.broadcast_to(np.uint8(0), (height, width, 3))
    return predictor(nothing, boxes=np.zeros((0, 4)), focal_px=focal_px)


def _inside(people: People) -> People:
    """The same with boxes cut at the border of the picture."""
    width, height = people.image_size
    return replace(people, bbox_xyxy=np.clip(people.bbox_xyxy, 0.0, np.array([width, height, width, height], float)))
