"""The exported data set says what was fitted, as our own readers read it."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tests.curation.fits import SIZE, model, photo, record

from openexpose.body.keypoints import PARTS
from openexpose.body.mesh import keypoints
from openexpose.curation.export import export, is_accepted
from openexpose.curation.prepare import Work, licences, prepare
from openexpose.curation.record import FitRow, PhotoRow, Verdict
from openexpose.curation.store import FitRecord, Store
from openexpose.data.check import check_dataset
from openexpose.data.sample_shards import read_notes, read_samples
from openexpose.data.smplx_sets import OPENPOSE137, read_curated_fits
from openexpose.errors import InputError
from openexpose.fitting.penalties import Priors
from openexpose.geometry.camera import project_perspective
from openexpose.image.read import Image

ROTATED = {6: PIL.Image.Transpose.ROTATE_90, 3: PIL.Image.Transpose.ROTATE_180}


def fill(folder: Path, paths: list[Path], **kind: object) -> Store:
    """A project in which every photo shows two people."""
    store = Store.create(folder)

    def fit(image: Image) -> list[FitRecord]:
        seed = int(image.pixels.astype(int).sum()) % 1000
        assert (image.width, image.height) == SIZE
        return [record(seed, **kind), record(seed + 1, **kind)]  # type: ignore[arg-type]

    list(prepare(store, paths, Work(fit, model, Priors.load, licences("CC BY 4.0, ann"))))
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve photos, 24 fits, of which all are accepted but the second."""
    paths = [photo(tmp_path / f"in {k % 2}" / f"x{k // 2}.png", k) for k in range(12)]
    found = fill(tmp_path / "project", paths)
    for fit in found.fits("id"):
        found.decide(fit.id, "ann", "reject" if fit.id == 2 else "accept", note=f"note {fit.id}", seen=None)
    return found


