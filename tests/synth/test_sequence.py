"""A rendered sequence: what its files say is what its pictures show; the same job gives the same bytes."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from openexpose.body.mesh import keypoints
from openexpose.errors import InputError
from openexpose.formats.native import read_npz
from openexpose.geometry.camera import project_perspective
from openexpose.synth import sequence as module
from openexpose.synth.person import Stage
from openexpose.synth.sequence import Sequence, SequenceJob, make_sequence, read_sequence
from openexpose.synth.sequence_film import eventful
from openexpose.synth.sequence_render import Film
from openexpose.synth.sequence_visibility import HIDDEN_SHARE, Hiding

slow = pytest.mark.slow

JOB = SequenceJob(seed=11, people=3, seconds=8.0, fps=10, image_size=(640, 360))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sequences")
    assert list(make_sequence(JOB, out)) == list(range(80))
    return out / JOB.name


@pytest.fixture(scope="module")
def read(folder: Path) -> Sequence:
    return read_sequence(folder)


@slow
def test_everybody_is_in_every_frame_under_one_id(read: Sequence, folder: Path) -> None:
    clip, tracks = read.motion.clip, read.motion.tracks
    assert [track.id for track in tracks] == [1, 2, 3]
    np.testing.assert_allclose(clip.times_s, np.arange(80) / 10)
    assert len(read.frames) == 80 and cv2.imread(str(read.frames[7])).shape == (360, 640, 3)
    for track in tracks:
        np.testing.assert_array_equal(track.frames, np.arange(80))
        assert np.ptp(track.people.betas, axis=0).max() == 0, "a shape does not change"
        assert len(read_npz(folder / f"person_{track.id}.npz")) == 80
    shapes = np.stack([track.people.betas[0] for track in tracks])
    assert min(np.linalg.norm(a - b) for a, b in pairwise(shapes)) > 0.5, "people differ"


@slow
def test_parameters_give_the_keypoints_and_these_the_pixels(read: Sequence, stage: Stage) -> None:
    for track in read.motion.tracks:
        people, labels = track.people, read.labels[track.id]
        points = keypoints(stage.model, people.pose, people.betas, people.expression) + people.transl[:, None]
        np.testing.assert_allclose(points, labels.joints_3d, atol=2e-4)
        pixels = project_perspective(labels.joints_3d, people.focal_px, people.principal_px)
        near = labels.joints_3d[..., 2].min(1) > 0.5
        np.testing.assert_allclose(pixels[near], labels.joints_2d[near], atol=0.05)


@slow
def test_the_picture_shows_people_where_the_truth_says(read: Sequence) -> None:
    for track in read.motion.tracks:
        labels, whole = read.labels[track.id], track.people.bbox_xyxy
        parts = labels.visible_share + labels.hidden_by_people + labels.hidden_by_things + labels.outside
        np.testing.assert_allclose(parts, 1, atol=1e-5)
        for n in np.flatnonzero(labels.visible_share > 0.3):
            box, seen = labels.box_visible_xyxy[n], labels.joint_visibility[n] == 2
            assert (box[:2] >= whole[n, :2] - 1.5).all() and (box[2:] <= whole[n, 2:] + 1.5).all()
            inside = (labels.joints_2d[n] >= box[:2] - 2) & (labels.joints_2d[n] <= box[2:] + 2)
            assert inside[seen].all(1).mean() > 0.97
        gone = labels.visible_share == 0
        assert gone.any() or track.id == 1
        assert (labels.joint_visibility[gone] == 2).mean() < 0.05
        assert not labels.box_visible_xyxy[labels.outside == 1].any(), "zeros"


@slow
def test_pictures_change_where_people_move_and_nowhere_else(read: Sequence) -> None:
    first, later = (cv2.imread(str(read.frames[n])).astype(float) for n in (0, 40))
    changed = np.abs(first - later).mean(2) > 40
    near = np.zeros(changed.shape, bool)
    for track in read.motion.tracks:
        for n in (0, 40):
            x0, y0, x1, y1 = track.people.bbox_xyxy[n]
            width = x1 - x0  # shadows reach beyond a box
            rows, columns = (
                slice(max(0, int(y0)), max(0, int(y1 + 20))),
                slice(max(0, int(x0 - width)), max(0, int(x1 + width))),
            )
            near[rows, columns] = True
    assert changed.sum() > 500
    assert (changed & ~near).sum() < 0.02 * changed.sum()


@slow
def test_somebody_is_hidden_somebody_leaves_and_all_come_back(read: Sequence) -> None:
    events = read.about["events"]
    found = [Hiding(e["track"] - 1, e["hidden_by"], e["start_s"], e["end_s"]) for e in events]
    assert {h.cause for h in found} == {"people", "things", "outside"}
    crossings = [h for h in found if h.cause == "people" and 0.3 <= h.end_s - h.start_s <= 1.2]
    away = [h for h in found if h.cause == "outside" and h.end_s - h.start_s < 2]
    assert crossings and away
    times = read.motion.clip.times_s
    for hiding in found:
        share = read.labels[hiding.person + 1].visible_share
        meanwhile = (times >= hiding.start_s) & (times < hiding.end_s - 1e-6)
        assert (share[meanwhile] <= HIDDEN_SHARE).all()
        assert (share[~meanwhile] > HIDDEN_SHARE).any()


@slow
def test_the_same_job_gives_the_same_sequence_also_from_two_processes(folder: Path, tmp_path: Path) -> None:
    assert len(list(make_sequence(JOB, tmp_path, workers=2))) == 80
    for name in ("truth.json", "frames/000000.jpg", "frames/000079.jpg"):
        assert (tmp_path / JOB.name / name).read_bytes() == (folder / name).read_bytes()
    one, two = (np.load(place / "person_2.npz") for place in (folder, tmp_path / JOB.name))
    for name in one.files:  # sums of floats may differ in their last bit: it depends on where arrays lie in memory
        if one[name].dtype.kind == "f":
            np.testing.assert_allclose(one[name], two[name], rtol=1e-6, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)


@slow
def test_a_finished_sequence_is_kept_and_a_stopped_one_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> Film:
        raise AssertionError("rendered again")

    monkeypatch.setattr(module, "_film", never)
    assert len(list(make_sequence(JOB, folder.parent))) == 80
    with pytest.raises(AssertionError, match="rendered again"):
        list(make_sequence(JOB, tmp_path))
    assert not list(tmp_path.iterdir())


@slow
def test_damaged_folders_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"without a readable truth\.json"):
        read_sequence(tmp_path)
    (tmp_path / "truth.json").write_bytes((folder / "truth.json").read_bytes())
    with pytest.raises(InputError, match=r"without 80 of its frames \(000000\.jpg"):
        read_sequence(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": -1}, "seed -1"),
        ({"people": 1}, "1 people; expected 2 to 8"),
        ({"seconds": 2.0}, "2 s at 10 frames a second"),
        ({"image_size": (641, 360)}, "frames of 641 x 360 pixels"),
    ],
)
def test_jobs_that_cannot_be(change: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        replace(JOB, **change)


def test_what_counts_as_eventful() -> None:
    crossing = Hiding(0, "people", 1.0, 1.6)
    assert eventful([crossing], 2) and not eventful([crossing], 3)
    assert not eventful([replace(crossing, end_s=3.0)], 2)
    assert eventful([crossing, Hiding(1, "outside", 1.0, 2.0), Hiding(1, "things", 1.0, 1.5)], 3)
