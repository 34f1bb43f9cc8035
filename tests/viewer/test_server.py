"""``openexpose view``: the folder of results as the server tells it, and what it refuses."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tests.viewer import clips

pytest.importorskip("starlette", reason="needs the extra 'view'")
pytest.importorskip("httpx", reason="Starlette's test client needs httpx")

from starlette.testclient import TestClient

from openexpose.errors import InputError
from openexpose.formats.native import write_npz
from openexpose.formats.tracks import write_track
from openexpose.viewer.server import application, serve

HOST = "http://127.0.0.1:8322"
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A photo with two people and its overlay, a clip with two tracks, a page, and files of other programs."""
    folder = tmp_path / "results"
    folder.mkdir()
    (tmp_path / "secret.json").write_text("secret")
    write_npz(folder / f"{EVIL}.npz", clips.people(2), image_name=f"{EVIL}.jpg", focal_source="default")
    overlay = np.full((clips.SIZE[1], clips.SIZE[0] + 150, 3), 90, np.uint8)
    PIL.Image.fromarray(overlay).save(folder / f"{EVIL}_overlay.jpg")
    motion = clips.motion()
    for track in motion.tracks:
        write_track(folder / f"walk_{track.id}.npz", motion.clip, track, focal_source="default")
    (folder / "walk_overlay.mp4").write_bytes(bytes(range(256)) * 40)
    (folder / "report.html").write_text("<script>alert(1)</script>")
    (folder / "broken.npz").write_bytes(b"PK\3\4 not an archive")
    np.savez(folder / "other.npz", a=np.zeros(3))
    (folder / "notes.txt").write_text("not given out")
    return folder


@pytest.fixture
def client(results: Path) -> TestClient:
    return TestClient(application(results), base_url=HOST, follow_redirects=False)


def test_the_index_tells_photos_and_clips(client):
    index = client.get("/").text
    assert "3 results" in index and index.count("<article>") == 3
    assert "2 people<" in index and "2 people, 40 frames" in index and "a page" in index
    assert 'href="/view/walk_1.npz"' in index and 'href="/file/report.html"' in index
    assert "notes.txt" not in index and "broken" not in index and "other" not in index
    assert "<img src=x" not in index and "&lt;img src=x onerror=alert(1)&gt;" in index


def test_exported_files_are_listed_with_what_they_are_about(client, results):
    names = ("walk_1_amass.npz", "walk_joints.csv", "walk_2_mixamo.bvh", "walk.usdc", "walk_mediapipe.json")
    for name in names:
        (results / name).write_bytes(b"")
    index = client.get("/").text
    assert index.count("<article>") == 3
    walk = index[index.index('href="/view/walk_1.npz"') :]
    assert all(f'href="/file/{name}"' in walk for name in names)


def test_new_results_show_and_an_empty_folder_says_so(tmp_path):
    client = TestClient(application(tmp_path), base_url=HOST)
    assert "No results in this folder yet." in client.get("/").text
    write_npz(tmp_path / "a.npz", clips.people(1), image_name="a.jpg", focal_source="default")
    assert "1 person" in client.get("/").text
    write_npz(tmp_path / "a.npz", clips.people(3), image_name="a.jpg", focal_source="default")
    assert "3 people" in client.get("/").text


def test_a_photo_is_shown_on_its_overlay_or_on_the_original(client, results):
    drawn = client.get(f"/view/{EVIL}.npz")
    assert drawn.status_code == 200 and drawn.headers["content-type"].startswith("text/html")
    photos = results.parent / "photos"
    photos.mkdir()
    PIL.Image.new("RGB", clips.SIZE).save(photos / f"{EVIL}.jpg")
    found = TestClient(application(results, photos), base_url=HOST).get(f"/view/{EVIL}.npz")
    assert media_of(found.text) and media_of(found.text) != media_of(drawn.text)
    PIL.Image.new("RGB", (50, 50)).save(photos / f"{EVIL}.jpg")  # another photo of that name
    other = TestClient(application(results, photos), base_url=HOST).get(f"/view/{EVIL}.npz")
    assert media_of(other.text) == media_of(drawn.text)


def media_of(text: str) -> str:
    return text.split('id="media-data">')[1].split("<")[0]


