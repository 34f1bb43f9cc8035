"""The work behind ``openexpose fit``: photo after photo, each reported or written whole."""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from openexpose import __version__
from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES
from openexpose.body.mesh import keypoints, posed_mesh
from openexpose.cli.extras import need
from openexpose.cli.fit import Fit
from openexpose.cli.predict import Output
from openexpose.cli.prediction import (
    Boxes,
    Results,
    boxes_of,
    check_camera,
    check_outputs,
    check_threads,
    counted,
    output_path,
    read_boxes,
    write_results,
)
from openexpose.cli.shot import Shot, check_straightened, shot_of
from openexpose.data.sample import Sample
from openexpose.data.sample_shards import sample_shards_in, write_samples
from openexpose.errors import InputError
from openexpose.fitting.camera_file import Cameras, read_cameras
from openexpose.fitting.embedding import is_smplx_npz, load_fit_model
from openexpose.fitting.export import MODELS, samples_of
from openexpose.fitting.fit import aim_at, fit
from openexpose.fitting.keypoint_files import keypoint_file, read_keypoints
from openexpose.fitting.lone import LONE_PARTS, fit_lone, less_contour
from openexpose.fitting.observed import FEWEST_FINE, Observed, confident, observe
from openexpose.fitting.penalties import Priors
from openexpose.fitting.result import people_of, start_of
from openexpose.fitting.state import State
from openexpose.formats.atomic import write_whole
from openexpose.formats.native import indented, read_npz
from openexpose.image.read import find_images, read_image
from openexpose.people import People
from openexpose.predict.pipeline import Predictor
from openexpose.viewer.payload import check_free

_DECIDE = ("init", "method", "part", "focal_length", "fov")
"""Options that results depend on, besides files."""
_COUNTED = {
    "whole": ("person", "people"),
    "face": ("face", "faces"),
    "left-hand": ("left hand", "left hands"),
    "right-hand": ("right hand", "right hands"),
}


def fit_photos(options: Fit) -> int:
    """Fit the people of all photos; returns the exit code: 0, or 1 when some photos among several failed.

    Raises:
        InputError: wrong options, nothing to fit, or the only photo failed.
    """
    _check(options)
    images = find_images(options.paths)
    _check_names(images)
    boxes = None if options.boxes is None else read_boxes(options.boxes)
    cameras = None if options.camera is None else read_cameras(options.camera)
    fitter = _Fitter(options, boxes, cameras)
    check_outputs(options.out, fitter.files, images)
    if cameras is not None:
        check_straightened(options.out, images)
    failed = people = before = 0
    show_bar = len(images) > 1 and sys.stderr.isatty()
    for path in tqdm(images, unit="photo", file=sys.stderr, disable=not show_bar):
        try:
            known = fitter.done_before(path)
            before += known is not None
            people += fitter.fit_one(path) if known is None else known
        except InputError as error:
            if len(images) == 1:
                raise
            failed += 1
            tqdm.write(f"openexpose: {error}", file=sys.stderr)
    if "samples" in options.save:
        for old in sample_shards_in(options.out) if not people else ():
            old.unlink()
        if people:
            write_samples(options.out, fitter.samples())
    ending = (f", {before} of them fitted before" if before else "") + (f", {failed} failed" if failed else "")
    done = counted(len(images) - failed, "photo", "photos")
    print(f"{done}, {counted(people, *_COUNTED[options.part])}{ending}: {options.out}")
    return 1 if failed else 0


def _check(options: Fit) -> None:
    check_camera(options.focal_length, options.fov)
    check_threads(options.threads)
    if options.camera is not None and (options.focal_length is not None or options.fov is not None):
        raise InputError("--camera with --focal-length or --fov", "one of them")
    if options.camera is not None and "samples" in options.save:
        raise InputError("--save samples with --camera", "photos whose camera looks through their middle")
    if options.method == "full":
        need("evaluate", "scipy")
    if options.keypoints is not None and options.boxes is not None:
        raise InputError("both --keypoints and --boxes", "one of them")
    if options.keypoints is not None and not options.keypoints.exists():
        raise InputError(f"--keypoints '{options.keypoints}', which does not exist", "a JSON file, or a folder of them")
    if options.body_model is not None and options.init == "expose":
        fix = "Give --init mean: the networks answer for the free body."
        raise InputError("--body-model with --init expose", "the free body", fix)


def _check_names(images: Sequence[Path]) -> None:
    """See that no photo is called like the report about another."""
    stems = {path.stem.casefold(): path for path in images}
    for path in images:
        other = stems.get(f"{path.stem}_fit".casefold())
        if other is not None:
            got = f"the photos '{path.name}' and '{other.name}', about both of which '{path.stem}_fit.json' would tell"
            raise InputError(got, "names that do not differ by '_fit'", "Rename one, or fit them into two folders.")


