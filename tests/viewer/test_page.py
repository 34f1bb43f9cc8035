"""The page in a real headless Chromium, opened from the disk, used with clicks, keys and fingers."""

import io
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tests.viewer import clips

from openexpose.body.mesh import posed_mesh
from openexpose.geometry.camera import project_perspective
from openexpose.motion import Motion, Track, still
from openexpose.people import People
from openexpose.render.overlay import person_colour, render_overlay
from openexpose.viewer.html import write_html
from openexpose.viewer.media import Media, photo

pytest.importorskip("playwright.sync_api", reason="needs playwright, a package of the extra 'dev'")

HOSTILE = 'x </script><script>alert(1)</script> {{model}} "&.jpg'
MESH_TOLERANCE_M = 1e-4  # what docs promise of the page's numbers
WHITE = np.full((*clips.SIZE[::-1], 3), 255, np.uint8)


@pytest.fixture(scope="module")
def model() -> object:
    return clips.body()


@pytest.fixture(scope="module")
def made(model: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photo.html: two people of a photo; clip.html: two people over time, no video."""
    folder = tmp_path_factory.mktemp("pages")
    write_html(folder / "photo.html", still(clips.people(2, 3), HOSTILE), model, photo(WHITE))
    write_html(folder / "clip.html", clips.motion(), model)
    return folder


def settled(page: object) -> dict:
    """The page's state once it has drawn everything."""
    for _ in range(200):
        state = page.evaluate("window.openexpose?.state()")
        if state and state["settled"]:
            return state
        page.wait_for_timeout(25)
    raise AssertionError("the page does not come to rest")


def vertices(page: object, person: int = 1) -> np.ndarray:
    settled(page)
    return np.reshape(page.evaluate(f"openexpose.vertices({person})"), (-1, 3))


def truth(model: object, people: People, row: int) -> np.ndarray:
    """Vertices of a row as our own mesh has them, camera frame."""
    one = people[row : row + 1]
    return posed_mesh(model, one.pose, one.betas, one.expression).vertices[0] + one.transl[0]


def pixels(locator: object) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(locator.screenshot())).convert("RGB"), int)


def test_the_mesh_is_ours_within_a_tenth_of_a_millimetre(visit, made, model):
    page, moved = visit((made / "clip.html").as_uri()), clips.motion()
    for frame in (0, 7, clips.FRAMES - 1):
        page.evaluate(f"document.getElementById('frame').value = {frame}")
        page.locator("#frame").dispatch_event("input")
        for track in moved.tracks:
            row = np.searchsorted(track.frames, frame)
            if track.frames[row] != frame:
                continue
            expected = truth(model, track.people, row)
            assert np.linalg.norm(vertices(page, track.id) - expected, axis=1).max() < MESH_TOLERANCE_M
            one = track.people[row : row + 1]
            joints = posed_mesh(model, one.pose, one.betas, one.expression).joints[0] + one.transl[0]
            shown = np.reshape(page.evaluate(f"openexpose.keypoints({track.id})"), (-1, 3))
            assert np.linalg.norm(shown - joints, axis=1).max() < MESH_TOLERANCE_M
            projected = np.reshape(page.evaluate(f"openexpose.projected({track.id})"), (-1, 2))
            expected_px = project_perspective(joints, one.focal_px, one.principal_px)
            assert np.abs(projected - expected_px).max() < 0.5


def test_the_mesh_lies_on_the_photo_where_the_overlay_has_it(visit, model, tmp_path):
    people = clips.people(1, 3)
    write_html(tmp_path / "one.html", still(people, "one.jpg"), model, photo(WHITE))
    page = visit((tmp_path / "one.html").as_uri())
    page.get_by_role("button", name="Photo").click()
    settled(page)
    fit = page.evaluate("openexpose.fit()")
    pane, image = page.locator("#photo"), page.locator("#photo img").bounding_box()
    corner = pane.bounding_box()
    assert image["x"] - corner["x"] == pytest.approx(fit["x"], abs=0.1)
    assert image["y"] - corner["y"] == pytest.approx(fit["y"], abs=0.1)
    assert image["height"] == pytest.approx(fit["scale"] * clips.SIZE[1], abs=0.1)
    shot, (cx, cy) = pixels(pane), people.principal_px
    camera = (fit["scale"] * people.focal_px, fit["scale"] * cx + fit["x"], fit["scale"] * cy + fit["y"])
    drawn = render_overlay(np.full(shot.shape, 255, np.uint8), truth(model, people, 0)[None], model.faces, camera)
    ours, theirs = (drawn < 205).any(-1), (shot < 205).any(-1)
    theirs[:60, -80:] = False  # a button
    assert ours.sum() > 10_000
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.97
    assert np.abs(np.argwhere(ours).mean(0) - np.argwhere(theirs).mean(0)).max() < 0.3


