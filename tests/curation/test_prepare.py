"""Preparing: each photo once, failures again, none stopping the others, and nothing lost when it is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.curation.fits import model, photo, record

from openexpose.curation.fitter import Fitter, distinct
from openexpose.curation.prepare import Told, Work, licences, prepare
from openexpose.curation.store import FitRecord, Store
from openexpose.errors import InputError
from openexpose.fitting.observed import Observed
from openexpose.fitting.penalties import Priors
from openexpose.image.read import Image, read_image

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


def people_in(image: Image) -> list[FitRecord]:
    """Somebody in each photo, told by its colours; two in some, nobody in others."""
    seed = int(image.pixels[0, 0, 0])
    return [record(seed + k) for k in range(seed % 3)]


def work(fit: object = people_in, licence: str = "CC0") -> Work:
    return Work(fit, model, Priors.load, licences(licence))  # type: ignore[arg-type]


def outcomes(told: Iterator[Told]) -> list[tuple[str, str, int]]:
    return [(one.path.name, one.outcome, one.people) for one in told]


def contents(folder: Path) -> list[tuple[object, ...]]:
    """All that a project holds about photos and fits."""
    with Store.open(folder) as store:
        assert store.all("PRAGMA integrity_check")[0][0] == "ok"
        photos = [tuple(row)[1:] for row in store.all("SELECT * FROM photos WHERE state = 'done' ORDER BY path")]
        query = "SELECT path, person, scores, badness, record FROM fits JOIN photos p ON p.id = photo ORDER BY 1, 2"
        return [*photos, *(tuple(row) for row in store.all(query))]


def test_every_photo_once(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{k}.png", k) for k in range(4)]
    expected = [int(read_image(path).pixels[0, 0, 0]) % 3 for path in paths]
    assert len(set(expected)) > 1
    with Store.create(tmp_path / "p") as store:
        first = outcomes(prepare(store, paths, work()))
        assert first == [(f"{k}.png", "fitted", count) for k, count in enumerate(expected)]
        new = photo(tmp_path / "new.png", 9)
        assert outcomes(prepare(store, [*paths, new], work()))[:4] == [(f"{k}.png", "kept", 0) for k in range(4)]
        assert len(store.photos()) == 5
        assert {row.licence for row in store.photos()} == {"CC0"}
        list(prepare(store, paths[:2], work(licence="CC BY 4.0")))
        list(prepare(store, paths, work(licence="")))
        assert [row.licence for row in store.photos()] == ["CC BY 4.0"] * 2 + ["CC0"] * 3
        row = store.photos()[0]
        assert (row.width, row.height, row.path) == (120, 200, paths[0].resolve())


def test_bad_photos_are_kept_with_the_reason_and_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, odd = tmp_path / "broken.jpg", photo(tmp_path / "odd.png", 1)
    broken.write_bytes(b"no picture")
    fine = photo(tmp_path / "fine.png", 2)

    def fit(image: Image) -> list[FitRecord]:
        if image.path.name == "odd.png":
            raise ZeroDivisionError("nobody thought of this")
        return people_in(image)

    paths = [broken, tmp_path / "missing.jpg", odd, fine]
    with Store.create(tmp_path / "p") as store:
        told = list(prepare(store, paths, work(fit)))
        assert [one.outcome for one in told] == ["failed", "failed", "failed", "fitted"]
        assert "not a picture" in told[0].message and "ZeroDivisionError" in told[2].message
        assert "Traceback" in capsys.readouterr().err, "a bug is not hidden"
        photo(broken.with_suffix(".png"), 5).replace(broken)
        told = list(prepare(store, paths, work()))
        assert [one.outcome for one in told] == ["fitted", "failed", "fitted", "kept"]
        assert sum(row.state == "failed" for row in store.photos()) == 1


def test_a_name_that_is_no_unicode_is_told_and_stops_nothing(tmp_path: Path) -> None:
    odd, fine = tmp_path / os.fsdecode(b"odd\xff.png"), photo(tmp_path / "fine.png", 2)
    odd.write_bytes(photo(tmp_path / "x.png", 1).read_bytes())
    with Store.create(tmp_path / "p") as store:
        told = list(prepare(store, [odd, fine], work()))
        assert [one.outcome for one in told] == ["failed", "fitted"] and "not Unicode" in told[0].message
        assert r"odd\udcff.png" in store.photos()[0].message
        list(prepare(store, [odd, fine], work()))
        assert len(store.photos()) == 2


def test_copies_moved_and_changed_photos(tmp_path: Path) -> None:
    first, copy = photo(tmp_path / "a" / "x.png", 1), photo(tmp_path / "b" / "x.png", 1)
    other = photo(tmp_path / "c" / "x.png", 2)
    with Store.create(tmp_path / "p") as store:
        told = list(prepare(store, [first, copy, other], work()))
        assert [one.outcome for one in told] == ["fitted", "same", "fitted"]
        assert str(first.resolve()) in told[1].message
        first.unlink()
        assert outcomes(prepare(store, [copy], work())) == [("x.png", "kept", 0)]
        assert store.photos()[0].path == copy.resolve(), "known again where it lies now"
        photo(other, 3)
        assert outcomes(prepare(store, [other], work()))[0][1] == "fitted", "another picture under an old name"
        assert len(store.photos()) == 3


def test_a_full_disk_stops_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{k}.png", k) for k in range(12)]
    with Store.create(tmp_path / "p") as store:
        pages = store.all("PRAGMA page_count")[0][0]
        store._connection.execute(f"PRAGMA max_page_count = {pages + 8}")
        done = []
        with pytest.raises(InputError, match="full"):
            for told in prepare(store, paths, work()):
                done.append(told)
        assert 0 < len(done) < 12
    with Store.open(tmp_path / "p") as store:
        again = [told.outcome for told in prepare(store, paths, work())]
    assert again == ["kept"] * len(done) + ["fitted"] * (12 - len(done))


def test_two_that_prepare_the_same_photos_share_them(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{k}.png", k) for k in range(3)]
    with Store.create(tmp_path / "p") as store, Store.create(tmp_path / "p") as other:

        def fit(image: Image) -> list[FitRecord]:
            if image.path == paths[1]:
                list(prepare(other, paths[1:2], work()))
            return people_in(image)

        assert [told.outcome for told in prepare(store, paths, work(fit))] == ["fitted", "kept", "fitted"]
        assert len(store.photos()) == 3


def test_killed_and_run_again_is_as_never_killed(tmp_path: Path) -> None:
    for k in range(8):
        photo(tmp_path / "photos" / f"{k}.png", k)
    paths = sorted((tmp_path / "photos").iterdir())
    code = (
        "import sys\nfrom pathlib import Path\nfrom openexpose.curation.prepare import prepare\n"
        "from openexpose.curation.store import Store\nfrom tests.curation.test_prepare import work\n"
        "with Store.create(Path(sys.argv[1])) as store:\n"
        "    for told in prepare(store, map(Path, sys.argv[2:]), work()):\n        print(told.path, flush=True)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "killed"), *map(str, paths)]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}) as process:
        assert process.stdout is not None
        for count, _ in enumerate(process.stdout, 1):
            if count == 3:
                process.send_signal(signal.SIGKILL)
    before = len(contents(tmp_path / "killed"))
    with Store.create(tmp_path / "killed") as store, Store.create(tmp_path / "whole") as whole:
        list(prepare(store, paths, work()))
        list(prepare(whole, paths, work()))
    assert process.returncode == -signal.SIGKILL and before < len(contents(tmp_path / "whole"))
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_licences(tmp_path: Path) -> None:
    assert licences(None)(Path("/a.jpg")) == ""
    assert licences(" CC0 ")(Path("/a.jpg")) == "CC0"
    file = tmp_path / "terms.json"
    file.write_text('{"x.jpg": "plain", "b/x.jpg": "of b", "*": "rest"}')
    of = licences(str(file))
    assert [of(Path(path)) for path in ("/a/x.jpg", "/a/b/x.jpg", "/a/ax.jpg")] == ["plain", "of b", "rest"]
    file.write_text('["x.jpg"]')
    with pytest.raises(InputError, match="no table of texts"):
        licences(str(file))
    with pytest.raises(InputError, match="no file"):
        licences(str(tmp_path / "none.json"))


def test_somebody_found_twice_is_fitted_once() -> None:
    def seen(shift_px: float, confidence: float) -> Observed:
        points = record(1).keypoints_px.copy()
        points[:, 0] += shift_px
        points[:, 2] = confidence
        return Observed("photo/0", points, (900, 200), "openexpose")

    size = float(np.ptp(record(1).keypoints_px[:, 1]))
    found = [seen(0, 0.5), seen(0.1 * size, 0.8), seen(2 * size, 0.4), seen(0.1 * size, 0.3)]
    assert distinct(found).tolist() == [False, True, True, False]
    assert distinct([]).tolist() == []


def test_the_label_is_the_fit_from_the_answer_and_both_are_there() -> None:
    """On a real photo, by the packaged networks."""
    (found,) = Fitter(threads=1)(read_image(ASTRONAUT))
    assert found.answer is not None and found.from_answer is not None and found.from_mean is not None
    np.testing.assert_allclose(found.people.pose, found.from_answer.pose, atol=1e-6)
    assert np.abs(found.from_mean.pose - found.from_answer.pose).max() > 0.05
    assert found.source == "openexpose" and len(found.people) == 1
    assert found.keypoints_px[:, 2].max() > 0.5