class _Fitter:
    """Fits photo after photo, and knows those that the same command has fitted before."""

    def __init__(self, options: Fit, boxes: Boxes | None, cameras: Cameras | None) -> None:
        self.options, self.boxes, self.cameras = options, boxes, cameras
        wanted = dict.fromkeys("npz" if kind == "samples" else kind for kind in options.save)
        self.files: tuple[Output, ...] = tuple(wanted)  # samples are made of npz
        self.fitted: list[Path] = []
        if options.body_model is not None and not is_smplx_npz(options.body_model):
            need("evaluate", "scipy")
        self.model = load_fit_model(options.body_model, options.part)
        if "html" in self.files:
            check_free(self.model.body.name)
        if "samples" in options.save and (name := self.model.body.name) not in MODELS:
            raise InputError(f"--save samples with the model '{name}'", f"one of {', '.join(MODELS)}")
        self.same = _digest([__version__, *(str(getattr(options, name)) for name in _DECIDE)], options.body_model)
        self.priors = Priors.load()
        asked = options.keypoints is None or options.init == "expose"
        self.predictor = Predictor.load(threads=options.threads) if asked else None

    def fit_one(self, path: Path) -> int:
        """Fit and write one photo; returns the number of people."""
        options = self.options
        shot = shot_of(read_image(path), options.focal_length, options.fov, self.cameras)
        observed, answer = self._seen(shot)
        if not observed:
            hint = "" if options.part == "whole" else " (boxes tight around them help: --boxes)"
            tqdm.write(f"openexpose: {path}: no {_COUNTED[options.part][1]}{hint}", file=sys.stderr)
            self._report(path, {"keypoints": []})
            return 0
        body = self.model.body
        with threadpool_limits(1, "blas"):  # many small products: threads would only wait for each other
            principal_px = np.tile(shot.principal_px, (len(observed), 1))
            aim = aim_at(observed, np.full(len(observed), shot.focal_px), principal_px)
            if options.part == "whole":
                fitted = fit(body, self.priors, aim, start=answer, method=options.method)
            else:
                fitted = fit_lone(body, self.priors, aim, options.part, start=answer, method=options.method)
        state, at = self.model.settled(fitted.state), shot.principal_px
        people = people_of(body, state, observed, shot.focal_px, principal_px=at, part=options.part)
        joints = self._joints(people)
        results = Results(body, people, joints, self._mesh, shot.focal_source)
        write_results(options.out, self.files, shot.image, results)
        report = {
            "keypoints": [one.source for one in observed],
            "init": options.init,
            "method": options.method,
            "energy": fitted.energy.round(3).tolist(),
            "steps": fitted.steps.tolist(),
            "seconds": round(fitted.seconds, 3),
            "observed": [_named(one) for one in observed],
            **shot.report(people, joints),
        }
        shot.write_straightened(options.out)
        self._report(path, report)
        return len(people)

    def done_before(self, path: Path) -> int | None:
        """How many people of a photo the same command has fitted before; None: it has not, or its results are gone."""
        try:
            report = json.loads(self._report_path(path).read_bytes())
            if report["made_from"] != self._made_from(path):
                return None
            people = len(report["keypoints"])
        except (OSError, ValueError, LookupError, TypeError):
            return None
        places = {kind: output_path(self.options.out, path, kind) for kind in self.files}
        if people and not (all(place.is_file() for place in places.values()) and _is_whole(places.get("npz"))):
            return None
        self.fitted += [path] * (people > 0)
        return people

    def samples(self) -> Iterator[Sample]:
        """Those of all photos that were fitted, now or before, from their results."""
        for path in self.fitted:
            people = read_npz(output_path(self.options.out, path, "npz"))
            told = json.loads(self._report_path(path).read_bytes())
            observed = [
                _observed(f"{path.name}/{k}", one, people.image_size, source)
                for k, (one, source) in enumerate(zip(told["observed"], told["keypoints"], strict=True))
            ]
            yield from samples_of(people, self._joints(people), observed, path)

    def _joints(self, people: People) -> np.ndarray:
        """Keypoints in the camera frame, metres; NaN of those that the body model lacks."""
        body = self.model.body
        joints = keypoints(body, people.pose, people.betas, people.expression) + people.transl[:, None]
        joints[:, ~self.model.keypoints] = np.nan
        return joints

    def _report_path(self, path: Path) -> Path:
        return self.options.out / f"{path.stem}_fit.json"

    def _report(self, path: Path, report: dict[str, Any]) -> None:
        """Write what a photo's fit is told of; last, so that all else is there then."""
        write_whole(self._report_path(path), indented(report | {"made_from": self._made_from(path)}))
        self.fitted += [path] * bool(report["keypoints"])

    def _made_from(self, path: Path) -> str:
        """What the results of a photo depend on."""
        options = self.options
        told = [self.same] if self.boxes is None else [self.same, json.dumps(self.boxes.get(path.name))]
        seen = None if options.keypoints is None else keypoint_file(options.keypoints, path)
        return _digest(told, path, seen, options.camera)

    def _seen(self, shot: Shot) -> tuple[list[Observed], State | None]:
        """What to aim at, and where to begin (None: at the mean pose)."""
        options, photo, name = self.options, shot.photo, shot.photo.path.name
        if options.keypoints is not None:
            file = keypoint_file(options.keypoints, photo.path)
            read = read_keypoints(file, image=name, image_size=(photo.width, photo.height))
            wanted = [self._wanted(shot.straightened(confident(one))) for one in read]
            observed = [one for one in wanted if one.has(self.named)]
            if not observed and options.part != "whole":
                got = f"'{file}' without {_COUNTED[options.part][1]} in '{name}'"
                raise InputError(got, f"at least {FEWEST_FINE} keypoints of a {options.part}")
            if self.predictor is None or not observed:
                return observed, None
            boxes = np.stack([one.box_xyxy_px for one in observed])
            return observed, start_of(self._predicted(shot, boxes))
        if self.predictor is None:
            raise TypeError("no predictor")
        given = None if self.boxes is None else shot.straightened_boxes(boxes_of(self.boxes, photo, options.boxes))
        people = self._predicted(shot, given)
        found = [self._wanted(confident(one, fewest=0)) for one in observe(self.predictor, people, name)]
        use = np.array([one.has(self.named) for one in found], bool)
        observed = [one for one, used in zip(found, use.tolist(), strict=True) if used]
        if options.part != "whole":
            observed = [less_contour(one) for one in observed]
        return observed, start_of(people[use]) if options.init == "expose" else None

    def _predicted(self, shot: Shot, boxes: np.ndarray | None) -> People:
        """The networks' answer about the people, or the parts, in boxes."""
        if self.predictor is None:
            raise TypeError("no predictor")
        camera, part = (shot.focal_px, shot.principal_px), self.options.part
        return self.predictor(shot.image.pixels, boxes=boxes, focal_px=camera[0], principal_px=camera[1], part=part)

    @property
    def named(self) -> str:
        """What must be seen of somebody."""
        return "body" if self.options.part == "whole" else LONE_PARTS[self.options.part].named

    def _wanted(self, observed: Observed) -> Observed:
        """What was seen of what is fitted and the body model has."""
        lone = LONE_PARTS.get(self.options.part)
        part = np.ones(144, bool) if lone is None else np.isin(np.arange(144), lone.keypoints)
        return observed.only(part & self.model.keypoints)

    def _mesh(self, people: People) -> np.ndarray:
        posed = posed_mesh(self.model.body, people.pose, people.betas, people.expression)
        return posed.vertices + people.transl[:, None].astype(np.float32)


