"""A bundle: the folder that holds everything a prediction needs, and the sessions that run its networks.

bundle.json          parts, crops, thresholds, provenance
detector.onnx        person boxes
{body,hand,face}_trunk.onnx   picture -> feature, landmarks, visibility, world points, presence
{body,hand,face}_head.onnx    those + start vector -> parameter vector
means.npz            mean parameter vector of each part
*.npz                the body model, unless it is the packaged free body

A bundle may name a packaged one as its base, and then holds only what differs.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import onnxruntime as ort
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.image.crop import SAMPLINGS
from openexpose.predict.parts import RECIPES, SPECS, PartSpec

Array = np.ndarray

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}


@dataclass(frozen=True)
class PartConfig:
    """How a bundle runs one part network."""

    size: int
    """Side of the network's input, pixels."""
    crop_scale: float
    """Side of the crop over the longer side of the box it is drawn around (the paper's attention factor)."""
    upright: bool
    """Turn the crop so that the body's estimate of the hand or head points up (the paper does not turn crops)."""
    looks: int
    """How often to look: each further look is at the crop that the trunk's own landmarks ask for. The paper: 1."""
    wider: bool
    """Also start from wider crops, and from turned ones where people cannot be made out, and go on with the look that
    agrees best with the box (for whole people)."""
    min_presence: float
    """Below this certainty the part's answer is not used: hands and faces then keep the body network's estimate."""
    max_shift: float
    """Nor is it used if the trunk sees wrist or nose farther from where the body has it, in sides of the crop."""
    sampling: str = "area"
    """How crops are sampled: a name in :data:`openexpose.image.crop.SAMPLINGS`."""
    conditioned: bool = True
    """A hand or face starts at the body's estimate of it (paper, eq. 3, 4); False: at its own mean."""


@dataclass(frozen=True)
class BundleConfig:
    """Content of bundle.json."""

    name: str
    body_model: str
    """File name of the body model inside the bundle, or ``freebody`` for the packaged one."""
    parts: dict[str, PartConfig]
    detector: str | None
    provenance: dict[str, str]
    """What each file is, where it comes from, and its licence."""
    recipe: str = "default"
    """Which parameter vectors the networks speak: a name in :data:`openexpose.predict.parts.RECIPES`."""
    weak_camera: bool = False
    """Networks tell orientations and project joints as the paper's weak-perspective camera does, on whatever ray the
    crop lies; False: crops are virtual cameras of the picture's pinhole camera."""
    base: str | None = None
    """Name of the packaged bundle (``default``) that has what this one's bundle.json, ``means.npz`` and folder have
    not."""

    @property
    def specs(self) -> dict[str, PartSpec]:
        """The parts, by name."""
        return RECIPES[self.recipe]

    @classmethod
    def read(cls, folder: Path) -> "BundleConfig":
        """Read ``folder/bundle.json``, with what its base says where it says nothing.

        Raises:
            InputError: no such file, not JSON, or fields missing or unknown.
        """
        path = folder / "bundle.json"
        if folder in (default_bundle(), fast_bundle()):
            fix = "The installation is incomplete: install openexpose again."
        else:
            fix = "Make one with `openexpose bundle`, or leave --bundle out to use the packaged weights."
        if not path.is_file():
            raise InputError(f"'{folder}' without a bundle.json", "the folder of a bundle", fix)
        try:
            raw = json.loads(path.read_text("utf-8"))
            if raw.get("base") is not None:
                raw = _laid_over(asdict(cls.read(_base(raw["base"]))), raw)
            parts = {name: PartConfig(**part) for name, part in raw.pop("parts").items()}
            config = cls(parts=parts, **raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"'{path}' that does not read as a bundle ({error})", "a bundle.json", fix) from None
        if set(config.parts) != set(SPECS):
            raise InputError(f"'{path}' with the parts {sorted(config.parts)}", f"the parts {sorted(SPECS)}", fix)
        if config.recipe not in RECIPES:
            raise InputError(f"'{path}' with the recipe '{config.recipe}'", f"one of {sorted(RECIPES)}", fix)
        unknown = {part.sampling for part in parts.values()} - set(SAMPLINGS)
        if unknown:
            raise InputError(f"'{path}' with the sampling {sorted(unknown)}", f"some of {sorted(SAMPLINGS)}", fix)
        return config

    def file(self, folder: Path, name: str) -> Path:
        """Where a file of this bundle lies: in its folder, or, of a bundle with a base, else in the base's."""
        own = folder / name
        return own if self.base is None or own.is_file() else _base(self.base) / name

    def json(self) -> str:
        """Content of bundle.json: of a bundle with a base only what differs from it."""
        raw = asdict(self)
        if self.base is not None:
            base = asdict(BundleConfig.read(_base(self.base)))
            for name in _TABLES:
                raw[name] = {key: value for key, value in raw[name].items() if value != base[name].get(key)}
            raw = {name: value for name, value in raw.items() if value not in (base[name], {})}
        return json.dumps(raw, indent=2) + "\n"


