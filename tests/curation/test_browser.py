"""The review page in a real headless Chromium, used with clicks and keys as a reviewer would."""

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tests.curation.projects import make_project

from openexpose.curation.store import Store

uvicorn = pytest.importorskip("uvicorn", reason="needs the extra 'curate'")
pytest.importorskip("starlette", reason="needs the extra 'curate'")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, a package of the extra 'dev'")

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"no browser: none of {', '.join(_NAMES)} is installed")

SOFTWARE_WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SERVE = "import sys; from pathlib import Path; from openexpose.curation.server import serve; "
SERVE += "serve(Path(sys.argv[1]), port=int(sys.argv[2]), browser=False)"


class Server:
    """The review server in a process of its own, which can be killed."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.process = folder, None
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        command = [sys.executable, "-c", SERVE, str(self.folder), str(self.port)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.address in self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def said(self) -> list[tuple[int, str, str, str]]:
        """Standing decisions in order: fit, reviewer, verdict, note."""
        with Store.open(self.folder) as store:
            return [(one.fit, one.reviewer, one.verdict, one.note) for one in store.decisions() if not one.undone_at]


class Reviewer:
    """A page of a reviewer, and what its console said."""

    def __init__(self, context: object, address: str, name: str = "") -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(8000)
        self.console: list[str] = []
        self.page.on("console", lambda m: self.console.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.goto(address + (f"?reviewer={name}" if name else ""))
        if name:
            self.page.wait_for_selector("#main:not([hidden])")

    def shows(self, photo: str) -> None:
        shown = self.page.locator("#main[aria-busy=false] #name")
        sync_api.expect(shown).to_have_text(photo, timeout=8000)
        sync_api.expect(shown).to_be_visible()

    def has_ahead(self, fit: int) -> None:
        """Wait until the page has fetched a fit ahead: its numbers, photo, overlay and mesh."""
        got = f"performance.getEntriesByType('resource').filter((e) => e.name.includes('/api/fits/{fit}')).length"
        until = time.monotonic() + 8
        while self.page.evaluate(got) < 4:
            assert time.monotonic() < until, f"fit {fit} is not fetched ahead"
            self.page.wait_for_timeout(50)
        self.page.wait_for_timeout(200)  # pictures are decoded

    def status(self, text: str) -> None:
        sync_api.expect(self.page.locator("#status")).to_contain_text(text)

    def alert(self, text: str) -> None:
        sync_api.expect(self.page.locator("#alert")).to_contain_text(text)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    with sync_api.sync_playwright() as playwright:
        arguments = [*SOFTWARE_WEBGL, *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"), 5, size=(240, 320))


@pytest.fixture
def server(made: Path, tmp_path: Path) -> Iterator[Server]:
    for file in made.glob("curation.sqlite*"):
        shutil.copy(file, tmp_path / file.name)
    running = Server(tmp_path)
    yield running
    running.kill()


@pytest.fixture
def visit(chromium: object, server: Server) -> Iterator[Callable[..., Reviewer]]:
    """Opens pages; each in a browser of its own unless a context is given. No console may have complained."""
    contexts, reviewers = [], []

    def open_page(name: str = "Anna", context: object = None, **options: object) -> Reviewer:
        if context is None:
            contexts.append(chromium.new_context(**{"viewport": {"width": 1200, "height": 800}} | options))
            context = contexts[-1]
        reviewers.append(Reviewer(context, server.address, name))
        return reviewers[-1]

    yield open_page
    complaints = [line for one in reviewers for line in one.console]
    for context in contexts:
        context.close()
    assert not complaints, complaints


def test_verdicts_by_key_and_click_with_note_and_undo(server, visit):
    anna = visit(name="")
    anna.page.get_by_role("button", name="Start", exact=True).click()
    anna.page.get_by_text("Please give a name.").wait_for()
    anna.page.get_by_label("Your name").fill("Anna")
    anna.press("Enter")
    anna.shows("photo0.png")
    anna.press("a")
    anna.status("Saved: accepted photo0.png")
    anna.shows("photo1.png")
    anna.page.get_by_role("button", name="Reject", exact=True).click()
    anna.status("Saved: rejected photo1.png")
    anna.shows("photo2.png")
    anna.press("n")
    anna.page.keyboard.type("far arm?")
    anna.press("Enter")
    anna.press("f")
    anna.status("Saved: flagged photo2.png")
    anna.shows("photo3.png")
    assert server.said() == [(1, "Anna", "accept", ""), (2, "Anna", "reject", ""), (3, "Anna", "flag", "far arm?")]
    assert anna.page.locator("#counts").inner_text() == "3 of 5"

    anna.press("u")
    anna.shows("photo2.png")
    anna.status("Taken back")
    assert len(server.said()) == 2
    anna.press("Control+z")
    anna.shows("photo1.png")
    assert anna.page.locator("#counts").inner_text() == "1 of 5"
    anna.press("ArrowRight")
    anna.press("ArrowRight")
    anna.press("ArrowLeft")
    sync_api.expect(anna.page.locator("#name")).not_to_have_text("photo4.png")


def test_skipping_leaves_fits_open_and_back_leads_to_them(server, visit):
    anna = visit()
    anna.shows("photo0.png")
    anna.press("ArrowRight")
    anna.shows("photo1.png")
    anna.press("a")
    anna.shows("photo2.png")
    anna.page.get_by_role("button", name="Back", exact=True).click()
    anna.shows("photo1.png")
    sync_api.expect(anna.page.locator("#said")).to_have_text("You: accepted")
    anna.press("r")  # another mind
    anna.shows("photo2.png")
    for name in ("photo3.png", "photo4.png", "photo0.png"):
        anna.press("a")
        anna.shows(name)
    anna.press("f")
    anna.page.get_by_text("Nothing is open any more.").wait_for()
    said = {fit: verdict for fit, _, verdict, _ in server.said()}
    assert said == {1: "flag", 2: "reject", 3: "accept", 4: "accept", 5: "accept"}
    anna.page.get_by_label("Show", exact=True).select_option("flagged")
    anna.shows("photo0.png")
    anna.press("a")
    anna.page.get_by_text("No flagged fits here.").wait_for()


def test_two_tabs_share_the_work_and_a_conflict_is_told(server, visit, chromium):
    context = chromium.new_context()
    one, two = visit(context=context), visit(name="", context=context)
    one.shows("photo0.png")
    two.page.wait_for_selector("#main:not([hidden])")
    assert two.page.locator("#name").inner_text() not in ("photo0.png", "photo1.png")  # shown, and fetched ahead
    two.page.goto(server.address + "#1")
    two.page.reload()
    two.shows("photo0.png")
    one.press("a")
    one.status("Saved")
    two.press("r")
    two.alert("In another tab you accepted photo0.png; that verdict stands.")
    sync_api.expect(two.page.locator("#name")).not_to_have_text("photo0.png")
    assert server.said() == [(1, "Anna", "accept", "")]
    two.console[:] = [line for line in two.console if "409" not in line]  # Chromium notes every such answer
    context.close()


def test_reviewers_see_each_other_only_after_their_own_verdict(server, visit):
    anna, ben = visit("Anna"), visit("Ben")
    anna.press("r")
    anna.status("Saved")
    ben.page.reload()
    ben.shows("photo0.png")
    assert "Anna" not in ben.page.locator("body").inner_text()
    ben.press("a")
    ben.status("Saved: accepted photo0.png · Anna: rejected")
    ben.shows("photo1.png")  # keys pressed on the way there are dropped
    ben.press("ArrowLeft")
    sync_api.expect(ben.page.locator("#said")).to_have_text("You: accepted · Anna: rejected")
    ben.page.locator("#progress").click()
    rows = ben.page.locator("#counts-dialog tbody tr").all_inner_texts()
    assert [re.split(r"\s+", row)[:4] for row in rows] == [["Anna", "0", "0", "1"], ["Ben", "1", "0", "0"]]


def test_a_held_key_decides_once_and_a_reload_shows_the_same_fit(server, visit):
    anna = visit()
    anna.shows("photo0.png")
    for _ in range(5):
        anna.page.keyboard.down("a")
    anna.page.keyboard.up("a")
    anna.status("Saved")
    anna.shows("photo1.png")
    anna.page.wait_for_timeout(200)
    assert [fit for fit, *_ in server.said()] == [1]
    anna.page.reload()
    anna.shows("photo1.png")
    assert anna.page.locator("#who .name").inner_text() == "Anna"
    assert anna.page.locator("#counts").inner_text() == "1 of 5"


def test_a_killed_server_loses_nothing(server, visit):
    anna = visit()
    anna.press("a")
    anna.status("Saved: accepted photo0.png")
    anna.shows("photo1.png")
    anna.has_ahead(3)
    server.kill()
    anna.press("r")
    anna.alert("Not saved yet")
    anna.shows("photo2.png")
    assert anna.page.locator("#status").inner_text() == "Not saved yet."
    assert server.said() == [(1, "Anna", "accept", "")]
    anna.press("f")
    anna.alert("2 verdicts are kept in this browser")
    server.start()
    sync_api.expect(anna.page.locator("#alert")).to_be_hidden()
    anna.shows("photo3.png")
    assert server.said() == [(1, "Anna", "accept", ""), (2, "Anna", "reject", ""), (3, "Anna", "flag", "")]
    anna.console[:] = [line for line in anna.console if "ERR_CONNECTION" not in line and "ERR_EMPTY" not in line]


def test_verdicts_that_wait_outlive_the_tab(server, visit, chromium):
    context = chromium.new_context()
    anna = visit(context=context)
    anna.has_ahead(2)
    server.kill()
    anna.press("a")
    anna.alert("Not saved yet")
    anna.page.close()
    anna.console.clear()
    server.start()
    later = visit(name="", context=context)
    later.page.wait_for_selector("#main:not([hidden])")
    later.status("Saved: accepted photo0.png")
    assert server.said() == [(1, "Anna", "accept", "")]
    context.close()


def test_the_body_is_drawn_and_turns(visit):
    anna = visit()
    canvas = anna.page.locator("#body canvas")
    canvas.wait_for()
    anna.page.wait_for_timeout(300)
    before = pixels(canvas)
    assert len(np.unique(before.reshape(-1, 3), axis=0)) > 100  # shaded, not blank
    box = canvas.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    anna.page.mouse.move(*middle)
    anna.page.mouse.down()
    anna.page.mouse.move(middle[0] + 90, middle[1], steps=5)
    anna.page.mouse.up()
    anna.page.wait_for_timeout(200)
    turned = pixels(canvas)
    assert differ(before, turned) > 0.02
    anna.press("2")
    anna.page.wait_for_timeout(200)
    assert differ(before, pixels(canvas)) < 0.002
    anna.press("1")
    anna.page.wait_for_timeout(200)
    front = pixels(canvas)
    anna.press("h")
    anna.page.wait_for_timeout(200)
    assert anna.page.locator("[data-focus=left_hand]").get_attribute("aria-pressed") == "true"
    assert differ(front, pixels(canvas)) > 0.05


def test_keypoints_and_overlay_can_be_hidden_and_pictures_zoomed(visit):
    anna = visit()
    page = anna.page
    assert page.locator("#photo .point").count() == 141  # all but the three that nobody sees
    sync_api.expect(page.locator("#photo .marks")).to_be_visible()
    anna.press("k")
    sync_api.expect(page.locator("#photo .marks")).to_be_hidden()
    covered, photo = pixels(page.locator("#overlay svg")), page.locator("#overlay image").last
    assert photo.get_attribute("opacity") == "0.85"
    anna.press("o")
    assert photo.get_attribute("opacity") == "0"
    assert differ(covered, pixels(page.locator("#overlay svg"))) > 0.005
    whole = page.locator("#photo svg").get_attribute("viewBox")
    anna.press("g")
    face = page.locator("#photo svg").get_attribute("viewBox")
    assert float(face.split()[2]) < 0.4 * float(whole.split()[2])
    assert page.locator("#overlay svg").get_attribute("viewBox") == face
    anna.press("Escape")
    assert page.locator("#photo svg").get_attribute("viewBox") == whole
    page.locator("#photo svg").hover()
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(100)
    assert float(page.locator("#photo svg").get_attribute("viewBox").split()[2]) < float(whole.split()[2])


def test_without_webgl_the_body_is_shown_from_the_side(server, chromium):
    context = chromium.new_context()
    context.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    anna = Reviewer(context, server.address, "Anna")
    anna.page.get_by_text("This browser has no WebGL").wait_for()
    size = anna.page.locator("#body img").evaluate("(image) => [image.naturalWidth, image.naturalHeight]")
    assert min(size) > 50 and not anna.console
    context.close()


def test_a_photo_that_has_gone_is_named(tmp_path, chromium):
    folder = make_project(tmp_path / "project", 2, size=(240, 320))
    (folder / "photos" / "photo0.png").unlink()
    running, context = Server(folder), chromium.new_context()
    try:
        anna = Reviewer(context, running.address, "Anna")
        anna.page.get_by_text("photo0.png does not exist").first.wait_for()
        sync_api.expect(anna.page.get_by_role("button", name="Accept", exact=True)).to_be_disabled()
        anna.press("a")
        anna.press("f")
        anna.shows("photo1.png")
        anna.status("Saved: flagged")
        assert running.said() == [(1, "Anna", "flag", "")]
    finally:
        context.close()
        running.kill()


def test_a_token_lets_the_page_in_and_leaves_the_address(made, tmp_path, chromium):
    for file in made.glob("curation.sqlite*"):
        shutil.copy(file, tmp_path / file.name)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        from openexpose.curation.server import application
        from openexpose.web.guard import Access

        app = application(tmp_path, Access(token="of-this-test"))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        context = chromium.new_context()
        try:
            shut = context.new_page()
            assert shut.goto(address).status == 401
            anna = Reviewer(context, address + "?token=of-this-test&reviewer=Anna#")
            anna.shows("photo0.png")
            anna.press("a")
            anna.status("Saved")
            assert anna.page.url.startswith(address) and "token" not in anna.page.url and not anna.console
            assert anna.page.evaluate("document.cookie") == ""
        finally:
            context.close()
            server.should_exit = True
            thread.join(10)


def test_ctrl_c_ends_the_server_cleanly(server, visit):
    visit()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(8) == 0
    assert "Review ended" in server.process.stdout.read()


def test_a_telephone_shows_everything_without_scrolling_sideways(visit):
    anna = visit(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True)
    page = anna.page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tops = [page.locator(f"#{name}").bounding_box()["y"] for name in ("photo", "overlay", "body")]
    assert tops == sorted(tops) and tops[1] - tops[0] > 200
    for name in ("Accept", "Flag", "Reject"):
        box = page.get_by_role("button", name=name, exact=True).bounding_box()
        assert box["height"] >= 44 and box["y"] + box["height"] <= 844
    page.get_by_role("button", name="Accept", exact=True).tap()
    anna.shows("photo1.png")


def pixels(locator: object) -> np.ndarray:
    """What an element looks like, without the edge, where the focus is marked."""
    return np.asarray(PIL.Image.open(io.BytesIO(locator.screenshot())).convert("RGB"), int)[8:-8, 8:-8]


def differ(a: np.ndarray, b: np.ndarray) -> float:
    """Share of pixels that differ clearly."""
    return float((np.abs(a - b).max(-1) > 16).mean())