def test_a_clips_video_comes_from_the_server_in_pieces(client):
    page = client.get("/view/walk_1.npz")
    assert page.status_code == 200 and media_of(page.text) == ""
    assert "media-src blob: 'self'" in page.headers["content-security-policy"]
    piece = client.get("/film/walk_1.npz", headers={"range": "bytes=10-19"})
    assert (piece.status_code, piece.content) == (206, bytes(range(10, 20)))
    assert piece.headers["content-type"] == "video/mp4"


def test_overlays_are_given_small(client, results):
    PIL.Image.new("RGB", (4000, 3000)).save(results / f"{EVIL}_overlay.jpg")
    small = client.get(f"/picture/{EVIL}_overlay.jpg")
    assert small.headers["content-type"] == "image/jpeg" and len(small.content) < 20_000
    (results / f"{EVIL}_overlay.jpg").write_bytes(b"no picture")
    assert client.get(f"/picture/{EVIL}_overlay.jpg").status_code == 404
    assert client.get("/picture/report.html").status_code == 404


def test_pages_of_the_folder_are_no_part_of_this_site(client):
    answer = client.get("/file/report.html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts") and "default-src 'none'" in policy
    assert "allow-same-origin" not in policy and "'self'" not in policy


@pytest.mark.parametrize(
    "path",
    ["/file/../secret.json", "/file/%2e%2e%2fsecret.json", "/file/..%5csecret.json", "/file//etc/passwd", "/etc/passwd"]
    + ["/file/%2fetc%2fpasswd", "/view/../secret.json", "/picture/%2e%2e%2fsecret.json", "/film/..%2fsecret.json"]
    + ["/file/notes.txt", "/file/", "/file/.", "/view/other.npz", "/view/broken.npz", "/film/report.html"],
)
def test_no_path_reaches_the_file_system(client, path):
    answer = client.get(path)
    assert answer.status_code == 404 and list(answer.json()) == ["error"]


def test_links_that_lead_out_are_passed_over(client, results):
    (results / "linked.json").symlink_to(results.parent / "secret.json")
    (results / "inner.json").write_text("{}")
    (results / "again.json").symlink_to(results / "inner.json")
    assert client.get("/file/linked.json").status_code == 404
    assert client.get("/file/again.json").status_code == 200
    (results.parent / "walk.mp4").write_bytes(b"secret")
    (results / "walk.mp4").symlink_to(results.parent / "walk.mp4")
    assert client.get("/film/walk_1.npz").content != b"secret"


def test_who_may_ask(results):
    client = TestClient(application(results), base_url=HOST)
    for name, status in {"127.0.0.1:8322": 200, "localhost": 200, "evil.example": 403, "192.168.0.7": 403}.items():
        assert client.get("/file/walk_1.npz", headers={"host": name}).status_code == status
    assert client.get("/file/walk_1.npz", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.post("/", json={}, headers={"origin": HOST}).status_code == 405
    for address in ("/", "/view/walk_1.npz", "/file/report.html", "/nothing"):
        headers = client.get(address).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_people_of_a_users_body_model_are_told_in_a_sentence(client, results):
    people = replace(clips.people(1), body_model="SMPLX_NEUTRAL")
    write_npz(results / "mine.npz", people, image_name="mine.jpg", focal_source="default")
    answer = client.get("/view/mine.npz")
    assert answer.status_code == 409 and "SMPLX_NEUTRAL" in answer.json()["error"]


def test_bad_folders_and_ports_are_told(tmp_path):
    with pytest.raises(InputError, match="which is no folder"):
        application(tmp_path / "none")
    with pytest.raises(InputError, match="which is no folder"):
        application(tmp_path, tmp_path / "none")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot be used"):
            serve(tmp_path, port=taken.getsockname()[1], browser=False)


@pytest.fixture
def running(results: Path) -> object:
    command = [sys.executable, "-m", "openexpose.cli.main", "view", str(results), "--port", "0", "--no-browser"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    process.address = process.stdout.readline().removeprefix("Results at ").strip()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_in_a_browser_the_index_leads_to_people_and_ctrl_c_ends_it(running, visit):
    page = visit(running.address, ready="article")
    page.complaints.clear()  # the fixture's video is none
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("link", name=f"{EVIL}.jpg", exact=True).click()
    page.wait_for_selector("#main:not([hidden])")
    page.get_by_text("The picture is the overlay").wait_for()
    page.wait_for_timeout(300)
    assert len(page.evaluate("openexpose.state().people")) == 2
    running.send_signal(signal.SIGINT)
    assert running.wait(8) == 0
    assert "Ended." in running.stdout.read()
