"""Self-intersection of bodies made of capsules, and what a body rests on.

A capsule is a bone with a radius at each end, fixed to a joint. Flesh yields: some pairs of parts may overlap a little,
neighbours are not compared. Frames as in the body model (metres, y up).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from openexpose.body.keypoints import INDEX
from openexpose.body.model import BodyModel, load_body_model

Array = np.ndarray

_SIDES = ("left", "right")
_LIMBS = (  # part, joint whose vertices it has, joint at the other end, piece of the bone
    ("upper arm", "shoulder", "elbow", (0.1, 0.5)),
    ("lower upper arm", "shoulder", "elbow", (0.5, 1.0)),
    ("forearm", "elbow", "wrist", (0.05, 1.0)),
    ("thigh", "hip", "knee", (0.1, 0.5)),
    ("lower thigh", "hip", "knee", (0.5, 1.0)),
    ("shin", "knee", "ankle", (0.05, 1.0)),
)


@dataclass(frozen=True, eq=False)
class Capsules:
    """Capsules of the body of mean shape and how they change with the first betas.

    Attributes:
        parts: [c] names, sided ones begin with left or right. joint: [c] body joint that carries each.
        ends: [c, 2, 3] offsets from that joint in the rest pose. radii: [c, 2].
        rest: [55, 3] rest joints.
        ends_dirs, radii_dirs, rest_dirs: the same with a last axis of betas, per unit.
    """

    parts: tuple[str, ...]
    joint: Int[Array, "c"]
    ends: Float[Array, "c 2 3"]
    radii: Float[Array, "c 2"]
    rest: Float[Array, "55 3"]
    ends_dirs: Float[Array, "c 2 3 b"]
    radii_dirs: Float[Array, "c 2 b"]
    rest_dirs: Float[Array, "55 3 b"]

    @cached_property
    def pairs(self) -> Int[Array, "p 2"]:
        """Capsules that are compared."""
        return _compared(self.parts)[0]

    @cached_property
    def slack_m(self) -> Float[Array, "p"]:
        """By how much each of ``pairs`` may overlap because flesh yields."""
        return _compared(self.parts)[1]

    @cached_property
    def mirror(self) -> Int[Array, "c"]:
        """The capsule of the other side for each capsule."""
        seen: dict[str, int] = {}
        numbered = []
        for part in self.parts:
            numbered.append((part, seen.get(part, 0)))
            seen[part] = seen.get(part, 0) + 1
        swapped = [(_other(part), k) for part, k in numbered]
        return np.array([numbered.index(key) for key in swapped])

    def shaped(self, betas: Float[Array, "b"]) -> "Capsules":
        """The capsules of a shape; betas beyond those known are ignored."""
        count = min(len(betas), self.radii_dirs.shape[-1])
        b = np.asarray(betas, float)[:count]
        return Capsules(
            self.parts,
            self.joint,
            self.ends + self.ends_dirs[..., :count] @ b,
            np.maximum(self.radii + self.radii_dirs[..., :count] @ b, 0.006),
            self.rest + self.rest_dirs[..., :count] @ b,
            self.ends_dirs,
            self.radii_dirs,
            self.rest_dirs,
        )

    def of(self, names: Iterable[str]) -> Bool[Array, "c"]:
        """Which capsules belong to the parts whose names contain one of ``names``."""
        wanted = tuple(names)
        return np.array([any(name in part for name in wanted) for part in self.parts])


@cache
def _compared(parts: tuple[str, ...]) -> tuple[Int[Array, "p 2"], Float[Array, "p"]]:
    """Pairs of capsules that are compared, and what each may overlap: the same for all shapes."""
    known = {(i, j): _slack(parts[i], parts[j]) for i, j in combinations(range(len(parts)), 2)}
    pairs = {pair: slack for pair, slack in known.items() if slack is not None}
    return np.array(list(pairs)), np.array(list(pairs.values()))


def _other(part: str) -> str:
    side, _, name = part.partition(" ")
    return {"left": f"right {name}", "right": f"left {name}"}.get(side, part)


def _slack(first: str, second: str) -> float | None:
    """Overlap that two parts are allowed (metres); None: they are not compared."""
    (side_a, a), (side_b, b) = _split(first), _split(second)
    names = {a, b}
    if (not side_a and not side_b) or (side_a == side_b and first == second):
        return None
    if side_a and side_b:
        return _slack_of_limbs(side_a == side_b, a, b)
    trunk, limb = (a, b) if side_b else (b, a)
    if limb in ("upper arm", "thigh"):
        return None
    if limb == "lower upper arm":
        return 0.03 if trunk != "shoulders" else None
    if limb == "lower thigh":
        return 0.045 if trunk in ("belly", "chest") else None if trunk in ("hips", "seat") else 0.01
    if limb in ("shin", "foot") and names & {"hips", "seat"}:
        return 0.06  # sitting on the heels
    return 0.005 if trunk in ("belly", "seat", "hips") else 0.0


def _slack_of_limbs(same_side: bool, a: str, b: str) -> float | None:
    arms = {"upper arm", "lower upper arm", "forearm", "hand"}
    if a in arms and b in arms:
        if same_side:
            return 0.0 if {a, b} in ({"hand", "upper arm"}, {"hand", "lower upper arm"}) else None
        return 0.035 if {a, b} == {"hand"} else 0.0
    if a in arms or b in arms:
        return 0.005 if {a, b} & {"thigh", "lower thigh", "shin", "foot"} and not {a, b} & {"upper arm"} else None
    if same_side or {a, b} == {"thigh"} or {a, b} == {"thigh", "lower thigh"}:
        return None
    return 0.03 if {a, b} <= {"lower thigh", "thigh"} else 0.01


def _split(part: str) -> tuple[str, str]:
    side, _, name = part.partition(" ")
    return (side, name) if side in _SIDES else ("", part)


def placed(
    capsules: Capsules, rotations: Float[Array, "*n j 3 3"], joints: Float[Array, "*n j 3"]
) -> Float[Array, "*n c 2 3"]:
    """Ends of the capsules of posed bodies; the first 22 of the joints matter (144 keypoints do, too)."""
    carried = rotations[..., capsules.joint, :, :] @ np.swapaxes(capsules.ends, -1, -2)
    return joints[..., capsules.joint, None, :] + np.swapaxes(carried, -1, -2)


def overlaps_m(
    capsules: Capsules, rotations: Float[Array, "*n j 3 3"], joints: Float[Array, "*n j 3"]
) -> Float[Array, "*n p"]:
    """Overlap of each of the compared pairs beyond what flesh yields; negative: they are apart."""
    ends = placed(capsules, rotations, joints)
    first, second = capsules.pairs.T
    gap, s, t = _segments(ends[..., first, :, :], ends[..., second, :, :])
    radii = _radius_at(capsules.radii[first], s) + _radius_at(capsules.radii[second], t)
    return radii - gap - capsules.slack_m


def penetration_m(
    capsules: Capsules, rotations: Float[Array, "*n j 3 3"], joints: Float[Array, "*n j 3"]
) -> Float[Array, "*n"]:
    """Deepest overlap of two parts of a body (metres, 0: none), beyond what flesh yields.

    Args:
        capsules: of the body's shape, see :meth:`Capsules.shaped`.
        rotations: global rotations of the joints. joints: their positions; both from ``joint_transforms``.
    """
    deepest: Array = np.maximum(overlaps_m(capsules, rotations, joints).max(-1), 0.0)
    return deepest


def depth_of(
    points: Float[Array, "m 3"],
    capsules: Capsules,
    rotations: Float[Array, "j 3 3"],
    joints: Float[Array, "j 3"],
    among: Bool[Array, "c"],
) -> float:
    """How deep the deepest of some points lies in some of a body's capsules (metres, negative: outside)."""
    ends = placed(capsules, rotations, joints)[among]
    bone = ends[:, 1] - ends[:, 0]
    away = points[:, None] - ends[:, 0]
    share = np.clip(_dot(away, bone) / np.maximum(_dot(bone, bone), 1e-12), 0, 1)
    gap = away - share[..., None] * bone
    return float((_radius_at(capsules.radii[among], share) - np.sqrt(_dot(gap, gap))).max())


