"""``openexpose predict --save html`` and ``openexpose view``, as words on the command line."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

from openexpose.cli import extras
from openexpose.cli.main import main

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


def test_predict_saves_a_page_with_the_photo(tmp_path: Path) -> None:
    assert main(["predict", str(PHOTO), "--out", str(tmp_path), "--save", "html"]) == 0
    (page,) = tmp_path.iterdir()
    text = page.read_text("utf-8")
    assert page.name == "astronaut.html" and "<title>astronaut.jpg</title>" in text
    assert len(text.split('id="media-data">')[1].split("<")[0]) > 20_000


def test_a_page_of_a_users_body_model_is_refused_before_any_work(tmp_path: Path, fake, monkeypatch, capsys) -> None:
    photo = tmp_path / "photo.jpg"
    PIL.Image.fromarray(np.full((40, 30, 3), 99, np.uint8)).save(photo)
    monkeypatch.setattr(type(fake), "body_model", SimpleNamespace(name="SMPLX_NEUTRAL"))
    assert main(["predict", str(photo), "--out", str(tmp_path / "o"), "--save", "html", "json"]) == 2
    assert "'SMPLX_NEUTRAL' inside, which its licence may forbid" in capsys.readouterr().err
    assert fake.calls == [] and list((tmp_path / "o").iterdir()) == []


def test_without_a_web_server_the_extra_is_named(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert main(["view", str(tmp_path)]) == 2
    assert "pip install 'openexpose[view]'" in capsys.readouterr().err


def test_no_folder_is_told_in_a_sentence(tmp_path: Path, capsys) -> None:
    pytest.importorskip("starlette", reason="needs the extra 'view'")
    assert main(["view", str(tmp_path / "none"), "--no-browser"]) == 2
    assert "which is no folder" in capsys.readouterr().err