def test_people_have_the_colours_of_overlays(visit, made):
    page = visit((made / "photo.html").as_uri())
    told = page.evaluate("openexpose.state().people.map((one) => one.colour)")
    assert told == ["#{:02x}{:02x}{:02x}".format(*np.rint(255 * person_colour(k)).astype(int)) for k in range(2)]


def test_people_are_shown_and_hidden_by_click_and_digit(visit, made):
    page = visit((made / "photo.html").as_uri())
    settled(page)
    everybody = pixels(page.locator("#space"))
    page.keyboard.press("1")
    assert [one["visible"] for one in settled(page)["people"]] == [False, True]
    assert not page.get_by_label("Person 1").is_checked()
    assert (np.abs(pixels(page.locator("#space")) - everybody).max(-1) > 20).mean() > 0.01
    page.get_by_label("Person 2").uncheck()
    assert [one["visible"] for one in settled(page)["people"]] == [False, False]
    page.keyboard.press("0")
    assert [one["visible"] for one in settled(page)["people"]] == [True, True]
    np.testing.assert_allclose(pixels(page.locator("#space")), everybody, atol=3)


def test_mesh_skeleton_keypoints_and_opacity(visit, made):
    page = visit((made / "photo.html").as_uri())
    settled(page)
    pane = page.locator("#photo")
    full = pixels(pane)
    page.get_by_label("Opacity").fill("40")
    settled(page)
    faint = pixels(pane)
    assert faint.mean() > full.mean() + 1  # the white photo shines through
    page.keyboard.press("m")
    settled(page)
    empty = pixels(pane)
    assert empty.mean() > faint.mean() + 1
    page.keyboard.press("s")
    settled(page)
    bones = (np.abs(pixels(pane) - empty).max(-1) > 40).mean()
    page.get_by_role("button", name="Keypoints").click()
    state = settled(page)
    assert state["show"] == {"mesh": False, "skeleton": True, "keypoints": True}
    assert 0.002 < bones < (np.abs(pixels(pane) - empty).max(-1) > 40).mean() < 0.2


def test_sliders_add_to_what_was_predicted_and_reset(visit, made, model):
    page, track = visit((made / "clip.html").as_uri()), clips.motion().tracks[0]
    before = vertices(page)
    page.get_by_label("Expression 3").fill("2")
    page.get_by_text("Shape", exact=True).click()
    page.get_by_label("Shape 1", exact=True).fill("-1.5")
    page.keyboard.press("Escape")
    settled(page)
    expression, betas = np.zeros(20, np.float32), np.zeros(10, np.float32)
    expression[2], betas[0] = 2, -1.5
    one = track.people[:1]
    mesh = posed_mesh(model, one.pose, one.betas + betas, one.expression + expression).vertices[0] + one.transl[0]
    assert np.linalg.norm(mesh - before, axis=1).max() > 0.01
    assert np.linalg.norm(vertices(page) - mesh, axis=1).max() < MESH_TOLERANCE_M
    told = page.get_by_label("Expression 3").locator("xpath=../output").inner_text()
    assert float(told) == pytest.approx(one.expression[0, 2] + 2, abs=0.006)
    page.get_by_role("button", name="Reset").click()
    np.testing.assert_array_equal(vertices(page), before)


def test_the_timeline_steps_scrubs_and_plays_at_the_clips_own_times(visit, made):
    page, times = visit((made / "clip.html").as_uri()), clips.clip().times_s
    first = vertices(page)
    page.keyboard.press("ArrowRight")
    state = settled(page)
    assert (state["frame"], state["time"]) == (1, pytest.approx(times[1]))
    assert np.abs(vertices(page) - first).max() > 1e-3
    assert [one["present"] for one in state["people"]] == [True, False]  # the second comes in frame 5
    page.keyboard.press("Shift+ArrowRight")
    state = settled(page)
    assert state["frame"] == 11 and [one["present"] for one in state["people"]] == [True, True]
    page.get_by_label("Frame", exact=True).fill("18")
    assert [one["present"] for one in settled(page)["people"]] == [True, False]
    page.get_by_text("not in this frame").wait_for()
    page.keyboard.press("End")
    assert settled(page)["frame"] == clips.FRAMES - 1
    page.keyboard.press("Home")
    np.testing.assert_array_equal(vertices(page), first)
    page.get_by_title("Speed").select_option("0.5")
    page.get_by_role("button", name="Play").click()
    begun = time.monotonic()
    page.wait_for_timeout(900)
    state, passed = page.evaluate("openexpose.state()"), time.monotonic() - begun
    assert state["playing"] and 0.2 < state["time"] < 0.5 * passed + 0.15
    page.keyboard.press("Space")
    assert not settled(page)["playing"]


