"""The review server's answers and its guard, asked without a browser."""

import asyncio
import re
import socket
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

pytest.importorskip("starlette", reason="needs the extra 'curate'")
pytest.importorskip("httpx", reason="Starlette's test client needs httpx")

from starlette.testclient import TestClient
from tests.curation.projects import FOCAL_PX, make_project

from openexpose.body.model import load_body_model
from openexpose.curation.server import application, serve
from openexpose.curation.store import Store
from openexpose.errors import InputError
from openexpose.geometry.camera import project_perspective
from openexpose.web.guard import MAX_BODY_BYTES, Access

HOST = "http://127.0.0.1:8321"
TOKEN = "the-token-of-this-test"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"), 3)


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A fresh copy of the decisions; the photos are those of ``made``."""
    for file in made.glob("curation.sqlite*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture
def client(project: Path) -> TestClient:
    return browser(application(project))


def browser(app: object, origin: str = HOST) -> TestClient:
    """A client that sends what a browser on our own page sends."""
    return TestClient(app, base_url=origin, headers={"origin": origin}, follow_redirects=False)  # type: ignore[arg-type]


def say(client: TestClient, fit: int, reviewer: str, verdict: str, seen: int | None = None, **more: object) -> object:
    return client.post(f"/api/fits/{fit}/verdict", json={"reviewer": reviewer, "verdict": verdict, "seen": seen} | more)


def decisions(project: Path) -> list[tuple[int, str, str, str]]:
    with Store.open(project) as store:
        return [(one.fit, one.reviewer, one.verdict, one.note) for one in store.decisions()]


# ---- what it answers


def test_a_fit_is_told_with_all_that_the_page_shows(client, project):
    told = client.get("/api/fits/2", params={"reviewer": "Anna"}).json()
    with Store.open(project) as store:
        record, row = store.record(2), store.fit(2)
    assert told["photo"] == {"name": "photo1.png", "licence": "CC0-1.0", "width": 480, "height": 640, "people": 1}
    assert told["scores"] == row.scores and told["badness"] == row.badness
    assert (told["mine"], told["verdicts"]) == (None, {})
    np.testing.assert_allclose(told["keypoints"], record.keypoints_px, atol=0.006)
    assert told["camera"] == {"focal_px": FOCAL_PX, "principal_px": [240.0, 320.0]}
    names = client.get("/api/project").json()["keypoints"]
    assert [len(names[key]) for key in ("names", "parts", "sides")] == [144] * 3
    assert names["sides"][names["names"].index("left_pinky")] == "left"
    assert {names["parts"][k] for k, name in enumerate(names["names"]) if "index2" in name} == {"hand"}


def test_the_mesh_comes_as_it_projects_onto_the_keypoints(client):
    vertices = np.frombuffer(client.get("/api/fits/1/mesh").content, "<f4").reshape(-1, 3)
    faces = np.frombuffer(client.get("/api/faces").content, "<u4").reshape(-1, 3)
    model = load_body_model()
    assert len(vertices) == len(model.v_template) and np.array_equal(faces, model.faces)
    nose = project_perspective(vertices[9120:9121], FOCAL_PX, np.array([240.0, 320.0]))[0]
    told = client.get("/api/fits/1", params={"reviewer": "Anna"}).json()
    assert np.linalg.norm(nose - told["keypoints"][55][:2]) < 6


def test_pictures_are_the_region_of_the_photo_and_the_overlay_covers_the_person(client, made):
    x, y, width, height = client.get("/api/fits/1", params={"reviewer": "Anna"}).json()["region"]
    crop, over, whole = (
        picture(client, f"/api/fits/1/{name}") for name in ("photo.jpg?crop=1", "overlay.jpg", "photo.jpg")
    )
    assert crop.shape == over.shape == (height, width, 3) and whole.shape == (640, 480, 3)
    truth = np.asarray(PIL.Image.open(made / "photos" / "photo0.png"), int)[y : y + height, x : x + width]
    assert np.abs(crop - truth).mean() < 4
    changed = np.abs(over - crop).max(-1) > 40
    assert not changed[:8].any() and changed.mean() < 0.2  # the photo shows the same body; only edges differ
    assert picture(client, "/api/fits/1/side.jpg").std() > 5


def picture(client: TestClient, address: str) -> np.ndarray:
    response = client.get(address)
    assert (response.status_code, response.headers["content-type"]) == (200, "image/jpeg")
    return np.asarray(PIL.Image.open(BytesIO(response.content)), int)


def test_verdicts_are_stored_and_counted(client, project):
    answer = say(client, 1, "Anna", "flag", note=" left hand? ").json()
    assert decisions(project) == [(1, "Anna", "flag", "left hand?")]
    assert answer["verdicts"] == {"Anna": "flag"} and answer["progress"]["flagged"] == 1
    again = say(client, 1, "Anna", "accept", seen=answer["decision"])
    assert again.status_code == 200
    progress = client.get("/api/progress", params={"reviewer": "Anna"}).json()
    assert (progress["total"], progress["decided"], progress["accepted"], progress["flagged"]) == (3, 1, 1, 0)


def test_others_verdicts_are_told_only_after_ones_own(client):
    say(client, 1, "Anna", "reject")
    assert client.get("/api/fits/1", params={"reviewer": "Ben"}).json()["verdicts"] == {}
    assert say(client, 1, "Ben", "accept").json()["verdicts"] == {"Anna": "reject", "Ben": "accept"}
    assert client.get("/api/fits/1", params={"reviewer": "Ben"}).json()["verdicts"]["Anna"] == "reject"


def test_a_slower_tab_gets_409_with_what_stands(client, project):
    assert say(client, 1, "Anna", "accept", note="fine").status_code == 200
    slow = say(client, 1, "Anna", "reject")
    assert slow.status_code == 409
    assert (slow.json()["verdict"], slow.json()["note"]) == ("accept", "fine")
    assert len(decisions(project)) == 1


def test_two_tabs_get_different_fits_the_best_first(client):
    def ask(tab: str, **more: object) -> int | None:
        return client.get("/api/next", params={"reviewer": "Anna", "tab": tab, **more}).json()["fit"]

    assert (ask("one"), ask("two"), ask("three"), ask("four")) == (1, 2, 3, None)
    assert ask("one") == 1
    say(client, 1, "Anna", "flag")
    assert ask("one") is None
    assert ask("one", queue="flagged") == 1
    assert ask("one", queue="all", after=1) is None  # the others are shown by other tabs


def test_undo_takes_back_the_last_verdict(client):
    say(client, 1, "Anna", "accept")
    say(client, 2, "Anna", "reject")
    answer = client.post("/api/undo", json={"reviewer": "Anna"}).json()
    assert (answer["fit"], answer["progress"]["decided"]) == (2, 1)
    assert client.get("/api/fits/2", params={"reviewer": "Anna"}).json()["mine"] is None
    assert client.post("/api/undo", json={"reviewer": "Ben"}).json()["fit"] is None


# ---- what it refuses


@pytest.mark.parametrize("end", ["", "/photo.jpg", "/overlay.jpg", "/side.jpg", "/mesh"])
@pytest.mark.parametrize("number", ["4", "0", "9" * 30, "9" * 5000, "x"])
def test_unknown_fits_are_404(client, number, end):
    response = client.get(f"/api/fits/{number}{end}", params={"reviewer": "Anna"})
    assert response.status_code == 404 and "fit" in response.json()["error"]


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/static//etc/passwd"]
    + ["/static/index.html", "/api/fits/../../etc/passwd", "/api/fits/1/photo.png", "/api/fits/1%2f..%2f/photo.jpg"],
)
def test_no_path_reaches_the_file_system(client, path):
    response = client.get(path)
    assert response.status_code == 404 and list(response.json()) == ["error"]


@pytest.mark.parametrize(
    "said",
    [
        {"reviewer": "", "verdict": "accept"},
        {"reviewer": "x" * 81, "verdict": "accept"},
        {"reviewer": 5, "verdict": "accept"},
        {"reviewer": "Anna", "verdict": "maybe"},
        {"reviewer": "Anna", "verdict": ["accept"]},
        {"reviewer": "Anna", "verdict": "accept", "note": "n" * 2001},
        {"reviewer": "Anna", "verdict": "accept", "note": 5},
        {"reviewer": "Anna", "verdict": "accept", "seen": "1"},
        {"reviewer": "Anna", "verdict": "accept", "seen": True},
        {"reviewer": "Anna", "verdict": "accept", "seen": 10**30},
    ],
)
def test_bad_verdicts_are_400(client, project, said):
    response = client.post("/api/fits/1/verdict", json=said)
    assert response.status_code == 400 and response.json()["error"]
    assert decisions(project) == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b"[" * 9000, b'{"reviewer": "A", "verdict": "flag", "note": "\\ud800"}']
)
def test_bad_json_is_400(client, body):
    response = client.post("/api/fits/1/verdict", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400 and response.json()["error"]


def test_who_hangs_up_in_the_middle_of_a_request_causes_no_traceback(project):
    sent = []

    async def receive() -> dict:
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)

    headers = {"host": "localhost", "origin": "http://localhost", "content-type": "application/json"}
    raw = [(k.encode(), v.encode()) for k, v in (headers | {"content-length": "99"}).items()]
    scope = {"type": "http", "method": "POST", "path": "/api/undo", "query_string": b"", "headers": raw}
    asyncio.run(application(project)(scope, receive, send))
    assert sent[0]["status"] == 400


def test_bad_questions_are_400(client):
    good = {"reviewer": "Anna", "tab": "t"}
    for wrong in (
        {"tab": ""},
        {"tab": "t" * 65},
        {"queue": "none"},
        {"after": "x"},
        {"after": "9" * 30},
        {"reviewer": ""},
    ):
        assert client.get("/api/next", params=good | wrong).status_code == 400, wrong
    assert client.get("/api/next", params=good | {"after": "99"}).status_code == 404
    assert client.post("/api/progress", json={}).status_code == 405


def test_what_was_said_of_another_project_is_not_stored(client, project):
    own = client.get("/api/project").json()["id"]
    assert say(client, 1, "Anna", "accept", project="another").status_code == 412
    assert client.post("/api/undo", json={"reviewer": "Anna", "project": "another"}).status_code == 412
    assert decisions(project) == []
    assert say(client, 1, "Anna", "accept", project=own).status_code == 200


def test_photos_that_are_gone_or_changed_are_named(project, tmp_path_factory):
    folder = make_project(tmp_path_factory.mktemp("moved"), 2)
    client = browser(application(folder))
    (folder / "photos" / "photo0.png").unlink()
    PIL.Image.new("RGB", (480, 640)).save(folder / "photos" / "photo1.png")
    for number in (1, 2):
        for name in ("photo.jpg?crop=1", "overlay.jpg"):
            response = client.get(f"/api/fits/{number}/{name}")
            assert response.status_code == 410 and f"photo{number - 1}.png" in response.json()["error"]
        assert client.get(f"/api/fits/{number}/mesh").status_code == 200


def test_a_damaged_project_is_503_so_that_the_page_keeps_the_verdict(client, project):
    for file in project.glob("curation.sqlite*"):
        file.unlink()
    response = say(client, 1, "Anna", "accept")
    assert response.status_code == 503 and "curation project" in response.json()["error"]


def test_no_project_no_server(tmp_path):
    with pytest.raises(InputError, match="no curation project"):
        application(tmp_path)


# ---- the guard


def test_foreign_host_names_are_refused(project):
    for name, status in {
        "127.0.0.1:8321": 200, "localhost": 200, "[::1]:9000": 200, "127.0.0.9": 200, "evil.example": 403,
        "127.0.0.1.evil.example": 403, "localhost.evil.example:8321": 403, "": 403, "[": 403, "192.168.0.7": 403,
    }.items():  # fmt: skip
        client = TestClient(application(project))
        response = client.get("/api/progress", params={"reviewer": "Anna"}, headers={"host": name})
        assert response.status_code == status, name
    named = TestClient(application(project, Access(hosts=frozenset({"127.0.1.1", "box"}))))
    assert named.get("/", headers={"host": "box:8321"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": HOST}, 200),
        ({"origin": "https://127.0.0.1:8321"}, 200),
        ({"x-openexpose": "1"}, 200),
        ({}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "", "x-openexpose": "1"}, 403),
        ({"origin": "http://evil.example", "x-openexpose": "1"}, 403),
        ({"origin": HOST, "content-type": "text/plain"}, 403),
        ({"origin": HOST, "content-type": "application/x-www-form-urlencoded"}, 403),
        ({"origin": HOST, "content-type": "application/json; charset=utf-8"}, 200),
        ({"origin": HOST, "sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_only_our_own_page_may_decide(project, headers, status):
    client = TestClient(application(project), base_url=HOST)
    sent = {"content-type": "application/json"} | headers
    response = client.post("/api/fits/1/verdict", content=b'{"reviewer": "Anna", "verdict": "accept"}', headers=sent)
    assert response.status_code == status
    assert len(decisions(project)) == (status == 200)


def test_other_sites_get_no_data_but_may_link_to_the_page(client):
    for site, status in {"cross-site": 403, "same-site": 403, "same-origin": 200, "none": 200}.items():
        assert client.get("/api/fits/1/photo.jpg", headers={"sec-fetch-site": site}).status_code == status
        assert client.get("/", headers={"sec-fetch-site": site}).status_code == 200


def test_large_bodies_are_refused_unread(client, project):
    async def receive() -> dict:
        raise AssertionError("the body was read")

    sent = []

    async def send(message: dict) -> None:
        sent.append(message)

    headers = {"host": "localhost", "origin": "http://localhost", "content-type": "application/json"}
    raw = [(k.encode(), v.encode()) for k, v in (headers | {"content-length": str(MAX_BODY_BYTES + 1)}).items()]
    scope = {"type": "http", "method": "POST", "path": "/api/undo", "query_string": b"", "headers": raw}
    asyncio.run(application(project)(scope, receive, send))
    assert sent[0]["status"] == 413
    for length, status in {str(MAX_BODY_BYTES + 1): 413, "9" * 40: 413, "-1": 411, "x": 411, "²": 411}.items():
        headers = {"content-type": "application/json", "content-length": length.encode()}
        response = client.post("/api/undo", content=b"", headers=headers)
        assert response.status_code == status, length
    chunked = client.post("/api/undo", content=iter([b"{}"]), headers={"content-type": "application/json"})
    assert chunked.status_code == 411
    both = {"content-type": "application/json", "content-length": "2", "transfer-encoding": "chunked"}
    assert client.post("/api/undo", content=b"{}", headers=both).status_code == 411
    assert say(client, 1, "Anna", "accept", filler="x" * MAX_BODY_BYTES).status_code == 413


def test_a_token_is_exchanged_for_a_strict_cookie(project):
    access = Access(token=TOKEN, cookie="openexpose_8321")
    client = browser(application(project, access), "http://box.example:8321")
    for address in (
        "/",
        "/api/progress?reviewer=Anna",
        "/static/page.js",
        "/api/fits/1/photo.jpg",
        "/?token=wrong",
        "/?token=ä",
    ):
        assert client.get(address).status_code == 401, address
    assert client.post("/api/undo", json={"reviewer": "Anna"}).status_code == 401
    assert (
        client.get("/api/project", params={"token": TOKEN}).status_code == 401
    )  # exchanged on the page's address only
    fresh = browser(application(project, access), "http://box.example:8321")
    entered = fresh.get("/", params={"token": TOKEN})
    cookie = entered.headers["set-cookie"].lower()
    hostile = fresh.get("/", params={"token": TOKEN, "reviewer": '"><script>alert(1)</script>'}).text
    assert "<script" not in hostile and "?reviewer=%22%3E%3Cscript" in hostile
    assert entered.status_code == 200 and TOKEN not in entered.text + cookie
    assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
    assert fresh.get("/").status_code == 200
    assert say(fresh, 1, "Anna", "accept").status_code == 200
    other = browser(application(project, access), "http://box.example:8321")
    other.cookies.set("openexpose_8321", TOKEN)
    assert other.get("/").status_code == 401


def test_every_answer_has_strict_headers(client):
    for address in ("/", "/static/page.js", "/api/progress?reviewer=A", "/api/fits/1/photo.jpg", "/nothing"):
        headers = client.get(address).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == ("no-cache" if address in ("/", "/static/page.js") else "no-store")
    assert client.get("/", headers={"host": "evil.example"}).headers["x-content-type-options"] == "nosniff"


def test_the_page_needs_nothing_from_elsewhere(client):
    index = client.get("/").text
    assert not re.findall("(?:https?:)?//[a-z]", re.sub("http://www.w3.org/2000/svg", "", index))
    assert not re.findall(r"\s(?:style|on\w+)=", index)
    for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', index):
        assert client.get(name).status_code == 200
    script = client.get("/static/page.js")
    assert client.get("/static/page.js", headers={"if-none-match": script.headers["etag"]}).status_code == 304


def test_a_port_in_use_is_told_in_one_sentence(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be used"):
            serve(project, port=port, browser=False)
    for port in (-1, 65536, 99999):
        with pytest.raises(InputError, match=f"--port {port}; expected 0 to 65535"):
            serve(project, port=port, browser=False)
    with pytest.raises(InputError, match="address of this machine"):
        serve(project, host="no such host", browser=False)


def test_the_icon_that_browsers_ask_for_is_there(client):
    found = client.get("/favicon.ico")
    assert found.status_code == 200 and found.headers["content-type"].startswith("image/svg+xml")