def _is_whole(npz: Path | None) -> bool:
    """Whether results that are wanted can be read."""
    try:
        return npz is None or len(read_npz(npz)) > 0
    except InputError:
        return False


def _named(observed: Observed) -> dict[str, list[float]]:
    """Keypoints that were seen: x, y, pixels, and confidence."""
    points = observed.keypoints_px.round(4)
    return {KEYPOINT_NAMES[k]: points[k].tolist() for k in np.flatnonzero(points[:, 2]).tolist()}


def _observed(name: str, told: dict[str, list[float]], size: tuple[int, int], source: str) -> Observed:
    """Inverse of :func:`_named`."""
    points = np.zeros((len(KEYPOINT_NAMES), 3))
    for keypoint, values in told.items():
        points[INDEX[keypoint]] = values
    return Observed(name, points, size, source)


def _digest(texts: Sequence[str], *files: Path | None) -> str:
    """Of texts and files' contents.

    Raises:
        InputError: a file cannot be read.
    """
    digest = hashlib.sha256("\0".join(texts).encode())
    for path in files:
        if path is not None:
            try:
                digest.update(path.read_bytes())
            except (OSError, ValueError) as error:
                raise InputError(f"{path} cannot be read ({error})", "a file that can be read") from None
        digest.update(b"\0")
    return digest.hexdigest()[:32]