def test_the_video_shows_the_frame_of_the_mesh(visit, made, model, tmp_path):
    pytest.importorskip("av", reason="needs the extra 'video'")
    motion = clips.motion()
    write_html(tmp_path / "v.html", motion, model, Media("video", clips.video(motion.clip.times_s), "video/mp4"))
    page = visit((tmp_path / "v.html").as_uri())
    grey = """() => { const c = document.createElement("canvas"), g = c.getContext("2d");
        g.drawImage(document.querySelector("video"), 0, 0, 2, 2); return g.getImageData(0, 0, 1, 1).data[0]; }"""

    def shown() -> int:
        return int(np.abs(clips.GREYS - page.evaluate(grey)).argmin())

    for frame in (0, 7, 8, 30, clips.FRAMES - 1, 3):
        page.get_by_label("Frame", exact=True).fill(str(frame))
        page.wait_for_timeout(100)
        for _ in range(100):
            video = settled(page)["video"]
            if not video["seeking"] and shown() == frame:
                break
            page.wait_for_timeout(30)
        assert shown() == frame
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(1000)
    state = page.evaluate("openexpose.state()")
    assert state["playing"] and state["frame"] != 3
    page.keyboard.press("Space")
    page.wait_for_timeout(400)
    assert shown() == settled(page)["frame"]


def test_without_a_video_that_plays_the_people_still_move(visit, model, tmp_path):
    write_html(tmp_path / "v.html", clips.motion(), model, Media("video", b"no video at all", "video/webm"))
    page = visit((tmp_path / "v.html").as_uri())
    page.get_by_text("This browser cannot play the video").wait_for()
    page.keyboard.press("Space")
    page.wait_for_timeout(400)
    assert page.evaluate("openexpose.state().frame") > 0


def test_after_quick_steps_the_video_on_the_screen_is_that_of_the_frame(visit, model, tmp_path):
    """What is painted, not what a canvas would get: Chromium may go on painting an older frame."""
    pytest.importorskip("av", reason="needs the extra 'video'")
    motion = clips.motion()
    write_html(tmp_path / "v.html", motion, model, Media("video", clips.video(motion.clip.times_s), "video/mp4"))
    page = visit((tmp_path / "v.html").as_uri())
    settled(page)
    for _ in range(20):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(60)
    for _ in range(30):
        page.wait_for_timeout(100)
        grey = float(np.median(pixels(page.locator("#photo video"))[:20]))
        if abs(clips.GREYS - grey).argmin() == 20:
            break
    assert abs(clips.GREYS - grey).argmin() == settled(page)["frame"] == 20


def test_everybody_is_seen_also_who_comes_and_goes(visit, model, tmp_path):
    """Nobody is there in the first and the last frame."""
    tracks = tuple(Track(k + 1, np.arange(2 + k, 8 + k), clips.people(6, k, 1.5 * k - 6)) for k in range(9))
    write_html(tmp_path / "many.html", Motion(clips.clip(), tracks), model)
    x, _, z = settled(visit((tmp_path / "many.html").as_uri()))["camera"]
    assert abs(x) < 4 and z > 15, "12 m of people are seen from the middle and from far away"


def test_the_body_turns_and_parts_are_looked_at(visit, made):
    page = visit((made / "photo.html").as_uri())
    front = settled(page)["camera"]
    box = page.locator("#space").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 300, steps=4)
    page.mouse.up()
    assert np.linalg.norm(np.subtract(settled(page)["camera"], front)) > 0.3
    page.keyboard.press("r")
    np.testing.assert_allclose(settled(page)["camera"], front, atol=1e-6)
    page.get_by_label("Look at").select_option("face")
    nose = np.reshape(page.evaluate("openexpose.keypoints(1)"), (-1, 3))[55] * [1, -1, -1]
    assert np.linalg.norm(settled(page)["camera"] - nose) < 1.2
    page.get_by_role("button", name="3D").click()
    assert settled(page)["view"] == "space" and not page.locator("#photo").is_visible()
    page.keyboard.press("v")
    assert settled(page)["view"] == "photo"


def test_the_photo_is_zoomed_and_moved(visit, made):
    page = visit((made / "photo.html").as_uri())
    settled(page)
    whole = page.evaluate("openexpose.fit()")
    box = page.locator("#photo").bounding_box()
    page.mouse.move(box["x"] + 150, box["y"] + 350)
    page.mouse.wheel(0, -500)
    page.wait_for_timeout(100)
    near = page.evaluate("openexpose.fit()")
    assert near["scale"] > 1.5 * whole["scale"]
    for axis, place in (("x", 150), ("y", 350)):  # what lies under the pointer stays there
        assert (place - near[axis]) / near["scale"] == pytest.approx((place - whole[axis]) / whole["scale"], abs=1)
    image = page.locator("#photo img").bounding_box()
    assert image["width"] == pytest.approx(near["scale"] * clips.SIZE[0], abs=1)
    page.get_by_role("button", name="Fit").click()
    assert page.evaluate("openexpose.fit()") == whole


