"""A seeded film: cast, plan and motion, drawn anew until people hide one another as they shall."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.synth.person import Stage
from openexpose.synth.sequence_cast import Character, actor_of, sample_character
from openexpose.synth.sequence_motion import animate
from openexpose.synth.sequence_plan import LEAST_PEOPLE, MOST_PEOPLE, sample_plan
from openexpose.synth.sequence_render import Film
from openexpose.synth.sequence_visibility import Hiding, Shares, hidings, shares, stacked
from openexpose.synth.surroundings import sample_surroundings

Array = np.ndarray

_STREAM = 4
"""Of the random numbers: those of pictures are 0 to 3."""
_TRIES = 60
_CROSSING_S, _AWAY_S, _BEHIND_S = (0.4, 1.1), (0.35, 1.9), (0.2, 2.0)
"""For how long somebody is hidden by somebody else, is out of the picture, is behind a thing."""
_EVERY, _ROWS = 2, 90
"""A plan is looked at in one of so many frames, in a picture of so many rows."""


@dataclass(frozen=True)
class SequenceJob:
    """A sequence to render; the same job gives the same frames.

    Attributes:
        seed, number: of the random numbers. people: 2 to 8. seconds: 8 or more. fps: frames a second.
        image_size: width and height, pixels; even.
    """

    seed: int = 0
    number: int = 0
    people: int = 4
    seconds: float = 10.0
    fps: int = 25
    image_size: tuple[int, int] = (1280, 720)

    def __post_init__(self) -> None:
        if self.seed < 0 or self.number < 0:
            raise InputError(f"seed {self.seed}, number {self.number}", "0 or more")
        if not LEAST_PEOPLE <= self.people <= MOST_PEOPLE:
            raise InputError(f"{self.people} people", f"{LEAST_PEOPLE} to {MOST_PEOPLE}")
        if not 8 <= self.seconds <= 60 or not 10 <= self.fps <= 120:
            got = f"{self.seconds:g} s at {self.fps} frames a second"
            raise InputError(got, "8 to 60 s at 10 to 120 frames a second")
        if min(self.image_size) < 64 or any(n % 2 for n in self.image_size):
            got = f"frames of {self.image_size[0]} x {self.image_size[1]} pixels"
            raise InputError(got, "even numbers, 64 or more")

    @property
    def name(self) -> str:
        """Of the folder."""
        return f"video-{self.seed}-{self.number:05d}"

    @property
    def times_s(self) -> Float[Array, "n"]:
        """When the frames are shown."""
        return np.arange(round(self.seconds * self.fps)) / self.fps


def sample_film(job: SequenceJob, stage: Stage) -> Film:
    """The film of a job.

    Raises:
        InputError: no plan was found in which people are hidden and come back as they shall.
    """
    rng = np.random.default_rng([job.seed, _STREAM, job.number])
    cast = _cast([sample_character(rng, stage) for _ in range(job.people)], stage)
    for _ in range(_TRIES):
        plan = sample_plan(rng, stage, job.people, job.seconds, job.image_size)
        motions = tuple(animate(rng, stage, *pair, job.times_s) for pair in zip(cast, plan.scripts, strict=True))
        around = sample_surroundings(rng, stage, plan.camera)
        while around.name == "none":  # a room of chance has no floor
            around = sample_surroundings(rng, stage, plan.camera)
        film = Film(plan, around, cast, motions, float(rng.uniform(0.5, 2.5)))
        seen = measured(stage, film, range(0, len(job.times_s), _EVERY))
        if eventful(hidings(seen, job.times_s[::_EVERY]), job.people):
            return film
    raise InputError(f"{job}", "a job with room for crossings", "Take another seed, more people or a wider picture.")


def _cast(people: list[Character], stage: Stage) -> tuple[Character, ...]:
    """The tallest first, who stands near the camera, the smallest second, who is hidden by the first."""
    heights = [stage.measures.of(person.betas)[0] for person in people]
    first, second = int(np.argmax(heights)), int(np.argmin(heights))
    others = [person for k, person in enumerate(people) if k not in (first, second)]
    return people[first], people[second], *others


def measured(stage: Stage, film: Film, frames: range) -> Shares:
    """What is seen of everybody in some frames, coarsely."""
    camera = film.plan.camera
    rotation, shift = camera.R_camera_world, -camera.R_camera_world @ camera.position_m
    things = [thing.moved(rotation, shift) for thing in film.plan.things]
    rows = []
    for n in frames:
        pairs = zip(film.cast, film.performances, strict=True)
        actors = [actor_of(stage, who, p.pose[n], p.expression[n], p.pelvis[n]) for who, p in pairs]
        rows.append(
            shares(
                [actor.moved(rotation, shift).body for actor in actors], things, camera, max(1, camera.height // _ROWS)
            )
        )
    return stacked(rows)


def eventful(found: list[Hiding], people: int) -> bool:
    """Whether somebody is hidden by somebody else for a moment; with three people or more also whether somebody leaves
    the picture and is soon back, and somebody passes behind a thing."""
    wanted = {"people": _CROSSING_S}
    if people > 2:
        wanted |= {"outside": _AWAY_S, "things": _BEHIND_S}
    for cause, (least, most) in wanted.items():
        if not any(h.cause == cause and least <= h.end_s - h.start_s <= most for h in found):
            return False
    return True
