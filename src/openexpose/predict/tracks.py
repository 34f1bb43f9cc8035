"""What is known of people who are followed, where they are expected, and how alike two sights of people are.

Lengths in the picture count in a person's size: the longer side of the box around the body's points.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from openexpose.body.keypoints import PARTS, indices
from openexpose.geometry.boxes import box_around
from openexpose.predict.appearance import REGIONS, Appearance, blend, difference, samples

Array = np.ndarray

MARGINS = np.array([0.02, 0.07, 0.02, 0.03])
"""How far a person reaches beyond the keypoints (left, top, right, bottom), in sizes: measured on photos."""
SPREAD, SPREAD_PER_S = 0.12, 0.6
"""How far a keypoint may be from where it is expected, in sizes: from one frame to the next, and more each second."""
SAME_SPREAD = 0.08
"""How far apart the keypoints of two sights of one body in one frame may be, in sizes."""
DEPTH_SPREAD, DEPTH_SPREAD_PER_S = 0.12, 0.15
"""The same of the logarithm of depth."""
COLOUR_SPREAD = 24.0
"""Difference of colours from which people look quite unlike each other."""
UNKNOWN, LOST_UNKNOWN = 0.3, 1.5
"""What unknown colours count, of people who are followed and of those who are lost."""
MOTION_S, DRIFT_S = 0.3, 0.7
"""Over what time motion is averaged, and how long someone out of sight is believed to go on."""
COLOUR_S, DEPTH_S = 2.0, 0.3
"""Over what time colours and depth are averaged."""
BEHIND = 0.5
"""Share of somebody's samples behind nearer people from which on what is seen tells nothing of motion or colours."""
_BODY = PARTS["body"]
_ENDS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_MIDDLE = indices("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_POSE = indices(*"head neck pelvis".split(), *(f"{side}_{end}" for side in ("left", "right") for end in _ENDS))
_LIMBS = np.array(
    [
        indices(*limb.split())
        for limb in (
            *("left_hip left_shoulder", "right_hip right_shoulder", "neck head"),
            *("left_hip left_knee", "right_hip right_knee", "left_knee left_ankle", "right_knee right_ankle"),
            *("left_shoulder left_elbow", "right_shoulder right_elbow", "left_elbow left_wrist"),
            "right_elbow right_wrist",
        )
    ]
)
_LIMB_RADII = np.array([0.07, 0.07, 0.07, 0.05, 0.05, 0.04, 0.04, 0.035, 0.035, 0.03, 0.03])
"""How thick limbs are, in sizes."""


@dataclass(frozen=True)
class Sights:
    """n people as seen in one frame."""

    points_px: Float[Array, "n 144 2"]
    """Keypoints."""
    depth_m: Float[Array, "n"]
    """Distance from the camera along its axis."""
    hidden: Bool[Array, "n samples"]
    """Which of the places where colours are read lie behind somebody nearer."""
    look: Appearance
    """Colours."""


@dataclass(frozen=True)
class Tracks:
    """n people who are followed, or were until a moment ago; the first axis of every array."""

    id: Int[Array, "n"]
    following: Bool[Array, "n"]
    """False: lost; only a detection can find them again."""
    confirmed: Bool[Array, "n"]
    """Certainly people, not false detections."""
    since_s: Float[Array, "n"]
    """When first seen."""
    seen_s: Float[Array, "n"]
    """When last seen."""
    clear_s: Float[Array, "n"]
    """When last seen clearly: not behind others, where and as expected. What was taken for them since may be others."""
    found_s: Float[Array, "n"]
    """When a detection last agreed."""
    score: Float[Array, "n"]
    """Of that detection."""
    points_px: Float[Array, "n 144 2"]
    """Keypoints when last seen."""
    motion: Float[Array, "n 2"]
    """Of the torso's middle, pixels a second."""
    depth_m: Float[Array, "n"]
    """Distance from the camera, averaged over :data:`DEPTH_S`."""
    colour: Float[Array, "n regions 3 quantiles"]
    colour_seen: Float[Array, "n regions"]

    def __len__(self) -> int:
        """Return the number of people."""
        return len(self.id)

    def __getitem__(self, index: slice | Array) -> "Tracks":
        """The people at ``index``."""
        return Tracks(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @property
    def look(self) -> Appearance:
        """Colours."""
        return Appearance(self.colour, self.colour_seen)


def joined_tracks(first: Tracks, second: Tracks) -> Tracks:
    """The people of both."""
    both = {f.name: np.concatenate([getattr(first, f.name), getattr(second, f.name)]) for f in fields(Tracks)}
    return Tracks(**both)


def begun(
    id: Int[Array, "n"], sights: Sights, score: Float[Array, "n"], sure: Bool[Array, "n"], time_s: float
) -> Tracks:
    """Tracks of people seen for the first time."""
    count = len(id)
    now = np.full(count, float(time_s))
    return Tracks(
        id=np.asarray(id, int),
        following=np.ones(count, bool),
        confirmed=np.asarray(sure, bool),
        since_s=now,
        seen_s=now,
        clear_s=now,
        found_s=now,
        score=np.asarray(score, float),
        points_px=np.asarray(sights.points_px, float),
        motion=np.zeros((count, 2)),
        depth_m=np.asarray(sights.depth_m, float),
        colour=sights.look.colour,
        colour_seen=sights.look.seen,
    )


def expected(tracks: Tracks, time_s: float) -> Float[Array, "n 144 2"]:
    """Keypoints to expect, pixels: people go on as they went, those out of sight ever less."""
    gone = np.maximum(time_s - tracks.seen_s, 0.0)
    way = tracks.motion * (DRIFT_S * (1.0 - np.exp(-gone / DRIFT_S)))[:, None]
    return tracks.points_px + way[:, None]


def continued(
    tracks: Tracks, sights: Sights, clear: Bool[Array, "n"], alike: Bool[Array, "n"], time_s: float
) -> Tracks:
    """The tracks after their people were seen once more.

    Only ``clear`` sights teach motion, depth and colours, and of them only those of people who are not behind others;
    those that look ``alike``, too, are certainly these people.
    """
    step = np.maximum(time_s - tracks.seen_s, 1e-6)
    clear = clear & (sights.hidden.mean(1) < BEHIND)
    speed = (sights.points_px - tracks.points_px)[:, _MIDDLE].mean(1) / step[:, None]
    share = np.maximum(1.0 - np.exp(-step / MOTION_S), step / np.maximum(time_s - tracks.since_s, 1e-6))
    share = np.where(clear, share, 0.0)[:, None]
    look = blend(tracks.look, sights.look, np.where(clear, 1.0 - np.exp(-step / COLOUR_S), 0.0))
    deeper = np.where(clear, np.log(sights.depth_m) - np.log(tracks.depth_m), 0.0)
    return replace(
        tracks,
        following=np.ones(len(tracks), bool),
        seen_s=np.full(len(tracks), float(time_s)),
        clear_s=np.where(clear & alike, time_s, tracks.clear_s),
        points_px=np.asarray(sights.points_px, float),
        motion=tracks.motion + share * (speed - tracks.motion),
        depth_m=tracks.depth_m * np.exp((1.0 - np.exp(-step / DEPTH_S)) * deeper),
        colour=look.colour,
        colour_seen=look.seen,
    )


def misplacement(tracks: Tracks, sights: Sights, time_s: float) -> Float[Array, "n m"]:
    """How badly the place and pose (0..1) and the depth (0..1) of each sight fit each track.

    Where somebody can be, and how deep, is ever less certain the longer they are out of sight.
    """
    gone = np.maximum(time_s - tracks.seen_s, 0.0)
    pose = 1.0 - likeness(expected(tracks, time_s), sights.points_px, SPREAD + SPREAD_PER_S * gone)
    spread = DEPTH_SPREAD + DEPTH_SPREAD_PER_S * gone
    deeper = np.abs(np.log(tracks.depth_m)[:, None] - np.log(sights.depth_m)[None]) / spread[:, None]
    return pose + np.minimum(deeper / 3.0, 1.0)


def discolouration(tracks: Tracks, sights: Sights) -> Float[Array, "n m"]:
    """How badly the colours of each sight fit each track, 0..1.

    Who is lost is hardly known again without their colours: they may be seen in a moment.
    """
    apart, known = difference(tracks.look, sights.look)
    unknown = UNKNOWN + (LOST_UNKNOWN - UNKNOWN) * np.where(tracks.following, 0.0, tracks.colour_seen.mean(1))
    return known * np.minimum(apart / COLOUR_SPREAD, 1.0) + (1.0 - known) * unknown[:, None]


def likeness(
    a_px: Float[Array, "n 144 2"], b_px: Float[Array, "m 144 2"], spread: float | Float[Array, "n"]
) -> Float[Array, "n m"]:
    """Object keypoint similarity 0..1 of the limbs' ends of two lists of people, ``spread`` in sizes of the first."""
    size = np.maximum(size_px(a_px), 1.0)
    scale = np.broadcast_to(spread, len(a_px)) * size
    apart = np.linalg.norm(a_px[:, None, 0] - b_px[None, :, 0], axis=-1)
    near_a, near_b = np.nonzero(apart < 5.0 * scale[:, None])  # of the others hardly a point is near
    a, b = (points[:, _POSE].astype(np.float32) for points in (a_px, b_px))
    away = a[near_a] - b[near_b]
    squared = away[..., 0] ** 2 + away[..., 1] ** 2
    alike = np.zeros(apart.shape)
    alike[near_a, near_b] = np.exp(-squared / (2.0 * scale[near_a, None] ** 2)).mean(-1)
    return alike


def size_px(points_px: Float[Array, "n 144 2"]) -> Float[Array, "n"]:
    """Longer side of the box around the body's points, pixels."""
    points = points_px[:, _BODY]
    return np.ptp(points, axis=1).max(-1) if len(points) else np.zeros(0)


def body_box(points_px: Float[Array, "n 144 2"]) -> Float[Array, "n 4"]:
    """The box around a person, flesh included, pixels."""
    if not len(points_px):
        return np.zeros((0, 4))
    return box_around(points_px) + size_px(points_px)[:, None] * MARGINS * [-1, -1, 1, 1]


def hidden_samples(points_px: Float[Array, "n 144 2"], depth_m: Float[Array, "n"]) -> Bool[Array, "n samples"]:
    """Which of the places where people's colours are read lie behind the limbs of nearer ones."""
    places, boxes = samples(points_px), body_box(points_px)
    hidden = np.zeros(places.shape[:2], bool)
    nearer = depth_m[None, :] < depth_m[:, None]
    meet = (boxes[:, None, :2] < boxes[None, :, 2:]).all(-1) & (boxes[None, :, :2] < boxes[:, None, 2:]).all(-1)
    back, front = np.nonzero(nearer & meet)
    if not len(back):
        return hidden
    place = places[back]
    within = ((place > boxes[front, None, :2]) & (place < boxes[front, None, 2:])).all(-1)
    pair, sample = np.nonzero(within)
    points = points_px.astype(np.float32)[:, _LIMBS]
    (start_x, start_y), (end_x, end_y) = np.moveaxis(points[front[pair]], (2, 3), (0, 1))
    x, y = np.moveaxis(place[pair, sample].astype(np.float32), -1, 0)[..., None]
    along_x, along_y = end_x - start_x, end_y - start_y
    length = np.maximum(along_x**2 + along_y**2, 1e-6)
    share = np.clip(((x - start_x) * along_x + (y - start_y) * along_y) / length, 0.0, 1.0)
    apart = (x - start_x - share * along_x) ** 2 + (y - start_y - share * along_y) ** 2
    radius = (_LIMB_RADII * size_px(points_px)[:, None]).astype(np.float32)[front[pair]]
    covered = (apart < radius**2).any(-1)
    hidden[back[pair[covered]], sample[covered]] = True
    return hidden


def no_tracks() -> Tracks:
    """Nobody."""
    none = np.zeros(0)
    nothing = Appearance(np.zeros((0, REGIONS, 3, 5)), np.zeros((0, REGIONS)))
    sights = Sights(np.zeros((0, 144, 2)), none, np.zeros((0, 0), bool), nothing)
    return begun(np.zeros(0, int), sights, none, np.zeros(0, bool), 0.0)
