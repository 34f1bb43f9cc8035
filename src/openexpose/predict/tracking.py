"""Tracking: who is who from frame to frame of a clip.

    detections (of some frames) ─┐
    where people are expected ───┴─► whom to look at ─► bodies ─► who they are ─► where people are expected

People are followed by their own bodies: where the last meshes go on to is where the predictor looks. A detection tells
that somebody is there still, where they really are when they are elsewhere, and who is new.

What the predictor returns belongs to nobody yet: behind somebody, a follower slips onto the person in front. So the
bodies compete for the tracks. Two bodies in one place are one body; all of them are then given out to all people,
those lost a moment ago included, so that place, pose, depth and colours of clothes fit best in total. Who gets none is
lost: no longer looked at, but remembered for a few seconds, for detections that nobody else claims.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from openexpose.errors import InputError
from openexpose.geometry.boxes import intersection_over_union
from openexpose.people import People
from openexpose.predict.appearance import appearance, unseen
from openexpose.predict.assignment import assign
from openexpose.predict.detector import Detections
from openexpose.predict.tracks import (
    SAME_SPREAD,
    Sights,
    Tracks,
    begun,
    body_box,
    continued,
    discolouration,
    expected,
    hidden_samples,
    joined_tracks,
    likeness,
    misplacement,
    no_tracks,
)

Array = np.ndarray

TAKEN_IOU, AWAY_IOU = 0.3, 0.5
"""Overlap of a detection with the box where somebody is expected: from which it may be theirs, and below which they
are looked at anew, in the detection's box."""
SAME_BODY = 0.75
"""Similarity of two sights' keypoints from which they are one body."""
MIN_AGREEMENT = 0.2
"""Overlap of a body with the box that it was looked for in, below which it is not believed."""
LIMIT, OWN = 1.3, 0.1
"""Misplacement and discolouration from which a body is not a track's; how much less they count for the track that led
there."""
DOUBTFUL = 0.4
"""How much more they count for a track that is not confirmed: of two for one body it is the false one."""
UNDETECTED = 0.2
"""How much more they count for a body that the detector, which looked, did not find."""
CLEAR, ALIKE = 0.5, 0.45
"""Misplacement below which a sight teaches what somebody looks like and how they move; discolouration below which it is
certainly them."""
GONE_PER_S = 0.25
"""How much more discolouration counts each second, up to one, that somebody is out of sight: place tells ever less."""
YOUNG_S = 1.0
"""How long somebody new may turn out to be somebody else, if they look as alike as that."""
COAST_S = 0.2
"""How long somebody is looked for where they are expected, though what is there is not them, before they are lost."""
IN_PICTURE = 0.15
"""Share of somebody's box in the picture below which they are no longer looked at."""


@dataclass(frozen=True)
class TrackerConfig:
    """How people are followed."""

    remember_s: float = 3.0
    """How long the number of somebody lost is kept for them, seconds: two out of sight, and until they are found."""
    undetected_s: float = 1.0
    """How long somebody is followed whom the detector does not find, seconds; half as long if it found them only once,
    doubtfully."""
    min_presence: float = 0.3
    """Confidence in the body (``People.part_confidence``) below which it is not believed."""
    sure_score: float = 0.5
    """Score of a detection from which one is enough to be sure of a person; others take two."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{field.name} of {value}", "a number from 0")


@dataclass(frozen=True)
class Candidates:
    """Whom to look at in a frame, and where."""

    id: Int[Array, "n"]
    """Who is expected there; 0: somebody new, or somebody lost."""
    boxes_xyxy_px: Float[Array, "n 4"]
    """Boxes, pixels; they may reach beyond the picture."""
    score: Float[Array, "n"]
    """Of the person's last detection."""
    followed: Bool[Array, "n"]
    """Whether the box comes from the last mesh: then one look is enough."""
    detected: Bool[Array, "n"]
    """Whether a detection of this frame is there."""
    searched: bool
    """Whether the detector looked at this frame."""

    def __len__(self) -> int:
        """Return the number of people to look at."""
        return len(self.id)


