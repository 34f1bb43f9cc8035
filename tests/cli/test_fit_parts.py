"""``openexpose fit --part``: faces of a real photo, hands of keypoint files, with the free body and models of users."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tests.fitting import standins, test_lone

from openexpose.body.keypoints import IBUG68, KEYPOINT_NAMES, LEFT_HAND21, RIGHT_HAND21
from openexpose.cli.main import main
from openexpose.data.sample_shards import read_samples
from openexpose.formats.native import read_npz

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
FACE = [185.0, 80.0, 265.0, 175.0]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut's face, from the network's own landmarks."""
    folder = tmp_path_factory.mktemp("out")
    (folder / "boxes.json").write_text(json.dumps({PHOTO.name: [FACE]}))
    words = [
        "--part",
        "face",
        "--boxes",
        str(folder / "boxes.json"),
        "--save",
        "json",
        "npz",
        "glb",
        "overlay",
        "samples",
    ]
    assert main(["fit", str(PHOTO), "--out", str(folder / "out"), *words]) == 0
    return folder / "out"


def person(folder: Path, stem: str) -> dict:
    (found,) = json.loads((folder / f"{stem}.json").read_text())["people"]
    return found


def hands(folder: Path, **parts: int) -> tuple[Path, Path]:
    """A picture, and an OpenPose file with one hand a person: key and seed."""
    people = []
    for key, seed in parts.items():
        part = "left-hand" if "left" in key else "right-hand"
        points = test_lone.seen_of(test_lone.lone(part, seed), part).keypoints_px
        table = LEFT_HAND21 if "left" in key else RIGHT_HAND21
        people.append({key.rstrip("_"): points[table].ravel().tolist()})
    PIL.Image.new("RGB", test_lone.SIZE, (90, 120, 90)).save(folder / "hands.png")
    (folder / "hands.json").write_text(json.dumps({"people": people}))
    return folder / "hands.png", folder / "hands.json"


def fit_words(picture: Path, file: Path, out: Path, *words: str) -> list[str]:
    return ["fit", str(picture), "--keypoints", str(file), "--init", "mean", "--out", str(out), *words]


def test_a_face_is_written_as_predict_writes_it(out: Path) -> None:
    names = {"astronaut.json", "astronaut.npz", "astronaut.glb", "astronaut_overlay.jpg", "astronaut_fit.json"}
    assert {path.name for path in out.iterdir()} == names | {"samples-000000.tar"}
    joints = person(out, "astronaut")["joints_2d"]
    assert set(joints) == {KEYPOINT_NAMES[k] for k in IBUG68}
    for name, place in {"right_eye1": (202, 109), "left_eye1": (246, 104), "mouth_top": (227, 145)}.items():
        np.testing.assert_allclose(joints[name][:2], place, atol=12)
    people = read_npz(out / "astronaut.npz")
    assert people.part == "face" and people.part_confidence[0].tolist()[:3] == [0, 0, 0]
    rest = [k for k in range(1, 55) if k != 22]
    np.testing.assert_allclose(people.pose[0, rest], np.tile(np.eye(3), (len(rest), 1, 1)), atol=1e-6)


def test_its_sample_is_read_again(out: Path) -> None:
    (sample,) = read_samples(out, "all").samples
    assert sample.part == "face" and sample.read_pixels().shape == (512, 512, 3)
    assert sample.coefficients == "freebody" and sample.expression is not None


def test_labelled_landmarks_are_met_from_the_networks_answer(out: Path, tmp_path: Path) -> None:
    joints = person(out, "astronaut")["joints_2d"]
    labels = np.array([[*joints[KEYPOINT_NAMES[k]][:2], 1.0] for k in IBUG68])
    labels[:, 0] += 6.0
    content = {"people": [{"face_keypoints_2d": np.concatenate([labels, np.zeros((2, 3))]).ravel().tolist()}]}
    (tmp_path / "astronaut.json").write_text(json.dumps(content))
    words = ["--part", "face", "--keypoints", str(tmp_path), "--save", "json"]
    assert main(["fit", str(PHOTO), "--out", str(tmp_path / "out"), *words]) == 0
    found = person(tmp_path / "out", "astronaut")["joints_2d"]
    moved = np.array([found[KEYPOINT_NAMES[k]][:2] for k in IBUG68])
    assert np.linalg.norm(moved - labels[:, :2], axis=1).mean() < 2.0