def test_dark_and_light_follow_the_system_until_one_is_chosen(visit, made):
    page = visit((made / "photo.html").as_uri(), color_scheme="dark")
    assert settled(page)["theme"] == "dark"
    dark = pixels(page.locator("header")).mean()
    page.get_by_role("button", name="Light").click()
    assert settled(page)["theme"] == "light" and pixels(page.locator("header")).mean() > dark + 120
    page.emulate_media(color_scheme="light")
    page.emulate_media(color_scheme="dark")
    assert settled(page)["theme"] == "light"
    fresh = visit((made / "photo.html").as_uri(), color_scheme="light")
    assert settled(fresh)["theme"] == "light"
    fresh.emulate_media(color_scheme="dark")
    fresh.wait_for_selector("html[data-theme=dark]")


def test_a_telephone_shows_everything_without_scrolling_sideways(visit, made):
    options = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "device_scale_factor": 2}
    page = visit((made / "clip.html").as_uri(), **options)
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tops = [page.locator(f"#{name}").bounding_box()["y"] for name in ("photo", "space", "frame", "people")]
    assert tops == sorted(tops)
    for button in page.locator("main button:visible, header button").all():
        box = button.bounding_box()
        assert box["height"] >= 32 and box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.get_by_label("Person 1").tap()
    assert not settled(page)["people"][0]["visible"]
    page.get_by_role("button", name="Help").tap()
    box = page.locator("#help-dialog").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_a_picture_is_saved(visit, made):
    page = visit((made / "photo.html").as_uri())
    settled(page)
    with page.expect_download() as download:
        page.keyboard.press("p")
    assert download.value.suggested_filename.endswith(".png")
    picture = np.asarray(PIL.Image.open(download.value.path()).convert("RGB"), int)
    stage = page.locator("#stage").bounding_box()
    assert picture.shape[:2] == (round(stage["height"]), round(stage["width"]))
    assert (picture == 255).all(-1).mean() > 0.1 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 500


def test_names_are_text(visit, made):
    page = visit((made / "photo.html").as_uri())
    assert page.locator("#name").inner_text() == HOSTILE == page.title()
    assert page.evaluate("document.scripts.length") == 4


def test_help_and_labels(visit, made):
    page = visit((made / "clip.html").as_uri())
    page.keyboard.press("?")
    page.get_by_text("play or pause").wait_for()
    page.keyboard.press("Escape")
    nameless = """() => [...document.querySelectorAll("button, input, select")].filter((one) =>
        !(one.textContent.trim() && one.matches("button")) && !one.labels?.length && !one.ariaLabel).length"""
    assert page.evaluate(nameless) == 0


def test_without_webgl_it_says_so_and_shows_the_photo(visit, made):
    page = visit((made / "photo.html").as_uri(), script="HTMLCanvasElement.prototype.getContext = () => null")
    page.get_by_text("This browser has no WebGL 2").wait_for()
    assert page.locator("#photo img").bounding_box()["width"] > 200


def test_nobody_and_lone_parts(visit, model, tmp_path):
    write_html(tmp_path / "nobody.html", still(clips.people(1)[:0], "empty.jpg"), model, photo(WHITE))
    page = visit((tmp_path / "nobody.html").as_uri())
    page.get_by_text("Nobody was found.").wait_for()
    assert page.locator("#photo img").bounding_box()["width"] > 200 and settled(page)["people"] == []
    write_html(tmp_path / "face.html", still(clips.people(1, part="face"), "face.jpg"), model)
    page = visit((tmp_path / "face.html").as_uri())
    settled(page)
    seen = (np.abs(pixels(page.locator("#photo")) - pixels(page.locator("#photo"))[-3, 3]).max(-1) > 25).mean()
    page.keyboard.press("k")
    assert seen < 0.02 and settled(page)["people"][0]["present"]


def test_sliders_change_the_person_that_was_chosen(visit, made):
    page = visit((made / "photo.html").as_uri())
    page.get_by_label("Whose body").select_option("Person 2")
    first, second = vertices(page, 1), vertices(page, 2)
    page.get_by_label("Expression 1", exact=True).fill("3")
    assert np.abs(vertices(page, 2) - second).max() > 1e-3
    np.testing.assert_array_equal(vertices(page, 1), first)
