"""The work behind ``openexpose predict``: picture after picture, each reported or written whole."""

import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import Float, Int
from tqdm import tqdm

from openexpose.body.model import BodyModel
from openexpose.cli.choice import chosen_bundle
from openexpose.cli.predict import Output, Predict
from openexpose.errors import InputError
from openexpose.formats.atomic import write_whole
from openexpose.formats.glb import write_glb
from openexpose.formats.native import write_json, write_npz
from openexpose.geometry.boxes import check_boxes
from openexpose.geometry.camera import focal_from_fov
from openexpose.image.read import Image, find_images, read_image, real_path
from openexpose.people import People
from openexpose.predict.pipeline import Predictor
from openexpose.render.overlay import compose, render_overlay, side_view

Array = np.ndarray
Boxes = dict[str, object]

_SUFFIX: dict[Output, str] = {"json": ".json", "npz": ".npz", "overlay": "_overlay.jpg", "glb": ".glb"}
_PART_JOINTS = {"face": (15, 22, 23, 24), "left-hand": (20, *range(25, 40)), "right-hand": (21, *range(40, 55))}
_JPEG_QUALITY = 92
_JPEG_LONGEST = 65_500


def predict(options: Predict) -> int:
    """Predict all pictures; returns the exit code: 0, or 1 when some pictures among several failed.

    Raises:
        InputError: wrong options, nothing to predict, or the only picture failed.
    """
    check_options(options)
    bundle = chosen_bundle(options.bundle, options.fast)
    images = find_images(options.paths)
    boxes = None if options.boxes is None else read_boxes(options.boxes)
    check_outputs(options, images)
    predictor = Predictor.load(bundle, threads=options.threads, device=options.device)
    failed = people = 0
    show_bar = len(images) > 1 and sys.stderr.isatty()
    for path in tqdm(images, unit="photo", file=sys.stderr, disable=not show_bar):
        try:
            count = _predict_one(path, options, boxes, predictor)
        except InputError as error:
            if len(images) == 1:
                raise
            failed += 1
            tqdm.write(f"openexpose: {error}", file=sys.stderr)
            continue
        people += count
        if not count:
            tqdm.write(f"openexpose: {path}: no people", file=sys.stderr)
    done = len(images) - failed
    ending = f", {failed} failed" if failed else ""
    print(f"{_counted(done, 'photo', 'photos')}, {_counted(people, 'person', 'people')}{ending}: {options.out}")
    return 1 if failed else 0


def check_options(options: Predict) -> None:
    """Refuse options that contradict each other or have impossible values.

    Raises:
        InputError: they do.
    """
    if options.focal_length is not None and options.fov is not None:
        raise InputError("both --focal-length and --fov", "one of them")
    if options.focal_length is not None and not 1.0 <= options.focal_length <= 1e7:
        raise InputError(f"--focal-length {options.focal_length}", "a focal length in pixels, 1 or more")
    if options.fov is not None:
        focal_from_fov(options.fov, 1, 1)
    if options.threads < 1:
        raise InputError(f"--threads {options.threads}", "at least 1")
    if not options.save:
        raise InputError("--save without anything", f"some of {', '.join(_SUFFIX)}")


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


def check_outputs(options: Predict, images: list[Path]) -> None:
    """Make the output folder, and see before any work that it can be written and that no picture would be lost.

    Raises:
        InputError: it cannot, or an output has the name of an input.
    """
    expected = "a folder that can be written to"
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        probe = options.out / f".openexpose.{os.getpid()}.part"
        probe.touch()
        probe.unlink()
    except FileExistsError:
        raise InputError(f"--out '{options.out}' is a file", expected, "Choose another name.") from None
    except OSError as error:
        raise InputError(f"--out '{options.out}' cannot be written ({error.strerror})", expected) from None
    inputs = {real_path(path) for path in images}
    for path in images:
        for kind in options.save:
            if real_path(_output(options, path, kind)) in inputs:
                name = _output(options, path, kind).name
                raise InputError(
                    f"an input picture '{name}' that the result of '{path.name}' would replace",
                    "an output folder without input pictures",
                    "Choose another --out.",
                )


@dataclass(frozen=True)
class _Focal:
    px: float | None
    source: str


def _predict_one(path: Path, options: Predict, boxes: Boxes | None, predictor: Predictor) -> int:
    """Predict and write one picture; returns the number of people."""
    image = read_image(path)
    given = None if boxes is None else _boxes_of(boxes, image, options)
    focal = _focal(image, options)
    people = predictor(
        image.pixels,
        boxes=given,
        focal_px=focal.px,
        attention=options.attention,
        refinement=options.refine,
        part=options.part,
    )
    if "json" in options.save:
        joints = predictor.keypoints(people)
        write_json(_output(options, path, "json"), people, joints, image_name=path.name, focal_source=focal.source)
    if "npz" in options.save:
        write_npz(_output(options, path, "npz"), people, image_name=path.name, focal_source=focal.source)
    if {"overlay", "glb"} & set(options.save):
        rows, faces = part_surface(predictor.body_model, people.part)
        vertices = predictor.mesh(people)[:, rows]
        if "overlay" in options.save:
            write_whole(_output(options, path, "overlay"), overlay_jpeg(image.pixels, people, vertices, faces))
        if "glb" in options.save:
            write_glb(_output(options, path, "glb"), vertices, faces)
    return len(people)


def _boxes_of(boxes: Boxes, image: Image, options: Predict) -> Float[Array, "people 4"]:
    name = image.path.name
    if name not in boxes:
        raise InputError(
            f"--boxes '{options.boxes}' without '{name}'",
            f"the boxes of '{name}'",
            "Give [] for a picture without people.",
        )
    return check_boxes(boxes[name], image.width, image.height, f"--boxes '{options.boxes}' for '{name}'")


def _focal(image: Image, options: Predict) -> _Focal:
    """The focal length to use, in pixels (None: the predictor's default), and where it comes from."""
    if options.focal_length is not None:
        return _Focal(options.focal_length, "given")
    if options.fov is not None:
        return _Focal(focal_from_fov(options.fov, image.width, image.height), "given")
    return _Focal(image.focal_px, "default" if image.focal_px is None else "exif")


def part_surface(model: BodyModel, part: str) -> tuple[Int[Array, "n"], Int[Array, "f 3"]]:
    """What to draw of the body for ``People.part``: vertices, and triangles that count in them.

    A vertex belongs to a part when more than half of its skinning weight is on the part's joints.
    """
    if part == "whole":
        return np.arange(len(model.v_template)), model.faces
    inside = model.weights[:, list(_PART_JOINTS[part])].sum(1) > 0.5
    number = np.cumsum(inside) - 1
    return np.flatnonzero(inside), number[model.faces[inside[model.faces].all(1)]]


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


def _output(options: Predict, image: Path, kind: Output) -> Path:
    return options.out / f"{image.stem}{_SUFFIX[kind]}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