def test_hands_of_a_file_are_fitted_without_any_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("openexpose.cli.fitting.Predictor.load", lambda **_: pytest.fail("a network is opened"))
    picture, file = hands(tmp_path, hand_left_keypoints_2d=1, hand_left_keypoints_2d_=2, hand_right_keypoints_2d=3)
    words = fit_words(picture, file, tmp_path / "out", "--part", "left-hand", "--focal-length", str(test_lone.FOCAL))
    assert main([*words, "--save", "npz", "json", "samples"]) == 0
    assert "2 left hands" in capsys.readouterr().out
    people = read_npz(tmp_path / "out" / "hands.npz")
    assert (len(people), people.part, people.body_model) == (2, "left-hand", "freebody")
    assert [sample.left for sample in read_samples(tmp_path / "out", "all").samples] == [True, True]
    found = json.loads((tmp_path / "out" / "hands.json").read_text())["people"]
    for seed, one in zip((1, 2), found, strict=True):
        truth = test_lone.seen_of(test_lone.lone("left-hand", seed), "left-hand").keypoints_px
        for k in LEFT_HAND21.tolist():
            np.testing.assert_allclose(one["joints_2d"][KEYPOINT_NAMES[k]][:2], truth[k, :2], atol=6.0)


def test_a_users_hand_model_says_only_what_it_has(tmp_path: Path) -> None:
    model = standins.write_npz(tmp_path / "MANO_LEFT.npz", standins.standin("left-hand", cell_m=0.01))
    picture, file = hands(tmp_path, hand_left_keypoints_2d=1)
    words = fit_words(picture, file, tmp_path / "out", "--part", "left-hand", "--body-model", str(model))
    assert main([*words, "--save", "json", "npz", "glb", "overlay", "samples"]) == 0
    people = read_npz(tmp_path / "out" / "hands.npz")
    assert people.body_model == "mano" and people.expression.shape == (1, 0)
    assert len(person(tmp_path / "out", "hands")["joints_3d"]) == 16, "the stand-in's finger tips are not known"
    (sample,) = read_samples(tmp_path / "out", "all").samples
    assert sample.coefficients == "mano" and sample.points_m[:, 3].sum() == 16


def test_a_body_without_fingers_is_fitted_without_them(tmp_path: Path) -> None:
    model = standins.write_npz(tmp_path / "SMPL.npz", standins.standin("smpl", cell_m=0.02))
    joints = {name: k for k, name in enumerate(KEYPOINT_NAMES)}
    rows = np.zeros((17, 3))
    names = "shoulder elbow wrist hip knee ankle".split()
    body = {"shoulder": (40, 0), "elbow": (75, 55), "wrist": (80, 105), "hip": (25, 100), "knee": (28, 190),
            "ankle": (28, 270)}  # fmt: skip
    for k, name in enumerate(names):
        for side, sign in ((0, 1), (1, -1)):
            rows[5 + 2 * k + side] = [200 + sign * body[name][0], 60 + body[name][1], 2]
    PIL.Image.new("RGB", (400, 400)).save(tmp_path / "body.png")
    entries = {"images": [{"id": 1, "file_name": "body.png"}],
               "annotations": [{"image_id": 1, "keypoints": rows.ravel().tolist()}]}  # fmt: skip
    (tmp_path / "coco.json").write_text(json.dumps(entries))
    words = fit_words(tmp_path / "body.png", tmp_path / "coco.json", tmp_path / "out", "--body-model", str(model))
    assert main([*words, "--save", "json", "npz"]) == 0
    people = read_npz(tmp_path / "out" / "body.npz")
    assert people.body_model == "smpl" and joints["left_index1"] == 25
    np.testing.assert_array_equal(people.pose[0, 22:], np.tile(np.eye(3), (33, 1, 1)))
    written = person(tmp_path / "out", "body")["joints_2d"]
    assert set(written) == set(KEYPOINT_NAMES[:22])
    np.testing.assert_allclose(written["left_elbow"][:2], rows[7, :2] + 0.5, atol=12)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--part", "face"], "without faces in 'hands.png'"),
        (["--part", "right-hand"], "without right hands in 'hands.png'"),
        (["--part", "right-hand", "--body-model", "{mano}"], "a left hand (MANO), with --part right-hand"),
        (["--body-model", "{mano}"], "with --part whole"),
        (["--part", "left-hand", "--body-model", "{smpl}"], "SMPL, with --part left-hand"),
        (["--body-model", "{smpl}", "--save", "samples"], "--save samples with the model 'smpl'"),
        (["--body-model", "absent.pkl"], "no file 'absent.pkl'"),
        (["--body-model", "{text}"], "does not read as a pickle"),
    ],
)
def test_bad_input_is_told(words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    picture, file = hands(tmp_path, hand_left_keypoints_2d=1)
    places = {
        "mano": standins.write_npz(tmp_path / "mano.npz", standins.standin("left-hand", cell_m=0.02)),
        "smpl": standins.write_npz(tmp_path / "smpl.npz", standins.standin("smpl", cell_m=0.04)),
        "text": tmp_path / "model.pkl",
    }
    places["text"].write_text("no model")
    filled = [word.format(**places) for word in words]
    assert main(fit_words(picture, file, tmp_path / "out", *filled)) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_a_photo_without_a_visible_hand_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    PIL.Image.new("RGB", (200, 200), (90, 120, 90)).save(tmp_path / "grass.png")
    assert main(["fit", str(tmp_path / "grass.png"), "--part", "left-hand", "--out", str(tmp_path / "out")]) == 0
    assert "no left hands" in capsys.readouterr().err
