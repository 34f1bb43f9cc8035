"""The work behind ``openexpose predict``: picture after picture, clip after clip, each reported or written whole."""

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import Float, Int
from tqdm import tqdm

from openexpose.body.model import BodyModel
from openexpose.body.part import part_surface
from openexpose.cli.choice import chosen_bundle
from openexpose.cli.inputs import check_clip_outputs, check_video_options, find_inputs
from openexpose.cli.predict import Output, Predict, Saved
from openexpose.cli.predicting_video import (
    check_clip_options,
    check_libraries,
    counted,
    export_names,
    predict_clips,
    write_exports,
)
from openexpose.errors import InputError
from openexpose.formats.atomic import write_whole
from openexpose.formats.glb import write_glb
from openexpose.formats.native import write_json, write_npz
from openexpose.geometry.boxes import check_boxes
from openexpose.geometry.camera import focal_from_fov
from openexpose.image.read import Image, read_image, real_path
from openexpose.motion import still
from openexpose.people import People
from openexpose.predict.pipeline import Predictor
from openexpose.render.overlay import compose, render_overlay, side_view
from openexpose.viewer.html import write_html
from openexpose.viewer.media import photo
from openexpose.viewer.payload import check_free

Array = np.ndarray
Boxes = dict[str, object]

_SUFFIX: dict[Output, str] = {"json": ".json", "npz": ".npz", "overlay": "_overlay.jpg", "glb": ".glb", "html": ".html"}
_DEFAULT: tuple[Output, ...] = ("json", "npz", "overlay", "glb")
_JPEG_QUALITY = 92
_JPEG_LONGEST = 65_500


def predict(options: Predict) -> int:
    """Predict all pictures and clips; returns the exit code: 0, or 1 when some of several failed.

    Raises:
        InputError: wrong options, nothing to predict, or the only picture or clip failed.
    """
    check_options(options)
    bundle = chosen_bundle(options.bundle, options.fast)
    inputs = find_inputs(options)
    boxes = None if options.boxes is None else read_boxes(options.boxes)
    if inputs.clips:
        check_clip_options(options)
    check_libraries(options.save, bool(inputs.clips))
    out = given_out(options)
    check_outputs(out, photo_outputs(options.save), inputs.photos)
    check_clip_outputs(out, inputs)
    predictor = Predictor.load(bundle, threads=options.threads, device=options.device)
    if options.save and "html" in options.save:
        check_free(predictor.body_model.name)
    alone = len(inputs.photos) + len(inputs.clips) == 1
    failed = 0
    if inputs.photos:
        failed += _predict_photos(inputs.photos, options, boxes, predictor, alone)
    if inputs.clips:
        failed += predict_clips(inputs.clips, options, predictor, alone)
    return 1 if failed else 0


def _predict_photos(
    images: list[Path], options: Predict, boxes: Boxes | None, predictor: Predictor, alone: bool
) -> int:
    """Predict all pictures; returns how many failed. The error of one that is ``alone`` is raised."""
    failed = people = 0
    show_bar = len(images) > 1 and sys.stderr.isatty()
    for path in tqdm(images, unit="photo", file=sys.stderr, disable=not show_bar):
        try:
            count = _predict_one(path, options, boxes, predictor)
        except InputError as error:
            if alone:
                raise
            failed += 1
            tqdm.write(f"openexpose: {error}", file=sys.stderr)
            continue
        people += count
        if not count:
            tqdm.write(f"openexpose: {path}: no people", file=sys.stderr)
    done = len(images) - failed
    ending = f", {failed} failed" if failed else ""
    print(f"{counted(done, 'photo', 'photos')}, {counted(people, 'person', 'people')}{ending}: {options.out}")
    return failed


def check_options(options: Predict) -> None:
    """Refuse options that contradict each other or have impossible values.

    Raises:
        InputError: they do.
    """
    check_camera(options.focal_length, options.fov)
    check_threads(options.threads)
    if options.save is not None and not options.save:
        raise InputError("--save without anything", f"some of {', '.join(_SUFFIX)}")
    check_video_options(options)


def given_out(options: Predict) -> Path:
    """The folder of --out.

    Raises:
        InputError: there is none.
    """
    if options.out is None:
        raise InputError("no --out", "a folder for the results", "Give one with --out FOLDER.")
    return options.out


def photo_outputs(save: Sequence[Saved] | None) -> tuple[Output, ...]:
    """The files of a photo that this page's code writes; the other formats are exports."""
    return _DEFAULT if save is None else tuple(kind for kind in _SUFFIX if kind in save)


def check_threads(threads: int) -> None:
    """Refuse impossible numbers of threads.

    Raises:
        InputError: fewer than one.
    """
    if threads < 1:
        raise InputError(f"--threads {threads}", "at least 1")


def check_camera(focal_length: float | None, fov: float | None) -> None:
    """Refuse impossible cameras.

    Raises:
        InputError: focal length and field of view, or one of them that no camera has.
    """
    if focal_length is not None and fov is not None:
        raise InputError("both --focal-length and --fov", "one of them")
    if focal_length is not None and not 1.0 <= focal_length <= 1e7:
        raise InputError(f"--focal-length {focal_length}", "a focal length in pixels, 1 or more")
    if fov is not None:
        focal_from_fov(fov, 1, 1)


