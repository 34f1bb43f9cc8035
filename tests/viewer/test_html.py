"""What a page's file holds; how it looks is seen in test_page.py."""

import base64
import gzip
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tests.viewer import clips

from openexpose.body.mesh import posed_mesh
from openexpose.errors import InputError
from openexpose.geometry.rotation import matrix_to_rotvec
from openexpose.motion import Motion, Track, still
from openexpose.viewer import script
from openexpose.viewer.html import digest, page, write_html
from openexpose.viewer.media import Media, photo
from openexpose.viewer.payload import bundle, pack_model, pack_motion

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def model() -> object:
    return clips.body()


def unpacked(data: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """A bundle, read as its description says."""
    content = gzip.decompress(data)
    length = int.from_bytes(content[:4], "little")
    header = json.loads(content[4 : 4 + length])
    arrays = {}
    for name, place in header["arrays"].items():
        start = 4 + length + place["offset"]
        count = int(np.prod(place["shape"]))
        flat = np.frombuffer(content, f"<{place['type']}", count, start)
        assert start % 8 == 0  # typed arrays of browsers want it
        arrays[name] = flat.reshape(place["shape"])
    return header, arrays


def test_bundles_read_back():
    arrays = {"a": np.arange(7, dtype=np.int16), "b": np.ones((2, 3), ">f8"), "c": np.zeros((0, 4), np.float32)}
    header, read = unpacked(bundle({"name": "ü </script>"}, arrays))
    assert header["name"] == "ü </script>"
    for name, values in arrays.items():
        np.testing.assert_array_equal(read[name], values)
    assert bundle({}, arrays) == bundle({}, arrays)


def test_the_page_is_small_and_asks_for_nothing_from_elsewhere(model):
    text = page(clips.motion(), model)
    assert len(text) < 5 * MEGABYTE
    start = text.index('<script type="text/plain" id="model-data">')
    ours = text[:start] + text[text.index('id="media-data"') :].replace(script.page_script(), "")
    assert not re.findall(r"(?:https?:)?//[a-z]", ours)
    assert not re.findall(r"\s(?:style|on\w+)=", ours)
    assert "{{" not in text[:start]


def test_only_its_own_script_and_style_may_run(model):
    text = page(clips.motion(), model)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#x27;", "'")
    run, style = (
        text[text.rindex("<script>") + 8 : text.rindex("</script>")],
        text.split("<style>")[1].split("</style>")[0],
    )
    assert f"script-src '{digest(run)}'" in policy and f"style-src '{digest(style)}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "connect-src" not in policy


def test_no_name_ends_the_script_or_fills_a_gap(model):
    name = 'x</script><script>alert(1)</script><!-- {{script}} "&'
    motion = replace(clips.motion(), clip=replace(clips.clip(), name=name))
    text = page(motion, model)
    assert text.count("</script>") == 4 and text.count("alert(1)") == 1  # once, escaped, in the title
    assert "&lt;/script&gt;" in text.split("</title>")[0]


def test_scripts_hold_nothing_that_would_end_them():
    text = script.page_script()
    assert not re.findall(r"</script|<!--|<script", text, re.IGNORECASE)
    assert not re.findall(r"^(?:import|export)\b", text, re.MULTILINE)


def test_modules_become_functions_with_their_exports():
    known = {"./a.js": "$a"}
    lines = ('import { x as y, z } from "./a.js";', 'export { q as r } from "./a.js";', "export const s = y + z;")
    source = "\n".join((*lines, "export { s as t };"))
    made = script._as_function(source, "$b", known)
    assert "const {x:y,z:z}=$a;" in made and made.startswith("const $b=(()=>{")
    returned = re.search(r"return \{(.*)\};", made)[1]
    assert set(returned.split(",")) == {"r:$a.q", "t:s", "s"}


def test_poses_keep_a_tenth_of_a_millimetre(model):
    motion = clips.motion()
    _, arrays = unpacked(pack_motion(motion, {}))
    for number, track in enumerate(motion.tracks):
        joints = np.cumsum(arrays[f"{number}.pose"].astype(np.int64), axis=1).astype(np.int16).T.reshape(-1, 54, 4)
        rows = np.concatenate([arrays[f"{number}.orient"][:, None], joints], 1)
        w, x, y, z = np.moveaxis(rows / np.linalg.norm(rows, axis=-1, keepdims=True), -1, 0)
        read = np.stack(
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), 2 * (x * y + w * z)]
            + [1 - 2 * (x * x + z * z), 2 * (y * z - w * x), 2 * (x * z - w * y), 2 * (y * z + w * x)]
            + [1 - 2 * (x * x + y * y)],
            -1,
        ).reshape(-1, 55, 3, 3)
        people = track.people
        turned = matrix_to_rotvec(np.swapaxes(people.pose.astype(float), -1, -2) @ read)
        assert np.linalg.norm(turned, axis=-1).max() < 1e-4
        ours, theirs = (posed_mesh(model, pose, people.betas, people.expression) for pose in (people.pose, read))
        assert np.linalg.norm(ours.vertices - theirs.vertices, axis=-1).max() < 1e-4
        np.testing.assert_array_equal(arrays[f"{number}.frames"], track.frames)