def _radius_at(radii: Float[Array, "p 2"], share: Float[Array, "*n p"]) -> Float[Array, "*n p"]:
    return radii[:, 0] + share * (radii[:, 1] - radii[:, 0])


def _segments(a: Float[Array, "*n p 2 3"], b: Float[Array, "*n p 2 3"]) -> tuple[Array, Array, Array]:
    """Distance of segments and the shares at which they are closest (Ericson, Real-Time Collision Detection, 5.1.9)."""
    u, v = a[..., 1, :] - a[..., 0, :], b[..., 1, :] - b[..., 0, :]
    w = a[..., 0, :] - b[..., 0, :]
    uu, vv, uv, uw, vw = (_dot(x, y) for x, y in ((u, u), (v, v), (u, v), (u, w), (v, w)))
    uu, vv = np.maximum(uu, 1e-12), np.maximum(vv, 1e-12)
    s = np.clip((uv * vw - uw * vv) / np.maximum(uu * vv - uv * uv, 1e-12), 0, 1)
    t = (uv * s + vw) / vv
    outside = (t < 0) | (t > 1)
    t = np.clip(t, 0, 1)
    s = np.where(outside, np.clip((uv * t - uw) / uu, 0, 1), s)
    rest = w + s[..., None] * u - t[..., None] * v
    return np.sqrt(_dot(rest, rest)), s, t