def read_boxes(path: Path) -> Boxes:
    """Read the file of --boxes: picture name -> list of boxes. The boxes are checked against their picture later.

    Raises:
        InputError: no such file, or not such a file.
    """
    expected = '{"photo.jpg": [[x1, y1, x2, y2], ...]} as JSON'
    try:
        boxes = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"--boxes '{path}' cannot be read ({error.strerror})", "a JSON file") from None
    except ValueError as error:
        raise InputError(f"--boxes '{path}' is not JSON ({error})", expected) from None
    if not isinstance(boxes, dict):
        raise InputError(f"--boxes '{path}' holds a {type(boxes).__name__}", expected)
    return boxes


def check_outputs(out: Path, save: Sequence[Output], images: list[Path]) -> None:
    """Make the output folder, and see before any work that it can be written and that no picture would be lost.

    Raises:
        InputError: it cannot, or an output has the name of an input.
    """
    expected = "a folder that can be written to"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".openexpose.{os.getpid()}.part"
        probe.touch()
        probe.unlink()
    except FileExistsError:
        raise InputError(f"--out '{out}' is a file", expected, "Choose another name.") from None
    except OSError as error:
        raise InputError(f"--out '{out}' cannot be written ({error.strerror})", expected) from None
    inputs = {real_path(path) for path in images}
    for path in images:
        for kind in save:
            if real_path(output_path(out, path, kind)) in inputs:
                name = output_path(out, path, kind).name
                raise InputError(
                    f"an input picture '{name}' that the result of '{path.name}' would replace",
                    "an output folder without input pictures",
                    "Choose another --out.",
                )


@dataclass(frozen=True)
class Focal:
    """A focal length in pixels, None: the default, and where it comes from."""

    px: float | None
    source: str


@dataclass(frozen=True)
class Results:
    """What is known of a picture's people.

    Attributes:
        model: the body model.
        joints: the 144 keypoints [people, 144, 3], camera frame, metres.
        mesh: makes the vertices [people, v, 3], camera frame, metres.
        focal_source: where the focal length comes from.
    """

    model: BodyModel
    people: People
    joints: Float[Array, "people 144 3"]
    mesh: Callable[[People], Float[Array, "people v 3"]]
    focal_source: str


def write_results(out: Path, save: Sequence[Output], image: Image, results: Results) -> None:
    """Write what was asked for of one picture into a folder; each file whole."""
    people, name = results.people, image.path.name
    place: dict[Output, Path] = {kind: output_path(out, image.path, kind) for kind in save}
    if "json" in place:
        write_json(place["json"], people, results.joints, image_name=name, focal_source=results.focal_source)
    if "npz" in place:
        write_npz(place["npz"], people, image_name=name, focal_source=results.focal_source)
    if {"overlay", "glb"} & set(save):
        rows, faces = part_surface(results.model, people.part)
        vertices = results.mesh(people)[:, rows]
        if "overlay" in place:
            write_whole(place["overlay"], overlay_jpeg(image.pixels, people, vertices, faces))
        if "glb" in place:
            write_glb(place["glb"], vertices, faces)
    if "html" in place:
        write_html(place["html"], still(people, name), results.model, photo(image.pixels))


def _predict_one(path: Path, options: Predict, boxes: Boxes | None, predictor: Predictor) -> int:
    """Predict and write one picture; returns the number of people."""
    image = read_image(path)
    given = None if boxes is None else boxes_of(boxes, image, options.boxes)
    focal = focal_of(image, options.focal_length, options.fov)
    people = predictor(
        image.pixels,
        boxes=given,
        focal_px=focal.px,
        attention=options.attention,
        refinement=options.refine,
        part=options.part,
    )
    results = Results(predictor.body_model, people, predictor.keypoints(people), predictor.mesh, focal.source)
    out = given_out(options)
    write_results(out, photo_outputs(options.save), image, results)
    names = export_names(options.save, _SUFFIX)
    write_exports(out, path.stem, names, still(people, path.name), predictor.body_model)
    return len(people)


def boxes_of(boxes: Boxes, image: Image, source: Path | None) -> Float[Array, "people 4"]:
    """The boxes of one picture.

    Raises:
        InputError: there are none for it, or they are no boxes.
    """
    name = image.path.name
    if name not in boxes:
        raise InputError(
            f"--boxes '{source}' without '{name}'",
            f"the boxes of '{name}'",
            "Give [] for a picture without people.",
        )
    return check_boxes(boxes[name], image.width, image.height, f"--boxes '{source}' for '{name}'")


def focal_of(image: Image, focal_length: float | None, fov: float | None) -> Focal:
    """The focal length to use, in pixels (None: the predictor's default), and where it comes from."""
    if focal_length is not None:
        return Focal(focal_length, "given")
    if fov is not None:
        return Focal(focal_from_fov(fov, image.width, image.height), "given")
    return Focal(image.focal_px, "default" if image.focal_px is None else "exif")


def overlay_jpeg(pixels: Array, people: People, vertices: Float[Array, "p v 3"], faces: Int[Array, "f 3"]) -> bytes:
    """The overlay with its side view as a JPEG file."""
    camera = (people.focal_px, float(people.principal_px[0]), float(people.principal_px[1]))
    front = render_overlay(pixels, vertices, faces, camera)
    side = side_view(vertices, faces, camera, len(pixels))
    picture = compose(front, side)
    if max(picture.shape[:2]) > _JPEG_LONGEST:
        picture = front
    if max(picture.shape[:2]) > _JPEG_LONGEST:
        size = f"a picture of {front.shape[1]} x {front.shape[0]} pixels"
        raise InputError(size, f"at most {_JPEG_LONGEST} a side for the overlay", "Use --save json npz glb.")
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def output_path(out: Path, image: Path, kind: Output) -> Path:
    """Where a result of a picture lies."""
    return out / f"{image.stem}{_SUFFIX[kind]}"
