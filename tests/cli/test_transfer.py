"""`openexpose transfer`: from a file to a file, and what is told."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.fitting import standins

from openexpose.cli import extras
from openexpose.cli.main import main
from openexpose.formats.native import read_npz


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for MANO, its vertices in the free body, and a file of poses."""
    folder = tmp_path_factory.mktemp("transfer")
    arrays = standins.standin("right-hand", cell_m=0.008)
    standins.write_pkl(folder / "MANO_RIGHT.pkl", arrays)
    np.save(folder / "ids.npy", arrays["rows"])
    rng = np.random.default_rng(0)
    np.savez(folder / "hands.npz", pose=rng.normal(0.0, 0.25, (3, 48)), betas=np.zeros((3, 10)))
    return folder


def words(folder: Path, out: Path, *more: str) -> list[str]:
    known = ["transfer", str(folder / "hands.npz"), "--to", "freebody", "--out", str(out)]
    return [*known, "--from", str(folder / "MANO_RIGHT.pkl"), *more]


def test_a_hand_into_the_free_body(folder: Path, tmp_path: Path, capsys) -> None:
    assert main(words(folder, tmp_path / "out.npz", "--correspondence", str(folder / "ids.npy"))) == 0
    told = capsys.readouterr().out
    fit = re.search(r"fit: ([\d.]+) mm mean, ([\d.]+) mm max; ([\d.]+) s a frame", told)
    back = re.search(r"there and back: ([\d.]+) mm mean, ([\d.]+) mm max", told)
    assert fit and back and float(fit[1]) < 1.5 and float(back[1]) < 1.5
    people = read_npz(tmp_path / "out.npz")
    assert len(people) == 3 and people.body_model == "freebody"
    assert np.abs(people.pose[:, 1:40] - np.eye(3)).max() == 0.0 and np.abs(people.pose[:, 40:] - np.eye(3)).max() > 0.1


def test_out_of_the_body_again_and_options(folder: Path, tmp_path: Path, capsys) -> None:
    ids = str(folder / "ids.npy")
    assert main(words(folder, tmp_path / "b.npz", "--correspondence", ids, "--no-round-trip", "--layout", "poses")) == 0
    model = str(folder / "MANO_RIGHT.pkl")
    line = ["transfer", str(tmp_path / "b.npz"), "--to", model, "--out", str(tmp_path / "c.npz"), "--shape", "one"]
    assert main([*line, "--correspondence", ids]) == 0
    made = np.load(tmp_path / "c.npz")
    assert made["poses"].shape == (3, 48) and made["betas"].shape == (10,) and str(made["body_model"]) == "MANO_RIGHT"
    given = np.load(folder / "hands.npz")["pose"]
    assert np.abs(made["poses"] - given)[:, 3:].mean() < 0.1
    assert "there and back" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--from", "absent.pkl"], "no file 'absent.pkl'"),
        (["--correspondence", "absent.npy"], "no file 'absent.npy'"),
        (["--from", "freebody"], "48 numbers of pose a row; expected 165"),
        (["--betas", "0"], "--betas 0"),
    ],
)
def test_bad_input_is_one_sentence(more: list[str], told: str, folder: Path, tmp_path: Path, capsys) -> None:
    assert main(words(folder, tmp_path / "o.npz", *more)) == 2
    error = capsys.readouterr().err
    assert told in error and error.startswith("openexpose: ") and error.count("\n") == 1
    assert not (tmp_path / "o.npz").exists()


def test_a_file_that_does_not_name_its_model(folder: Path, tmp_path: Path, capsys) -> None:
    line = ["transfer", str(folder / "hands.npz"), "--to", "freebody", "--out", str(tmp_path / "o.npz")]
    assert main(line) == 2
    assert "does not name its model, without --from" in capsys.readouterr().err


def test_what_is_missing_is_told_and_help_is_light(folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    code = (
        "import sys; from openexpose.cli.main import main\n"
        "try: main(['transfer', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'scipy', 'openexpose.fitting') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert main(words(folder, tmp_path / "o.npz")) == 2
    assert "pip install 'openexpose[evaluate]'" in capsys.readouterr().err


def test_transferring_imports_no_torch() -> None:
    code = "import sys, openexpose.fitting.transfer, openexpose.fitting.transfer_files; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