def _dot(a: Array, b: Array) -> Array:
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def height_m(
    capsules: Capsules, rotations: Float[Array, "*n j 3 3"], joints: Float[Array, "*n j 3"]
) -> Float[Array, "*n c"]:
    """Lowest y of each capsule."""
    bottom: Array = (placed(capsules, rotations, joints)[..., 1] - capsules.radii).min(-1)
    return bottom


def support(
    capsules: Capsules, rotations: Float[Array, "j 3 3"], joints: Float[Array, "j 3"], within_m: float = 0.05
) -> tuple[frozenset[str], float]:
    """On what a body rests if it is let down on a floor as it is: names of its parts, and the floor's y."""
    bottom = height_m(capsules, rotations, joints)
    low = float(bottom.min())
    return frozenset(np.array(capsules.parts)[bottom < low + within_m].tolist()), low


def settle(
    capsules: Capsules, rotations: Float[Array, "j 3 3"], joints: Float[Array, "j 3"], turns: Float[Array, "k 3 3"]
) -> int:
    """Which of some turns of the whole body brings its mass lowest over the floor, as lying down does."""
    ends = (placed(capsules, rotations, joints) - joints[0]).reshape(-1, 3)
    y = turns[:, 1] @ ends.T
    lowest = (y - capsules.radii.ravel()).min(1)
    volume = np.repeat(capsules.radii.mean(1) ** 2 * _lengths(capsules), 2)
    return int(np.argmin(y @ volume / volume.sum() - lowest))


def _lengths(capsules: Capsules) -> Array:
    bones: Array = np.linalg.norm(capsules.ends[:, 1] - capsules.ends[:, 0], axis=-1)
    return bones + 2 * capsules.radii.mean(1)


@lru_cache(maxsize=1)
def default_capsules() -> Capsules:
    """Those of the packaged free body."""
    return fit_capsules(free_body())


@lru_cache(maxsize=1)
def free_body() -> BodyModel:
    """The packaged body model."""
    return load_body_model()


def fit_capsules(model: BodyModel) -> Capsules:
    """Measure the capsules on a body model, for the mean shape and, by differences, for each beta."""
    owner = model.weights.argmax(1)
    parts, joint, ends, radii = _measure(model.v_template.astype(float), model.joint_template.astype(float), owner)
    ends_dirs, radii_dirs = [], []
    for k in range(model.num_betas):
        shaped = _measure(
            model.v_template + model.shape_dirs[..., k].astype(float),
            model.joint_template + model.joint_shape_dirs[..., k].astype(float),
            owner,
        )
        ends_dirs.append(shaped[2] - ends)
        radii_dirs.append(shaped[3] - radii)
    stack = lambda dirs, like: np.stack(dirs, -1) if dirs else np.zeros((*like.shape, 0))  # noqa: E731
    rest = model.joint_template.astype(float)
    rest_dirs = model.joint_shape_dirs.astype(float)
    return Capsules(parts, joint, ends, radii, rest, stack(ends_dirs, ends), stack(radii_dirs, radii), rest_dirs)


def _measure(v: Array, rest: Array, owner: Array) -> tuple[tuple[str, ...], Array, Array, Array]:
    rows = [*_trunk(v, rest, owner), *_head(v, rest, owner)]
    for side in _SIDES:
        for part, start, end, piece in _LIMBS:
            a, b = INDEX[f"{side}_{start}"], INDEX[f"{side}_{end}"]
            rows.append((f"{side} {part}", a, *_limb(v[owner == a], rest[a], rest[b], piece)))
        rows += [*_hand(v, rest, owner, side), *_foot(v, rest, owner, side)]
    parts, joint = tuple(row[0] for row in rows), np.array([row[1] for row in rows])
    ends = np.array([np.stack(row[2]) for row in rows])
    return parts, joint, ends - rest[joint][:, None], np.array([row[3] for row in rows])


Row = tuple[str, int, tuple[Array, Array], tuple[float, float]]


def _limb(v: Array, a: Array, b: Array, piece: tuple[float, float]) -> tuple[tuple[Array, Array], tuple[float, float]]:
    """Piece of a bone; the radii are the median distances of the skin near its ends."""
    bone = b - a
    share = (v - a) @ bone / (bone @ bone)
    distance = np.linalg.norm(v - a - share[:, None] * bone, axis=1)
    centre = (piece[0] + piece[1]) / 2
    first = np.median(distance[(share > piece[0] - 0.05) & (share < centre)])
    last = np.median(distance[(share > centre) & (share < piece[1] + 0.05)])
    start, end = a + piece[0] * bone, a + piece[1] * bone
    shift = 0.6 * last * bone / np.linalg.norm(bone) if piece[1] == 1.0 else 0.0
    return (start, end - shift), (float(first), float(last))


