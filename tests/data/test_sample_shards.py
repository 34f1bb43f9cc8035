"""Samples written to shards come back the same, and damaged shards are told."""

import io
import tarfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from openexpose.data.check import check_dataset
from openexpose.data.sample import Sample
from openexpose.data.sample_shards import read_notes, read_samples, write_samples
from openexpose.errors import InputError
from openexpose.people import zero_pose


def _photo(path: Path, size: tuple[int, int] = (60, 40), exif: int | None = None) -> Path:
    rng = np.random.default_rng(len(path.name))
    picture = PIL.Image.fromarray(
        np.kron(rng.integers(0, 255, (size[1] // 10, size[0] // 10, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    )
    told = PIL.Image.Exif()
    if exif:
        told[0x0112] = exif
    picture.save(path, exif=told)
    return path


def _samples(folder: Path, count: int = 12) -> list[Sample]:
    rng = np.random.default_rng(5)
    samples = []
    for k in range(count):
        image = _photo(folder / f"p{k}.{'png' if k % 2 else 'jpg'}")
        for person in range(1 + k % 2):
            keypoints = np.zeros((144, 3))
            keypoints[:25] = np.c_[rng.uniform(0, 40, (25, 2)), np.ones(25)]
            samples.append(
                Sample(
                    f"photos/p{k}/{person}", image, "body", np.array([1.0, 2.0, 30.0, 35.0]), keypoints,
                    pose=zero_pose(1)[0], pose_valid=np.arange(55) < 22, betas=rng.normal(size=10),
                    expression=None if person else rng.normal(size=20), coefficients="freebody",
                    focal_px=None if person else 70.0,
                )
            )  # fmt: skip
    return samples


def test_samples_come_back_the_same(tmp_path: Path) -> None:
    samples = _samples(tmp_path)
    notes = [{"licence": f"number {k}"} for k in range(len(samples))]
    paths = write_samples(tmp_path / "out", samples, notes=notes, per_shard=5)
    assert [path.name for path in paths] == ["samples-000000.tar", "samples-000001.tar", "samples-000002.tar"]
    back = read_samples(tmp_path / "out", "all").samples
    assert len(back) == len(samples) == 18
    for one, two in zip(samples, back, strict=True):
        for field in fields(Sample):
            mine, theirs = getattr(one, field.name), getattr(two, field.name)
            if field.name != "image":
                assert type(mine) is type(theirs)
                np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(one.read_pixels(), two.read_pixels())
        assert two.image.read_bytes() == one.image.read_bytes()  # the file as it was, not compressed again
    assert read_notes(tmp_path / "out") == {sample.name: note for sample, note in zip(samples, notes, strict=True)}
    found = check_dataset("samples", tmp_path / "out", "all")
    assert found.complete and found.samples == 18 and found.labels["expression"] == 12


def test_splits_keep_pictures_together(tmp_path: Path) -> None:
    write_samples(tmp_path, _samples(tmp_path))
    held, rest = (read_samples(tmp_path, split).samples for split in ("val", "train"))
    assert [sample.name for sample in held] == ["photos/p9/0", "photos/p9/1"]
    assert len(rest) == 16


def test_the_same_samples_are_the_same_bytes_and_replace_earlier_ones(tmp_path: Path) -> None:
    samples = _samples(tmp_path)
    first = [path.read_bytes() for path in write_samples(tmp_path / "out", samples, per_shard=5)]
    assert [path.read_bytes() for path in write_samples(tmp_path / "out", samples, per_shard=5)] == first
    write_samples(tmp_path / "out", samples[:2], per_shard=5)
    assert len(read_samples(tmp_path / "out", "all")) == 2
    write_samples(tmp_path / "again", read_samples(tmp_path / "out", "all").samples)  # from shard to shard
    assert len(read_samples(tmp_path / "again", "all")) == 2


def test_a_turned_photo_is_kept_upright(tmp_path: Path) -> None:
    turned = _photo(tmp_path / "turned.jpg", exif=6)
    sample = replace(_samples(tmp_path, 1)[0], image=turned)
    write_samples(tmp_path / "out", [sample])
    back = read_samples(tmp_path / "out").samples[0]
    assert back.read_pixels().shape == (60, 40, 3) == sample.read_pixels().shape
    assert abs(back.read_pixels().astype(int) - sample.read_pixels()).mean() < 3
    grey = tmp_path / "grey.webp"
    PIL.Image.new("L", (30, 20), 77).save(grey)
    write_samples(tmp_path / "webp", [replace(sample, image=grey)])
    assert (abs(read_samples(tmp_path / "webp").samples[0].read_pixels().astype(int) - 77) < 3).all()


def test_webdataset_groups_them(tmp_path: Path) -> None:
    (path,) = write_samples(tmp_path / "out", _samples(tmp_path, 2))
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["0000000.jpg", "0000000.0.npz", "0000001.png", "0000001.0.npz", "0000001.1.npz"]


def test_damage_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without samples"):
        read_samples(tmp_path)
    with pytest.raises(InputError, match="no samples to write"):
        write_samples(tmp_path / "none", [])
    (path,) = write_samples(tmp_path / "out", _samples(tmp_path, 4))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        read_samples(tmp_path / "out")
    at = content.find(b"0000001.0.npz") + 512 + 2000
    path.write_bytes(content[:at] + b"damage" + content[at + 6 :])
    with pytest.raises(InputError, match="cannot be read"):
        read_samples(tmp_path / "out")


def test_labels_that_are_too_large_or_packed_tight_are_not_unpacked(tmp_path: Path) -> None:
    (path,) = write_samples(tmp_path / "out", _samples(tmp_path, 1))
    file = io.BytesIO()
    np.savez_compressed(file, keypoints_px=np.zeros((10_000, 144, 3)))
    with tarfile.open(path, "a") as archive:
        entry = tarfile.TarInfo("0000000.1.npz")
        entry.size = file.tell()
        file.seek(0)
        archive.addfile(entry, file)
    with pytest.raises(InputError, match="compressed"):
        read_samples(tmp_path / "out")


def test_a_missing_picture_leaves_no_half_file(tmp_path: Path) -> None:
    samples = _samples(tmp_path, 3)
    samples[2].image.unlink()
    with pytest.raises(InputError, match="p1"):
        write_samples(tmp_path / "out", samples)
    assert list((tmp_path / "out").iterdir()) == []
