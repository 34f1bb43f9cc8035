"""The work behind ``openexpose fit``: photo after photo, each reported or written whole."""

import json
import sys
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from openexpose.body.mesh import keypoints, posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.cli.extras import need
from openexpose.cli.fit import Fit
from openexpose.cli.prediction import (
    Boxes,
    Results,
    boxes_of,
    check_camera,
    check_outputs,
    counted,
    read_boxes,
    write_results,
)
from openexpose.cli.shot import Shot, check_straightened, shot_of
from openexpose.errors import InputError
from openexpose.fitting.camera_file import Cameras, read_cameras
from openexpose.fitting.fit import aim_at, fit
from openexpose.fitting.keypoint_files import read_keypoints
from openexpose.fitting.observed import Observed, confident, observe
from openexpose.fitting.penalties import Priors
from openexpose.fitting.result import people_of, start_of
from openexpose.fitting.state import State
from openexpose.formats.atomic import write_whole
from openexpose.image.read import find_images, read_image
from openexpose.people import People
from openexpose.predict.parts import BODY
from openexpose.predict.pipeline import Predictor

_KINDS = ("{stem}.json", "{stem}_keypoints.json")


def fit_photos(options: Fit) -> int:
    """Fit the people of all photos; returns the exit code: 0, or 1 when some photos among several failed.

    Raises:
        InputError: wrong options, nothing to fit, or the only photo failed.
    """
    _check(options)
    images = find_images(options.paths)
    boxes = None if options.boxes is None else read_boxes(options.boxes)
    check_outputs(options.out, options.save, images)
    cameras = None if options.camera is None else read_cameras(options.camera)
    if cameras is not None:
        check_straightened(options.out, images)
    fitter = _Fitter(options, boxes, cameras)
    failed = people = 0
    show_bar = len(images) > 1 and sys.stderr.isatty()
    for path in tqdm(images, unit="photo", file=sys.stderr, disable=not show_bar):
        try:
            people += fitter.fit_one(path)
        except InputError as error:
            if len(images) == 1:
                raise
            failed += 1
            tqdm.write(f"openexpose: {error}", file=sys.stderr)
    ending = f", {failed} failed" if failed else ""
    done = counted(len(images) - failed, "photo", "photos")
    print(f"{done}, {counted(people, 'person', 'people')}{ending}: {options.out}")
    return 1 if failed else 0


def _check(options: Fit) -> None:
    check_camera(options.focal_length, options.fov)
    if options.camera is not None and (options.focal_length is not None or options.fov is not None):
        raise InputError("--camera with --focal-length or --fov", "one of them")
    if options.method == "full":
        need("evaluate", "scipy")
    if options.keypoints is not None and options.boxes is not None:
        raise InputError("both --keypoints and --boxes", "one of them")
    if options.keypoints is not None and not options.keypoints.exists():
        raise InputError(f"--keypoints '{options.keypoints}', which does not exist", "a JSON file, or a folder of them")
    if options.body_model is not None and options.init == "expose":
        fix = "Give --init mean: the networks answer for the free body."
        raise InputError("--body-model with --init expose", "the free body", fix)


class _Fitter:
    """Fits photo after photo."""

    def __init__(self, options: Fit, boxes: Boxes | None, cameras: Cameras | None) -> None:
        self.options, self.boxes, self.cameras = options, boxes, cameras
        self.model = _model(options.body_model)
        self.priors = Priors.load()
        asked = options.keypoints is None or options.init == "expose"
        self.predictor = Predictor.load(threads=options.threads) if asked else None

    def fit_one(self, path: Path) -> int:
        """Fit and write one photo; returns the number of people."""
        options = self.options
        shot = shot_of(read_image(path), options.focal_length, options.fov, self.cameras)
        observed, answer = self._seen(shot)
        if not observed:
            tqdm.write(f"openexpose: {path}: no people", file=sys.stderr)
            return 0
        with threadpool_limits(1, "blas"):  # many small products: threads would only wait for each other
            principal_px = np.tile(shot.principal_px, (len(observed), 1))
            aim = aim_at(observed, np.full(len(observed), shot.focal_px), principal_px)
            fitted = fit(self.model, self.priors, aim, start=answer, method=options.method)
        people = people_of(self.model, fitted.state, observed, shot.focal_px, principal_px=shot.principal_px)
        joints = keypoints(self.model, people.pose, people.betas, people.expression) + people.transl[:, None]
        results = Results(self.model, people, joints, self._mesh, shot.focal_source)
        write_results(options.out, options.save, shot.image, results)
        report = {
            "keypoints": [one.source for one in observed],
            "init": options.init,
            "method": options.method,
            "energy": fitted.energy.round(3).tolist(),
            "steps": fitted.steps.tolist(),
            "seconds": round(fitted.seconds, 3),
            **shot.report(people, joints),
        }
        shot.write_straightened(options.out)
        write_whole(options.out / f"{path.stem}_fit.json", (json.dumps(report, indent=2) + "\n").encode())
        return len(people)

    def _seen(self, shot: Shot) -> tuple[list[Observed], State | None]:
        """What to aim at, and where to begin (None: at the mean pose)."""
        options, photo, pixels = self.options, shot.photo, shot.image.pixels
        name, focal_px, principal_px = photo.path.name, shot.focal_px, shot.principal_px
        if options.keypoints is not None:
            file = _keypoint_file(options.keypoints, photo.path)
            read = read_keypoints(file, image=name, image_size=(photo.width, photo.height))
            observed = [shot.straightened(confident(one)) for one in read]
            observed = [one for one in observed if one.has("body")]
            if self.predictor is None or not observed:
                return observed, None
            boxes = np.stack([one.box_xyxy_px for one in observed])
            return observed, start_of(self.predictor(pixels, boxes=boxes, focal_px=focal_px, principal_px=principal_px))
        if self.predictor is None:
            raise TypeError("no predictor")
        given = None if self.boxes is None else shot.straightened_boxes(boxes_of(self.boxes, photo, options.boxes))
        people = self.predictor(pixels, boxes=given, focal_px=focal_px, principal_px=principal_px)
        found = [confident(one, fewest=0) for one in observe(self.predictor, people, name)]
        use = np.array([one.has("body") for one in found], bool)
        observed = [one for one, used in zip(found, use.tolist(), strict=True) if used]
        return observed, start_of(people[use]) if options.init == "expose" else None

    def _mesh(self, people: People) -> np.ndarray:
        posed = posed_mesh(self.model, people.pose, people.betas, people.expression)
        return posed.vertices + people.transl[:, None].astype(np.float32)


def _model(path: Path | None) -> BodyModel:
    """The free body, or the user's with as many coefficients as the paper has."""
    if path is None:
        return load_body_model(num_betas=BODY.num_betas, num_expression=BODY.num_expression)
    return load_body_model(path, num_betas=10, num_expression=10)


def _keypoint_file(place: Path, photo: Path) -> Path:
    """The file with the keypoints of a photo.

    Raises:
        InputError: the folder has none.
    """
    if not place.is_dir():
        return place
    names = [kind.format(stem=photo.stem) for kind in _KINDS]
    for name in names:
        if (place / name).is_file():
            return place / name
    raise InputError(f"'{place}' without keypoints of '{photo.name}'", " or ".join(names))
