"""The frozen scenes of test-v2: the generator still makes them, other pictures are told, training cannot reach them."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openexpose.cli.main import main
from openexpose.data.synthetic import read_synthetic, read_test_people
from openexpose.errors import InputError
from openexpose.synth import testset_v2_folder
from openexpose.synth.dataset import TEST_SEED, SynthJob, generator, synth
from openexpose.synth.library import default_assets
from openexpose.synth.shards import Shards, load_shards
from openexpose.synth.testset_v2 import (
    FILE,
    LIMBS,
    PICTURES,
    TEST_V2_SHA256,
    compare,
    frozen_from,
    read_frozen,
)
from openexpose.synth.testset_v2_folder import make_testset

FROZEN = read_frozen(default_assets() / FILE)
COUNT = 4
WORDS = ["synth", "--preset", "test-v2", "--count", str(COUNT), "--out"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first pictures, as the generator of today makes them; that it makes them at all is the test."""
    out = tmp_path_factory.mktemp("test-v2")
    assert main([*WORDS, str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def made(folder: Path) -> Shards:
    return load_shards([folder / f"people-{TEST_SEED}-00000.tar"])


def test_what_is_in_it() -> None:
    assert FROZEN.digest() == TEST_V2_SHA256 and len(FROZEN) == PICTURES and FROZEN.people.sum() == len(FROZEN.pose)
    heights = FROZEN.height_px[FROZEN.counts]
    assert len(heights) == 498 and heights.min() >= 200 and np.mean((heights >= 400) & (heights <= 1000)) > 0.85
    assert 0.3 < np.mean(FROZEN.people == 1) < 0.5 and FROZEN.people.max() == 6
    assert len(np.unique(FROZEN.pose[:, 1:], axis=0)) == len(FROZEN.pose)
    seen = FROZEN.visibility[FROZEN.counts][:, LIMBS] > 0
    assert (seen.sum(1) >= 6).all() and len(LIMBS) == 12


def test_the_generator_still_makes_these_pictures(folder: Path, made: Shards) -> None:
    assert len(made) == COUNT and made.numbers.tolist() == list(range(COUNT))
    compare(made, FROZEN)
    again = frozen_from(made)
    rows = slice(0, int(FROZEN.starts[COUNT]))
    np.testing.assert_array_equal(again.people, FROZEN.people[:COUNT])
    assert np.abs(again.pose - FROZEN.pose[rows].astype(int)).max() <= 300
    np.testing.assert_allclose(again.box, FROZEN.box[rows], atol=3)


@pytest.mark.parametrize(
    ("name", "step", "told"),
    [
        ("pose", 400, r"pose differs from test-v2's by 0\.0\d+ rad; expected at most 0\.03: the generator or its"),
        ("betas", 20, "betas differs"),
        ("transl", 60, "transl differs"),
        ("box", 5, "box differs"),
        ("focal", 90, "focal length differs"),
        ("people", 1, "thumbnail differs from test-v2's by inf"),
        ("image_size", 1, "thumbnail differs from test-v2's by inf"),
    ],
)
def test_other_pictures_are_told(made: Shards, name: str, step: int, told: str) -> None:
    numbers = getattr(FROZEN, name).astype(int)
    numbers.reshape(-1)[0] += step
    with pytest.raises(InputError, match=f"picture 0000 whose {told}"):
        compare(made, replace(FROZEN, **{name: numbers}))


def test_other_pixels_and_other_visibility_are_told(made: Shards) -> None:
    with pytest.raises(InputError, match=r"picture 0000 whose thumbnail differs from test-v2's by \d+"):
        compare(made, replace(FROZEN, thumbnails=FROZEN.thumbnails[::-1]))
    with pytest.raises(InputError, match=r"picture 0000 whose visibility differs from test-v2's by 0\.\d+ of the key"):
        compare(made, replace(FROZEN, visibility=np.roll(FROZEN.visibility, 40, 1)))


def test_a_changed_generator_is_told_and_its_shard_removed(tmp_path: Path, folder: Path, monkeypatch) -> None:
    (shard,) = folder.glob("*.tar")
    (tmp_path / shard.name).write_bytes(shard.read_bytes())
    monkeypatch.setattr(testset_v2_folder, "read_frozen", lambda _: replace(FROZEN, pose=FROZEN.pose[::-1]))
    with pytest.raises(InputError, match="this is no longer test-v2"):
        list(make_testset(tmp_path, count=COUNT))
    assert not list(tmp_path.iterdir())


def test_the_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shard,) = folder.glob("*.tar")
    stamp = shard.stat().st_mtime_ns
    assert main([*WORDS, str(folder)]) == 0 and shard.stat().st_mtime_ns == stamp
    assert "test-v2, first 4 of 360 pictures" in capsys.readouterr().out
    text = (folder / "README.md").read_text()
    assert "first 4 of its 360" in text and TEST_V2_SHA256 in text and "CC0" in text and not re.search(r"\{\w*\}", text)
    table = list(csv.DictReader((folder / "table.csv").open()))
    assert len(table) == FROZEN.people.sum() and sum(int(row["counts"]) for row in table) == 498
    assert read_frozen(folder / FILE).digest() == TEST_V2_SHA256


def test_only_who_counts_is_read(folder: Path, made: Shards) -> None:
    people, count = read_test_people(folder)
    rows = np.flatnonzero(FROZEN.counts[: FROZEN.starts[COUNT]])
    assert count == COUNT and len(people) == len(rows)
    for person, row in zip(people, rows, strict=True):
        picture = int(np.searchsorted(FROZEN.starts, row, "right")) - 1
        assert person.name == f"test-v2/{picture:04d}-{row - FROZEN.starts[picture]}"
        np.testing.assert_array_equal(person.transl, made.labels["transl"][row])
        np.testing.assert_array_equal(person.visibility, FROZEN.visibility[row])
        assert person.jpeg == made.file(picture)


def test_nobody_trains_on_it(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="test-v2, the frozen test set; expected pictures to train on"):
        read_synthetic(folder, "train")
    with pytest.raises(InputError, match="seed -1"):
        next(synth(SynthJob("people", 1, seed=-1), tmp_path))
    with pytest.raises(InputError, match="seed -2"):
        next(synth(SynthJob("body", 1, seed=TEST_SEED), tmp_path))
    assert main(["synth", "--preset", "people", "--count", "1", "--seed", "-2", "--out", str(tmp_path)]) == 2
    assert "seed -2; expected a seed of 0 or more" in capsys.readouterr().err


def test_training_cannot_reach_its_random_numbers() -> None:
    """A seed is a list of 32-bit words. Training's end with a stream of 0 to 3 and a number; these do not."""
    words = (7, *b"openexpose test-v2")
    np.testing.assert_array_equal(generator("people", TEST_SEED, 7).random(4), np.random.default_rng(words).random(4))
    np.testing.assert_array_equal(generator("people", 5, 7).random(4), np.random.default_rng([5, 3, 7]).random(4))
    same_length = sum(word << (32 * k) for k, word in enumerate(words[:-2]))
    reached = {
        tuple(generator(kind, same_length, words[-1]).random(2)) for kind in ("body", "hands", "faces", "people")
    }
    assert tuple(generator("people", TEST_SEED, 7).random(2)) not in reached


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seed", "3"], "--preset test-v2 with --seed"),
        (["--body", "x.npz"], "--preset test-v2 with --body"),
        (["--shards", "0:1"], "--preset test-v2 with --shards"),
        (["--count", "361"], "count 361, workers 1; expected 1 to 360 pictures"),
        (["--count", "0"], "count 0"),
    ],
)
def test_bad_words(words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", "--preset", "test-v2", *words, "--out", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err


def test_damaged_folders_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"test-v2\.npz.*cannot be read"):
        read_frozen(tmp_path / FILE)
    np.savez(tmp_path / FILE, pose=np.zeros(3))
    with pytest.raises(InputError, match="without people"):
        read_frozen(tmp_path / FILE)
    arrays = {name: getattr(FROZEN, name).copy() for name in FROZEN.__dataclass_fields__}
    arrays["betas"][3, 0] += 1
    np.savez(tmp_path / FILE, **arrays)
    with pytest.raises(InputError, match="whose numbers are not test-v2's"):
        read_frozen(tmp_path / FILE)
    (tmp_path / FILE).write_bytes((folder / FILE).read_bytes())
    for shard in synth(SynthJob("people", 2, TEST_SEED, 1), tmp_path):
        kept = shard
    (tmp_path / f"people-{TEST_SEED}-00000.tar").unlink()
    with pytest.raises(InputError, match=r"which begins with picture 1; expected picture 0 of test-v2"):
        read_test_people(kept.parent)