def test_samples_come_back(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = export(store, out, model())
    assert (written.fits, written.photos, written.left_out) == (23, 12, [])
    samples = read_samples(out, "all").samples
    fits = [fit for fit in store.fits("id") if fit.id != 2]
    assert len(samples) == 23
    for sample, fit in zip(samples, fits, strict=True):
        fitted = store.record(fit.id)
        people = fitted.people
        np.testing.assert_array_equal(sample.pose, people.pose[0])
        np.testing.assert_array_equal(sample.betas, people.betas[0])
        np.testing.assert_allclose(sample.keypoints_px, fitted.keypoints_px)
        points = keypoints(model(), people.pose, people.betas, people.expression)[0] + people.transl[0]
        np.testing.assert_allclose(sample.points_m[:, :3], points, atol=1e-5)  # type: ignore[index]
        projected = project_perspective(sample.points_m[:, :3], sample.focal_px, np.array(SIZE) / 2)  # type: ignore
        np.testing.assert_allclose(projected, sample.keypoints_px[:, :2], atol=0.05)
        assert (
            sample.coefficients == "freebody" and sample.part == "body" and sample.read_pixels().shape[:2] == (200, 120)
        )
    notes = read_notes(out)
    assert len(notes) == 23
    first = notes[samples[0].name]
    assert first["licence"] == "CC BY 4.0, ann" and first["photo"] == "x0.png"
    assert first["verdicts"] == "ann: accept" and first["remarks"] == "ann: note 1"
    assert str(tmp_path) not in json.dumps(notes), "nobody learns where photos lay"


def test_the_layout_of_curated_fits_comes_back(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(store, out, model())
    rows = [fit for fit in store.fits("id") if fit.id != 2]
    splits = {"train": [], "val": []}  # the tenth photo is held out
    for fit in rows:
        splits["val" if fit.photo.id == 10 else "train"].append(fit)
    for split, fits in splits.items():
        samples = read_curated_fits(out, split).samples
        twins = {s.name.split("/")[-1] for s in read_samples(out, split).samples}
        assert len(samples) == len(fits) > 0 and len(twins) > 0
        for sample, fit in zip(samples, fits, strict=True):
            fitted = store.record(fit.id)
            np.testing.assert_allclose(sample.pose, fitted.people.pose[0], atol=1e-5)
            np.testing.assert_allclose(sample.betas, fitted.people.betas[0], atol=1e-6)
            np.testing.assert_allclose(sample.expression, fitted.people.expression[0], atol=1e-6)
            assert sample.coefficients == "freebody"
            told = np.unique(OPENPOSE137[OPENPOSE137 >= 0])
            np.testing.assert_allclose(sample.keypoints_px[told, :2], fitted.keypoints_px[told, :2], atol=1e-4)
            assert (sample.keypoints_px[told, 2] == 1.0).all() and sample.keypoints_px[:, 2].sum() == len(told)
            assert sample.read_pixels().shape == (200, 120, 3)
    assert check_dataset("curated-fits", out).complete and check_dataset("samples", out).complete


def test_the_arrays_are_those_of_the_format(store: Store, tmp_path: Path) -> None:
    """Facts of the format: axis-angle in the order global, 21 body, jaw, eyes, hands; 137 keypoints, feet and all."""
    export(store, tmp_path / "out", model())
    with np.load(tmp_path / "out" / "train.npz", allow_pickle=False) as npz:
        pose, seen = npz["pose"], npz["keypoints2D"]
        assert pose.shape == (21, 55, 3) and seen.shape == (21, 137, 3)
        assert npz["betas"].shape == (21, 10) and npz["expression"].shape == (21, 20)
        assert all((tmp_path / "out" / name).is_file() for name in npz["img_fns"])
        assert json.loads(npz["notes"][0])["licence"] == "CC BY 4.0, ann"
    fitted = store.record(1)
    turn = fitted.people.pose[0, 25].astype(float)  # left index
    angle = np.arccos((np.trace(turn) - 1) / 2)
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / (2 * np.sin(angle))
    np.testing.assert_allclose(pose[0, 25], axis * angle, atol=1e-5)
    np.testing.assert_allclose(seen[0, [0, 8, 4, 7]], fitted.keypoints_px[[55, 0, 21, 20]], atol=1e-4)
    np.testing.assert_allclose(seen[0, [25, 46]], fitted.keypoints_px[[20, 21]], atol=1e-4)
    np.testing.assert_allclose(seen[0, 67 + 8], fitted.keypoints_px[135], atol=1e-4)  # chin
    assert not seen[:, 135:].any(), "nobody saw pupils"


def test_parts_that_were_not_seen_are_not_labelled(tmp_path: Path) -> None:
    with fill(tmp_path / "p", [photo(tmp_path / "x.png")], hidden=("left_hand", "face")) as store:
        store.decide(1, "ann", "accept", seen=None)
        export(store, tmp_path / "out", model())
    for sample in (read_samples(tmp_path / "out").samples[0], read_curated_fits(tmp_path / "out").samples[0]):
        assert not sample.pose_valid[[22, *range(25, 40)]].any() and sample.pose_valid[[0, 21, 40, 54]].all()
        assert sample.expression is None and not sample.keypoints_px[PARTS["left_hand"][1:], 2].any()


@pytest.mark.parametrize(("orientation", "suffix"), [(6, ".jpg"), (3, ".jpg"), (1, ".webp")])
def test_pictures_that_are_not_upright_are_exported_so_that_labels_fit(
    orientation: int, suffix: str, tmp_path: Path
) -> None:
    upright = PIL.Image.open(photo(tmp_path / "upright.png", 4))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    stored = upright.transpose(ROTATED[orientation]) if orientation in ROTATED else upright
    stored.save(tmp_path / f"turned{suffix}", exif=exif, quality=95)
    with fill(tmp_path / "p", [tmp_path / f"turned{suffix}"]) as store:
        store.decide(1, "ann", "accept", seen=None)
        export(store, tmp_path / "out", model())
    (image,) = (tmp_path / "out" / "images").iterdir()
    with PIL.Image.open(image) as exported:  # as a program sees it that knows nothing of EXIF
        assert exported.format == "JPEG" and exported.size == SIZE and 0x0112 not in exported.getexif()
        assert np.abs(np.asarray(exported, float) - np.asarray(upright, float)).mean() < 12.0
    assert read_samples(tmp_path / "out").samples[0].read_pixels().shape[:2] == (200, 120)


@pytest.mark.parametrize(
    ("said", "one", "majority", "every"),
    [
        ([], False, False, False),
        (["accept"], True, True, True),
        (["reject"], False, False, False),
        (["accept", "reject"], True, False, False),
        (["accept", "flag", "accept"], True, True, False),
        (["flag", "reject", "accept"], True, False, False),
        (["accept", "accept"], True, True, True),
    ],
)
def test_who_must_have_accepted(said: list[Verdict], one: bool, majority: bool, every: bool) -> None:
    row = PhotoRow(1, Path("/a.jpg"), "x", 10, 10, "", "done")
    fit = FitRow(1, row, 0, {}, 0.0, {f"r{k}": verdict for k, verdict in enumerate(said)})
    assert [is_accepted(fit, way) for way in ("one", "majority", "all")] == [one, majority, every]


def test_statistics(store: Store, tmp_path: Path) -> None:
    store.decide(1, "bob", "accept", seen=None)
    store.decide(2, "bob", "accept", seen=None)
    export(store, tmp_path / "out", model(), "all")
    numbers = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert numbers["exported"] == {"fits": 23, "photos": 12, "agreed": "all", "left out": []}
    assert numbers["fits"] == {"all": 24, "judged": 24, "disputed": 1}
    assert numbers["verdicts"]["bob"] == {"accept": 2, "reject": 0, "flag": 0}
    assert numbers["agreement"]["pairs"][0]["percent"] == 50.0
    assert numbers["scores"]["exported"]["badness"]["fits"] == 23
    assert numbers["licences"] == {"CC BY 4.0, ann": 12}


def test_nothing_accepted_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with fill(tmp_path / "p", [photo(tmp_path / "x.png")]) as store:
        with pytest.raises(InputError, match="no accepted fit"):
            export(store, tmp_path / "out", model())
        store.decide(1, "ann", "accept", seen=None)
        store.decide(1, "bob", "reject", seen=None)
        with pytest.raises(InputError, match=r"no accepted fit.*majority"):
            export(store, tmp_path / "out", model())
        assert export(store, tmp_path / "out", model(), "one").fits == 1
    assert {path.name for path in tmp_path.iterdir()} == {"p", "x.png", "out"}


def test_photos_that_are_gone_or_changed_are_left_out(store: Store, tmp_path: Path) -> None:
    photos = [row.path for row in store.photos()]
    photos[0].unlink()
    photo(photos[1], 77)
    written = export(store, tmp_path / "out", model())
    assert written.photos == 10 and written.fits == 20 and len(written.left_out) == 2
    for path in photos[2:]:
        path.unlink()
    with pytest.raises(InputError, match="none of the 12 photos"):
        export(store, tmp_path / "other", model())
    assert len(read_samples(tmp_path / "out", "all")) == 20 and not (tmp_path / "other").exists()


def test_photos_of_the_project_are_not_replaced(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(store, out, model())
    pictures = sorted((out / "images").iterdir())
    again = fill(tmp_path / "again", pictures)
    again.decide(1, "ann", "accept", seen=None)
    with pytest.raises(InputError, match=f"with the project's photo 'images/{pictures[0].name}'"):
        export(again, out, model())
    assert sorted((out / "images").iterdir()) == pictures


def test_the_current_folder_is_not_replaced(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "out" / "below")
    for place in (".", "..", str(tmp_path / "out")):
        with pytest.raises(InputError, match="which this command runs in"):
            export(store, Path(place), model())


def test_an_earlier_export_is_replaced_whole_and_nothing_else_is(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(store, out, model())
    store.decide(2, "ann", "accept", seen=store.fit(2).last["ann"])
    assert export(store, out, model()).fits == 24
    assert len(read_samples(out, "all")) == 24 and len(list((out / "images").iterdir())) == 12
    (out / "samples-000000.evidence.npz").write_bytes(b"training leaves this there")
    (out / "samples-000000.maps-stage4.npy").write_bytes(b"and this")
    assert export(store, out, model()).fits == 24 and len(list(out.glob("samples-*"))) == 1
    (out / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match=r"mine\.txt"):
        export(store, out, model())
    with pytest.raises(InputError, match="curation"):
        export(store, tmp_path / "project", model())
    (out / "mine.txt").unlink()
    (tmp_path / "link").symlink_to(out)
    assert export(store, tmp_path / "link", model()).fits == 24
    assert (tmp_path / "link").is_symlink() and not list(tmp_path.glob(".*"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="which is a file"):
        export(store, tmp_path / "file", model())
    with pytest.raises(InputError, match="cannot be written"):
        export(store, tmp_path / "file" / "out", model())