def test_a_shape_that_stays_is_told_once():
    people = clips.people(30, 1)
    changing = replace(people, betas=people.betas + np.arange(30, dtype=np.float32)[:, None])
    for given, rows in ((people, 1), (changing, 30)):
        _, arrays = unpacked(pack_motion(Motion(clips.clip(), (Track(1, np.arange(30), given),)), {}))
        np.testing.assert_array_equal(arrays["0.betas"], given.betas[:rows])


def test_blend_shapes_keep_ten_micrometres(model):
    header, arrays = unpacked(pack_model(model, "whole"))
    shape = arrays["shape_dirs"] * header["steps"]["shape_dirs"]
    assert np.abs(shape.transpose(2, 1, 0) - model.shape_dirs).max() < 1e-5
    expression = np.zeros_like(model.expression_dirs)
    expression[arrays["expression_rows"]] = (arrays["expression_dirs"] * header["steps"]["expression_dirs"]).transpose(
        2, 1, 0
    )
    assert np.abs(expression - model.expression_dirs).max() < 1e-5
    np.testing.assert_array_equal(arrays["faces"], model.faces)


def test_a_lone_part_brings_its_triangles_only(model):
    _, arrays = unpacked(pack_model(model, "left-hand"))
    assert 0 < len(arrays["faces"]) < len(model.faces) / 4
    corners = model.v_template[arrays["faces"].ravel()]
    assert (corners[:, 0] > 0.3).all()  # the left hand of the rest pose, arms out


def test_photos_are_made_small():
    media = photo(np.zeros((3000, 4000, 3), np.uint8))
    assert PIL.Image.open(io.BytesIO(media.content)).size == (1600, 1200)
    assert PIL.Image.open(io.BytesIO(photo(np.zeros((20, 30, 3), np.uint8)).content)).size == (30, 20)


def test_the_photo_is_inside(model):
    media = photo(np.zeros((20, 30, 3), np.uint8))
    text = page(still(clips.people(1), "a.jpg"), model, media)
    inside = re.search(r'id="media-data">([^<]*)<', text)[1]
    assert base64.b64decode(inside) == media.content


def test_what_cannot_be_shown_is_refused(model, tmp_path):
    people = clips.people(2)
    place = tmp_path / "a.html"
    with pytest.raises(InputError, match="body model 'SMPLX_NEUTRAL' inside, which its licence"):
        write_html(place, still(people, "a.jpg"), replace(model, name="SMPLX_NEUTRAL"))
    with pytest.raises(InputError, match="body model 'SMPLX_MALE'"):
        write_html(place, still(replace(people, body_model="SMPLX_MALE"), "a.jpg"), model)
    with pytest.raises(InputError, match="10 betas and 7 expression"):
        write_html(place, still(replace(people, expression=people.expression[:, :7]), "a.jpg"), model)
    two = (Track(1, np.zeros(1, int), people[:1]), Track(2, np.zeros(1, int), replace(people[1:], focal_px=1.0)))
    with pytest.raises(InputError, match="different cameras"):
        write_html(place, Motion(clips.clip(), two), model)
    with pytest.raises(InputError, match="a photo of the type 'video/mp4'"):
        Media("photo", b"", "video/mp4")
    with pytest.raises(InputError, match="cannot be written"):
        write_html(Path(tmp_path / "none" / "a.html"), still(people, "a.jpg"), model)
    assert list(tmp_path.iterdir()) == []