_TABLES = ("parts", "provenance")


def _laid_over(base: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    """Content of a bundle.json with what its base's says where it says nothing."""
    return base | raw | {name: base[name] | raw.get(name, {}) for name in _TABLES}


def default_bundle() -> Path:
    """Folder of the bundle that ships inside the package."""
    return Path(str(files("openexpose.predict") / "bundles" / "default"))


def fast_bundle() -> Path:
    """Folder of the packaged bundle with a smaller body trunk: half the time, less exact. Its base is the default."""
    return default_bundle().with_name("fast")


def packaged_trunk(part: str, trunk: str | None = None) -> Path:
    """File of the trunk that a part's weights are trained on.

    Args:
        part: ``body``, ``hand`` or ``face``.
        trunk: ``full``: the fast bundle's (body); None: the default bundle's.
    """
    return (default_bundle() if trunk is None else fast_bundle()) / f"{part}_trunk.onnx"


def _base(name: object) -> Path:
    if name != "default":
        raise ValueError(f"the base '{name}'; the only one is 'default'")
    return default_bundle()


def open_session(path: Path, threads: int, device: str) -> ort.InferenceSession:
    """An onnxruntime session that sleeps, rather than spins, while it waits.

    Raises:
        InputError: the file is missing or unreadable, or the device has no provider in this onnxruntime build.
    """
    provider = _PROVIDERS.get(device)
    available = [name for name, known in _PROVIDERS.items() if known in ort.get_available_providers()]
    if provider not in ort.get_available_providers():
        raise InputError(f"the device '{device}'", f"one of {available}", "Other devices need their onnxruntime build.")
    if not path.is_file():
        raise InputError(f"a bundle without '{path.name}'", "all networks named in bundle.json")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime raises its own, undocumented exception types for unreadable files
        raise InputError(f"'{path.name}', which onnxruntime cannot load ({error})", "an ONNX network") from None


@dataclass(frozen=True)
class Seen:
    """What a trunk sees in n crops: the evidence for the regressor."""

    feature: Float[Array, "n f"]
    landmarks: Float[Array, "n l 3"]
    """x, y in crop coordinates, z in the same unit. The paper's trunks have none: l = 0."""
    visibility: Float[Array, "n l"]
    world: Float[Array, "n l 3"] | None
    """Points in metres, where the trunk has them."""
    presence: Float[Array, "n"]
    """Probability that the crop shows the part at all."""
    handedness: Float[Array, "n"] | None = None
    """Hands: probability that it is a right hand, in a mirrored crop a left one."""

    @property
    def certainty(self) -> Float[Array, "n"]:
        """Probability that the crop shows just this part: of hands, the hand of this side."""
        return self.presence if self.handedness is None else self.presence * self.handedness

    def __getitem__(self, rows: Array) -> "Seen":
        """What was seen in the crops ``rows``."""

        def some(value: Array | None) -> Array | None:
            return None if value is None else value[rows]

        return Seen(
            self.feature[rows],
            self.landmarks[rows],
            self.visibility[rows],
            some(self.world),
            self.presence[rows],
            some(self.handedness),
        )

    def where(self, use: Array, other: "Seen") -> "Seen":
        """Rows of ``other`` where ``use`` [n] is true, else rows of self."""

        def pick(mine: Array, theirs: Array) -> Array:
            return np.where(use.reshape(-1, *[1] * (mine.ndim - 1)), theirs, mine)

        def pick_some(mine: Array | None, theirs: Array | None) -> Array | None:
            return None if mine is None or theirs is None else pick(mine, theirs)

        return Seen(
            pick(self.feature, other.feature),
            pick(self.landmarks, other.landmarks),
            pick(self.visibility, other.visibility),
            pick_some(self.world, other.world),
            pick(self.presence, other.presence),
            pick_some(self.handedness, other.handedness),
        )


@dataclass
class TrunkRunner:
    """The exported trunk of one part."""

    spec: PartSpec
    config: PartConfig
    trunk: ort.InferenceSession

    def look(self, images: Float[Array, "n 3 s s"]) -> Seen:
        """Run the trunk on crops, RGB 0..1."""
        names = [output.name for output in self.trunk.get_outputs()]
        out = dict(zip(names, self.trunk.run(names, {"image": images}), strict=True))
        count = len(images)
        if "landmarks" not in out:
            nothing = np.zeros((count, 0, 3), np.float32)
            return Seen(out["feature"], nothing, nothing[..., 0], None, np.ones(count, np.float32))
        presence = out["presence"].reshape(count)
        side = out["handedness"].reshape(count) if "handedness" in out else None
        return Seen(out["feature"], out["landmarks"], out["visibility"], out.get("world"), presence, side)

    @property
    def has_landmarks(self) -> bool:
        """Whether the trunk tells landmarks: what looks, gates and the refinement go by."""
        return any(output.name == "landmarks" for output in self.trunk.get_outputs())


@dataclass
class PartRunner(TrunkRunner):
    """The exported trunk and head of one part."""

    mean: Float[Array, "size"]
    head: ort.InferenceSession

    def regress(self, seen: Seen, start: Float[Array, "n size"]) -> Float[Array, "n size"]:
        """Run the iterative regressor from start vectors."""
        feed = {"feature": seen.feature, "landmarks": seen.landmarks, "visibility": seen.visibility, "start": start}
        if not self.has_landmarks:
            feed = {"feature": seen.feature, "start": start}
        elif seen.world is not None:
            feed["world"] = seen.world
        return self.head.run(["parameters"], {name: value.astype(np.float32) for name, value in feed.items()})[0]


@dataclass
class Stopwatch:
    """Seconds spent in each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a ``with`` block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def open_parts(folder: Path, config: BundleConfig, threads: int, device: str) -> dict[str, PartRunner]:
    """The three part networks of a bundle, ready to run.

    Raises:
        InputError: a network or ``means.npz`` is missing or unreadable, or the device is not available.
    """
    means = _means(folder, config)
    return {
        name: PartRunner(
            config.specs[name],
            part,
            open_session(config.file(folder, f"{name}_trunk.onnx"), threads, device),
            means[name],
            open_session(config.file(folder, f"{name}_head.onnx"), threads, device),
        )
        for name, part in config.parts.items()
    }


def _means(folder: Path, config: BundleConfig) -> dict[str, Float[Array, "size"]]:
    """The mean vectors of a bundle's parts; of a bundle with a base the base's, where it has none of its own."""
    means: dict[str, Array] = {}
    try:
        for place in (folder,) if config.base is None else (_base(config.base), folder):
            with np.load(place / "means.npz", allow_pickle=False) as content:
                means |= {name: content[name].astype(np.float32) for name in config.parts if name in content}
        return {name: means[name] for name in config.parts}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile) as error:
        raise InputError(f"a means.npz that does not read ({error}) in '{folder}'", "one vector a part") from None
