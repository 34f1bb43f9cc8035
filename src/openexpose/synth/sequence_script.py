"""What each person of a sequence does, when and where: ways along the floor, turns, quick motions."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from openexpose.synth.sequence_curves import Route
from openexpose.synth.sequence_moves import FREQUENCY_HZ, Span, hops
from openexpose.synth.sequence_steps import WALK, Root, Swing, steps

Array = np.ndarray

_ROUND_S, _TURN_ROUND_S, _SOFT_S = 0.42, 0.3, 0.25
_BEFORE_S, _AFTER_S = -2.0, 3.0


@dataclass(frozen=True, eq=False)
class Script:
    """A person's part.

    Attributes:
        place, look: x, z (metres) and yaw (radians) over time. walks: start, end (seconds), manner, and speed (metres
            a second; 0: turning on the spot). moves: quick motions, while standing. talks: the mouth always moves.
    """

    place: Route
    look: Route
    walks: tuple[tuple[float, float, str, float], ...]
    moves: tuple[Span, ...] = ()
    talks: bool = False

    @property
    def root(self) -> Root:
        """Where the pelvis is on the floor and where the person looks, at any times."""
        return lambda times: np.concatenate([self.place(times), self.look(times)], 1)

    def swings(self, leg_m: float, first_foot: int) -> list[Swing]:
        """All steps; the first before a walk begins and the last when it is over, so that starts and stops are soft."""
        ends = [span[1] for span in self.walks]
        starts = [span[0] for span in self.walks]
        spans = [
            (
                start - (0.0 if any(abs(start - other) < 1e-6 for other in ends) else _SOFT_S),
                end + (0.0 if any(abs(end - other) < 1e-6 for other in starts) else _SOFT_S),
                manner,
                speed,
            )
            for start, end, manner, speed in self.walks
        ]
        return steps(spans, leg_m, first_foot) + [swing for span in self.moves for swing in hops(span)]


@dataclass
class Part:
    """Writes a script, from ``time_s`` on: two seconds before the sequence, so that who walks is in stride."""

    x: float
    z: float
    yaw: float
    time_s: float = _BEFORE_S
    _places: list[tuple[float, float, float]] = field(default_factory=list)
    _looks: list[tuple[float, float]] = field(default_factory=list)
    _walks: list[tuple[float, float, str, float]] = field(default_factory=list)
    _moves: list[Span] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._places.append((self.time_s, self.x, self.z))
        self._looks.append((self.time_s, self.yaw))

    def wait(self, until_s: float) -> None:
        """Stand until a time."""
        if until_s > self.time_s + 1e-6:
            self.time_s = until_s
            self._places.append((self.time_s, self.x, self.z))

    def go(self, x: float, z: float, seconds: float, manner: str = WALK) -> None:
        """Walk or run straight to a place, turning to it while beginning."""
        heading = float(np.arctan2(x - self.x, z - self.z))
        self._turn_to(heading)
        speed = float(np.hypot(x - self.x, z - self.z)) / seconds
        start, self.time_s, self.x, self.z = self.time_s, self.time_s + seconds, x, z
        self._places.append((self.time_s, x, z))
        self._walks.append((start, self.time_s, manner, speed))

    def turn(self, yaw: float, seconds: float) -> None:
        """Turn on the spot."""
        start = self.time_s
        self._looks.append((start + 1e-3, self.yaw))
        self.yaw = self.yaw + _wrapped(yaw - self.yaw)
        self._looks.append((start + seconds, self.yaw))
        self.wait(start + seconds)
        self._walks.append((start, self.time_s, WALK, 0.0))

    def move(self, rng: np.random.Generator, name: str, seconds: float) -> None:
        """A quick motion on the spot, with a moment of rest before and after."""
        start = self.time_s + 0.5
        span = Span(name, start, start + seconds, rng.uniform(*FREQUENCY_HZ[name]), int(rng.integers(2)))
        self._moves.append(span)
        self.wait(span.end_s + 0.6)

    def script(self, talks: bool = False) -> Script:
        """What was written."""
        places, looks = list(self._places), list(self._looks)
        looks.append((max(self.time_s, looks[-1][0]) + _AFTER_S, self.yaw))
        if not self._walks or self._walks[-1][1] < self.time_s - 1e-6:
            places.append((self.time_s + _AFTER_S, self.x, self.z))
        times, values = np.array([p[0] for p in places]), np.array([p[1:] for p in places])
        if len(times) == 1:
            times, values = np.array([times[0], times[0] + 1.0]), np.repeat(values, 2, 0)
        at, yaws = np.array([p[0] for p in looks]), np.array([[p[1]] for p in looks])
        place, look = Route(times, values, _ROUND_S), Route(at, yaws, _TURN_ROUND_S)
        return Script(place, look, tuple(self._walks), tuple(self._moves), talks)

    def _turn_to(self, heading: float) -> None:
        change = _wrapped(heading - self.yaw)
        if abs(change) < 1e-3:
            return
        half = 0.12 + 0.12 * abs(change)
        start = max(self.time_s - half, self._looks[-1][0] + 1e-3)
        self._looks.append((start, self.yaw))
        self.yaw = self.yaw + change
        self._looks.append((self.time_s + half, self.yaw))


def _wrapped(angle: float) -> float:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def yaw_to(x: float, z: float, at: Float[Array, "2"] | tuple[float, float] = (0.0, 0.0)) -> float:
    """Where somebody at x, z looks who looks at a place (the camera's, if none is given)."""
    return float(np.arctan2(at[0] - x, at[1] - z))