class Tracker:
    """Follows the people of one clip. Times may be spaced in any way; they ascend.

    Numbers are given by appearance, from 1, at first sight, and never again to somebody else. Some were in vain:
    :meth:`final` tells at the end.
    """

    def __init__(self, image_size: tuple[int, int], config: TrackerConfig | None = None) -> None:
        """Begin a clip of pictures of ``image_size`` (width, height), pixels."""
        self.image_size, self.config = image_size, config or TrackerConfig()
        self._tracks = no_tracks()
        self._last_id, self._confirmed, self._renamed = 0, np.zeros(0, int), np.zeros((0, 2), int)

    @property
    def following(self) -> Int[Array, "n"]:
        """Numbers of the people who are followed now; when there are none, the detector should look."""
        return self._tracks.id[self._tracks.following]

    @property
    def confirmed(self) -> Int[Array, "n"]:
        """Numbers of all who were certainly people, of the whole clip so far, ascending."""
        return self._confirmed

    def final(self, ids: Int[Array, "n"]) -> Int[Array, "n"]:
        """What numbers given so far have turned out to mean: 0 of who never was confirmed, hence nobody; another number
        of who proved to be somebody lost before. Ask at the end of the clip, for all rows."""
        ids = np.array(ids, int)
        for new, old in self._renamed:  # in the order of time: an old number may be renamed later
            ids[ids == new] = old
        return np.where(np.isin(ids, self._confirmed), ids, 0)

    def look_at(self, frame: int, time_s: float, found: Detections | None) -> Candidates:
        """Whom to look at in a frame, and where.

        Args:
            frame: its number; only told in errors.
            time_s: its time, seconds, later than that of the frame before.
            found: what the detector found; None: it did not look.

        Raises:
            InputError: time runs backwards.
        """
        if len(self._tracks) and time_s <= self._tracks.seen_s.max():
            got = f"frame {frame} at {time_s} s after one at {self._tracks.seen_s.max()} s"
            raise InputError(got, "frames in the order of time")
        tracks = self._tracks[self._tracks.following]
        boxes = body_box(expected(tracks, time_s))
        inside = self._cut(boxes)
        near = _area(inside) > IN_PICTURE * _area(boxes)
        tracks, boxes, inside = tracks[near], boxes[near], inside[near]
        score, detected, followed = tracks.score.copy(), np.zeros(len(tracks), bool), np.ones(len(tracks), bool)
        fresh = np.zeros(0, int)
        if found is not None:
            overlap = intersection_over_union(inside, np.asarray(found.boxes_xyxy_px, float))
            pairs = assign(1.0 - overlap, 1.0 - TAKEN_IOU)
            mine, theirs = pairs[:, 0], pairs[:, 1]
            score[mine], detected[mine] = found.score[theirs], True
            away = overlap[mine, theirs] < AWAY_IOU
            boxes[mine[away]], followed[mine[away]] = found.boxes_xyxy_px[theirs[away]], False
            fresh = np.setdiff1d(np.arange(len(found)), theirs)
        new_boxes = np.zeros((0, 4)) if found is None else np.asarray(found.boxes_xyxy_px, float)[fresh]
        new_score = np.zeros(0) if found is None else np.asarray(found.score, float)[fresh]
        return Candidates(
            id=np.concatenate([tracks.id, np.zeros(len(fresh), int)]),
            boxes_xyxy_px=np.concatenate([boxes, new_boxes]),
            score=np.concatenate([score, new_score]),
            followed=np.concatenate([followed, np.zeros(len(fresh), bool)]),
            detected=np.concatenate([detected, np.ones(len(fresh), bool)]),
            searched=found is not None,
        )

    def accept(
        self,
        frame: int,
        time_s: float,
        candidates: Candidates,
        people: People,
        points_px: Float[Array, "n 144 2"],
        pixels: UInt8[Array, "h w 3"] | None = None,
    ) -> Int[Array, "n"]:
        """Take in what was seen.

        Args:
            frame, time_s: as in :meth:`look_at`.
            candidates: whom it told to look at.
            people: the bodies in their boxes, in this order.
            points_px: their 144 keypoints in the picture, pixels.
            pixels: the RGB frame, for colours of clothes; None: people are told apart without.

        Returns:
            Number of each person; 0: nobody, or one whom another row shows better.

        Raises:
            InputError: not one row a candidate.
        """
        if not len(people) == len(points_px) == len(candidates):
            got = f"{len(people)} people and keypoints of {len(points_px)} for {len(candidates)} candidates"
            raise InputError(got + f" in frame {frame}", "one each")
        rows, claims = self._believed(candidates, people, points_px)
        sights = _seen(people[rows], points_px[rows], pixels)
        detected, score = candidates.detected[rows], candidates.score[rows]
        moved, unlike = misplacement(self._tracks, sights, time_s), discolouration(self._tracks, sights)
        gone = np.clip(time_s - self._tracks.seen_s, 0.0, 1.0)[:, None]
        cost = moved + (1.0 + GONE_PER_S * gone) * unlike + DOUBTFUL * ~self._tracks.confirmed[:, None]
        cost = cost + UNDETECTED * (candidates.searched & ~detected)
        young = self._tracks.since_s > time_s - YOUNG_S
        cost[np.ix_(~self._tracks.following, ~(detected | (claims & young[:, None]).any(0)))] = np.inf
        unsure = discolouration(replace(self._tracks, following=np.zeros(len(self._tracks), bool)), sights)
        pairs = self._recognised(assign(cost - OWN * claims, LIMIT), cost, unsure, claims)
        clear, alike = ((terms < most)[pairs[:, 0], pairs[:, 1]] for terms, most in ((moved, CLEAR), (unlike, ALIKE)))
        ids = np.zeros(len(candidates), int)
        ids[rows[pairs[:, 1]]] = self._tracks.id[pairs[:, 0]]
        kept = self._carried_on(pairs, sights, (clear, alike), np.where(detected, score, np.nan), time_s)
        coasting = (claims & np.isin(self._tracks.id, kept.id[kept.following])[:, None]).any(0)
        new = np.setdiff1d(np.flatnonzero(detected & ~coasting), pairs[:, 1])
        ids[rows[new]] = self._last_id + 1 + np.arange(len(new))
        first = begun(ids[rows[new]], _chosen(sights, new), score[new], score[new] >= self.config.sure_score, time_s)
        self._last_id += len(new)
        tracks = joined_tracks(kept, first)
        self._tracks = self._remembered(tracks, candidates.searched, time_s)
        self._confirmed = np.union1d(self._confirmed, tracks.id[tracks.confirmed]).astype(int)
        return np.where(np.isin(ids, self._tracks.id), ids, 0)

    def state(self) -> dict[str, Array]:
        """Everything that the next frames depend on, as plain arrays."""
        arrays = {field.name: getattr(self._tracks, field.name).copy() for field in fields(Tracks)}
        own = {"last_id": np.array(self._last_id), "confirmed_ids": self._confirmed, "renamed": self._renamed}
        return arrays | {name: array.copy() for name, array in own.items()}

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from a :meth:`state`: the numbers that follow are those of a tracker that was never stopped.

        Raises:
            InputError: the state lacks something.
        """
        names = {field.name for field in fields(Tracks)}
        missing = sorted((names | {"last_id", "confirmed_ids", "renamed"}) - set(state))
        if missing:
            raise InputError(f"a tracker's state without {missing}", "what Tracker.state() gave")
        self._tracks = Tracks(**{name: np.array(state[name]) for name in names})
        self._last_id, self._confirmed = int(state["last_id"]), np.array(state["confirmed_ids"])
        self._renamed = np.array(state["renamed"])

    def _believed(
        self, candidates: Candidates, people: People, points_px: Array
    ) -> tuple[Int[Array, "k"], Bool[Array, "t k"]]:
        """Rows that show somebody, present and about where they were looked for, each body once; and whose they may be.

        Of two rows with one body the one that fits its box better is kept, for the tracks that led to either.
        """
        inside, wanted = self._cut(body_box(points_px)), self._cut(candidates.boxes_xyxy_px)
        agree = np.diagonal(intersection_over_union(inside, wanted))
        presence = people.part_confidence[:, 0]
        rows = np.flatnonzero((presence >= self.config.min_presence) & (agree >= MIN_AGREEMENT))
        rows = rows[np.argsort(-(presence * agree)[rows], kind="stable")]
        same = likeness(points_px[rows], points_px[rows], SAME_SPREAD) >= SAME_BODY
        leads = self._tracks.id[:, None] == candidates.id[rows][None]
        kept: list[int] = []
        for k in range(len(rows)):
            first = next((other for other in kept if same[k, other]), k)
            if first == k:
                kept.append(k)
            leads[:, first] |= leads[:, k]
        order = np.array(kept, int)[np.argsort(rows[kept])]
        return rows[order], leads[:, order]

    def _recognised(self, pairs: Array, cost: Array, unlike: Array, claims: Array) -> Int[Array, "k 2"]:
        """The pairs, with lost people in the place of new ones who turn out to be them.

        Somebody who comes out from behind others is hard to know at first. The new track ends, its number is renamed:
        also where the lost one got the body that the new one led to.
        """
        tracks, pairs = self._tracks, pairs.copy()
        young = tracks.following & (tracks.seen_s - tracks.since_s < YOUNG_S)
        taken = set(pairs[:, 0].tolist())
        for pair in pairs:
            track, row = int(pair[0]), int(pair[1])
            old = (tracks.clear_s < tracks.since_s[track]) | (claims[:, row] & (tracks.since_s < tracks.since_s[track]))
            alike = unlike[:, row] < max(ALIKE, 0.5 * unlike[track, row])
            fit = np.where(old & alike & young[track], cost[:, row], np.inf)
            best = int(fit.argmin())
            if fit[best] < LIMIT and best not in taken:
                taken.add(best)
                pair[0] = best
                self._rename(track, best)
            elif alike[track] or not tracks.following[track]:
                led = np.flatnonzero(claims[:, row] & young & (tracks.since_s > tracks.clear_s[track]))
                for new in [int(new) for new in led if new not in taken][:1]:  # two of them were seen together
                    self._rename(new, track)
        return pairs[np.argsort(pairs[:, 0])]

    def _rename(self, new: int, old: int) -> None:
        """Remember that one track was the other."""
        self._renamed = np.concatenate([self._renamed, [[self._tracks.id[new], self._tracks.id[old]]]])

    def _carried_on(
        self, pairs: Array, sights: Sights, clear: tuple[Array, Array], score: Array, time_s: float
    ) -> Tracks:
        """All tracks: those with a sight seen once more, the others coasting, then lost.

        ``clear``: whether place and colours of each pair fit well. ``score``: of each sight's detection; NaN: none.
        """
        tracks = self._tracks
        mine, theirs = pairs[:, 0], pairs[:, 1]
        again = continued(tracks[mine], _chosen(sights, theirs), *clear, time_s)
        hit = np.isfinite(score[theirs])
        again = replace(
            again,
            confirmed=again.confirmed | hit,
            found_s=np.where(hit, time_s, again.found_s),
            score=np.where(hit, score[theirs], again.score),
        )
        others = tracks[np.setdiff1d(np.arange(len(tracks)), mine)]
        others = others[~np.isin(others.id, self._renamed[:, 0])]
        coasting = others.following & (time_s - others.seen_s <= COAST_S)
        return joined_tracks(again, replace(others, following=coasting))

    def _remembered(self, tracks: Tracks, searched: bool, time_s: float) -> Tracks:
        """The tracks to keep, by number: who is not found for long is lost, and who is lost for long is forgotten."""
        patience = np.where(tracks.confirmed, 1.0, 0.5) * self.config.undetected_s
        following = tracks.following & ~(searched & (time_s - tracks.found_s > patience))
        keep = (time_s - tracks.seen_s <= self.config.remember_s) & (tracks.confirmed | following)
        tracks = replace(tracks, following=following)[keep]
        return tracks[np.argsort(tracks.id)]

    def _cut(self, boxes: Float[Array, "n 4"]) -> Float[Array, "n 4"]:
        """The part of boxes that lies in the picture; without area: none."""
        return np.clip(boxes, 0.0, np.array([*self.image_size, *self.image_size], float))


def _seen(people: People, points_px: Array, pixels: Array | None) -> Sights:
    """The record of what was seen."""
    depth = np.maximum(people.transl[:, 2].astype(float), 0.1)
    hidden = hidden_samples(points_px, depth)
    look = unseen(len(people)) if pixels is None else appearance(pixels, points_px, hidden)
    return Sights(np.asarray(points_px, float), depth, hidden, look)


def _chosen(sights: Sights, rows: Array) -> Sights:
    return Sights(sights.points_px[rows], sights.depth_m[rows], sights.hidden[rows], sights.look[rows])


def _area(boxes: Float[Array, "n 4"]) -> Float[Array, "n"]:
    return (boxes[:, 2:] - boxes[:, :2]).prod(-1)
