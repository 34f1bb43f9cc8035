"""The work behind ``openexpose curate``: prepare, status, export."""

import sys
from collections import Counter
from typing import Any

from tqdm import tqdm

from openexpose.body.model import load_body_model
from openexpose.cli.curate import Export, Prepare, Status
from openexpose.cli.prediction import Boxes, boxes_of, check_camera, check_threads, counted, focal_of, read_boxes
from openexpose.cli.printing import say
from openexpose.curation.export import export
from openexpose.curation.fitter import Fitter
from openexpose.curation.prepare import Work, licences, prepare
from openexpose.curation.record import FitRecord
from openexpose.curation.statistics import project_statistics
from openexpose.curation.store import Store
from openexpose.errors import InputError
from openexpose.fitting.keypoint_files import keypoint_file
from openexpose.image.read import Image, find_images
from openexpose.predict.parts import BODY

_SHOWN = 10


def prepare_photos(options: Prepare) -> int:
    """Prepare photos; returns the exit code: 0, or 1 when some failed.

    Raises:
        InputError: wrong options, no photos, a project that cannot be opened or written to.
    """
    _check(options)
    by_name = options.keypoints is not None or options.boxes is not None
    photos = find_images(options.paths, same_names=not by_name)
    boxes = None if options.boxes is None else read_boxes(options.boxes)
    licence, fitter = licences(options.licence), Fitter(options.threads, options.bundle)

    def fit(image: Image) -> list[FitRecord]:
        return _fit(fitter, options, boxes, image)

    work = Work(fit, model=lambda: fitter.model, priors=lambda: fitter.priors, licence=licence)
    outcomes: Counter[str] = Counter()
    people = 0
    with Store.create(options.project) as store:
        show_bar = len(photos) > 1 and sys.stderr.isatty()
        bar = tqdm(total=len(photos), unit="photo", file=sys.stderr, disable=not show_bar)
        for told in prepare(store, photos, work):
            outcomes[told.outcome] += 1
            people += told.people
            if told.outcome == "failed":
                tqdm.write(f"openexpose: {told.message}", file=sys.stderr)
            elif told.outcome == "same":
                tqdm.write(f"openexpose: {told.path} left out: {told.message}", file=sys.stderr)
            elif told.outcome == "fitted" and not told.people:
                tqdm.write(f"openexpose: {told.path}: no people", file=sys.stderr)
            bar.update()
        bar.close()
    parts = [f"{counted(outcomes['fitted'], 'photo', 'photos')}, {counted(people, 'fit', 'fits')}"]
    parts += [f"{outcomes['kept']} there already"] if outcomes["kept"] else []
    parts += [f"{counted(outcomes['same'], 'copy', 'copies')} left out"] if outcomes["same"] else []
    parts += [f"{outcomes['failed']} failed"] if outcomes["failed"] else []
    say(f"{', '.join(parts)}: {options.project}")
    return 1 if outcomes["failed"] else 0


def _check(options: Prepare) -> None:
    check_camera(options.focal_length, options.fov)
    check_threads(options.threads)
    if options.keypoints is not None and options.boxes is not None:
        raise InputError("both --keypoints and --boxes", "one of them")
    if options.keypoints is not None and not options.keypoints.exists():
        raise InputError(f"--keypoints '{options.keypoints}', which does not exist", "a JSON file, or a folder of them")


def _fit(fitter: Fitter, options: Prepare, boxes: Boxes | None, image: Image) -> list[FitRecord]:
    return fitter(
        image,
        keypoints=None if options.keypoints is None else keypoint_file(options.keypoints, image.path),
        boxes=None if boxes is None else boxes_of(boxes, image, options.boxes),
        focal_px=focal_of(image, options.focal_length, options.fov).px,
    )


def tell_status(options: Status) -> int:
    """Print how far a project is; returns the exit code.

    Raises:
        InputError: no such project, or it is damaged.
    """
    with Store.open(options.project) as store:
        numbers = project_statistics(store)
        failed = [photo for photo in store.photos() if photo.state == "failed"]
    for line in _status(numbers):
        say(line)
    for photo in failed[:_SHOWN]:
        say(f"  failed: {photo.message}")
    if len(failed) > _SHOWN:
        say(f"  and {len(failed) - _SHOWN} more")
    return 0


def _status(numbers: dict[str, Any]) -> list[str]:
    photos, fits, agreed = numbers["photos"], numbers["fits"], numbers["agreement"]
    done, empty, failed = photos["done"], photos["without people"], photos["failed"]
    lines = [f"{counted(done, 'photo', 'photos')} ({empty} without people), {failed} failed"]
    lines += [f"{counted(fits['all'], 'fit', 'fits')}, {fits['judged']} judged, {fits['disputed']} disputed"]
    if fits["all"]:
        spread = numbers["scores"]["all"]["badness"]
        lines += [f"badness: median {spread['0.5']:.2f}, 90 % from {spread['0.05']:.2f} to {spread['0.95']:.2f}"]
    for reviewer, said in numbers["verdicts"].items():
        lines += [f"{reviewer}: {', '.join(f'{count} {verdict}' for verdict, count in said.items())}"]
    for pair in agreed["pairs"]:
        both = f"{pair['first']} and {pair['second']}, {counted(pair['fits'], 'fit', 'fits')}"
        lines += [f"{both}: {pair['percent']:.0f} % the same, Cohen's kappa {_kappa(pair['kappa'])}"]
    if agreed["fits"]:
        count = counted(agreed["fits"], "fit", "fits")
        lines += [f"{count} judged by two or more: Fleiss' kappa {_kappa(agreed['fleiss'])}"]
    for licence, count in numbers["licences"].items():
        lines += [f"licence: {licence or 'not told'}: {counted(count, 'photo', 'photos')}"]
    return lines


def _kappa(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def export_fits(options: Export) -> int:
    """Export the accepted fits; returns the exit code: 0, or 1 when photos had to be left out.

    Raises:
        InputError: no such project, nothing accepted, or the folder cannot be used.
    """
    model = load_body_model(num_betas=BODY.num_betas, num_expression=BODY.num_expression)
    with Store.open(options.project) as store:
        written = export(store, options.out, model, options.agreed)
    for sentence in written.left_out:
        say(f"left out: {sentence}")
    ending = f", {counted(len(written.left_out), 'photo', 'photos')} left out" if written.left_out else ""
    say(
        f"{counted(written.fits, 'fit', 'fits')} in {counted(written.photos, 'photo', 'photos')}{ending}: {options.out}"
    )
    return 1 if written.left_out else 0