def _trunk(v: Array, rest: Array, owner: Array) -> list[Row]:
    """Five lying capsules, from the seat to the shoulders: half depth is the radius, half width less it the length."""
    hips, spine1, spine2, spine3 = (rest[INDEX[n]] for n in ("left_hip", "spine1", "spine2", "spine3"))
    neck = rest[INDEX["neck"]]
    levels = (
        ("seat", 0, hips[1] - 0.02), ("hips", 0, (hips[1] + spine1[1]) / 2 + 0.01), ("belly", 3, spine1[1] + 0.03),
        ("belly", 6, spine2[1] + 0.04), ("chest", 9, spine3[1] - 0.01),
        ("shoulders", 9, spine3[1] + 0.5 * (neck[1] - spine3[1])),
    )  # fmt: skip
    trunk = v[np.isin(owner, [0, 3, 6, 9, 13, 14, 1, 2])]
    rows = []
    for name, joint, y in levels:
        slab = trunk[np.abs(trunk[:, 1] - y) < 0.035]
        width = float(np.percentile(np.abs(slab[:, 0]), 95))
        back, front = np.percentile(slab[np.abs(slab[:, 0]) < 0.6 * width][:, 2], [4, 96])
        radius = float(front - back) / 2
        half = max(width - radius, 0.01)
        centre = np.array([0.0, y, (front + back) / 2])
        rows.append((name, joint, (centre - [half, 0, 0], centre + [half, 0, 0]), (radius, radius)))
    return rows


def _head(v: Array, rest: Array, owner: Array) -> list[Row]:
    """Neck, skull from front to back, face from the skull to the chin."""
    neck, head = INDEX["neck"], INDEX["head"]
    eyes = rest[INDEX["left_eye_smplx"]]
    skin = v[np.isin(owner, [head, INDEX["jaw"]])]
    skull = skin[skin[:, 1] > eyes[1]]
    half = float(np.percentile(np.abs(skull[:, 0]), 95))
    y = skull[:, 1].max() - half
    back, front = skull[:, 2].min() + half, skull[:, 2].max() - half
    chin = skin[skin[:, 2] > eyes[2] - 0.03]
    low = chin[:, 1].min()
    radius = 0.72 * half
    tip = np.array([0.0, low + radius, chin[chin[:, 1] < low + 0.04][:, 2].max() - radius])
    throat = v[owner == neck]
    thick = float(np.median(np.linalg.norm((throat - (rest[neck] + rest[head]) / 2)[:, [0, 2]], axis=1)))
    return [
        ("neck", neck, (rest[neck], rest[head]), (thick, thick)),
        ("head", head, (np.array([0, y, back]), np.array([0, y, front])), (half, half)),
        ("head", head, (np.array([0, y, front]), tip), (half * 0.9, radius)),
    ]


def _hand(v: Array, rest: Array, owner: Array, side: str) -> list[Row]:
    """A mitten of two capsules, half closed, carried by the wrist."""
    wrist = INDEX[f"{side}_wrist"]
    palm = v[owner == wrist]
    thick = float(np.percentile(palm[:, 1], 90) - np.percentile(palm[:, 1], 10)) / 2
    rows: list[Row] = []
    for finger in ("index", "pinky"):
        knuckle, last = rest[INDEX[f"{side}_{finger}1"]], rest[INDEX[f"{side}_{finger}3"]]
        start = rest[wrist] + 0.15 * (knuckle - rest[wrist])
        end = last + np.array([0, -0.02, 0])
        radius = min(thick, 0.022)
        rows.append((f"{side} hand", wrist, (start, end), (radius, 0.6 * radius)))
    return rows


def _foot(v: Array, rest: Array, owner: Array, side: str) -> list[Row]:
    ankle, ball = INDEX[f"{side}_ankle"], INDEX[f"{side}_foot"]
    sole, toes = v[owner == ankle], v[owner == ball]
    radius = 0.032
    heel = np.array([rest[ankle][0], sole[:, 1].min() + radius, sole[:, 2].min() + radius])
    joint = np.array([rest[ball][0], toes[:, 1].min() + 0.028, rest[ball][2]])
    tip = np.array([rest[ball][0], toes[:, 1].min() + 0.018, toes[:, 2].max() - 0.018])
    return [
        (f"{side} foot", ankle, (heel, joint), (radius, 0.028)),
        (f"{side} foot", ball, (joint, tip), (0.028, 0.018)),
    ]
