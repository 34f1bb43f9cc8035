"""Shard files: what goes in comes out, in tar's and WebDataset's own terms, and nothing else is taken for one."""

import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.synth.photos import make_photo, make_photos

from openexpose.body.mesh import joint_transforms
from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.synth.photo import SUBJECT_LABELS
from openexpose.synth.shard_files import (
    MEMBERS,
    Origin,
    check_shard,
    half_depth_mm,
    open_shard,
    read_arrays,
    write_shard,
)
from openexpose.synth.shards import load_shards

ORIGIN = Origin("people", 3, 20, "0123456789ab")
SIZE = (50, 37)


def written(path: Path, count: int = 3, kind: str = "people", first: int = 20) -> Path:
    photos = make_photos(kind, count, first, size=SIZE, people=2)
    return write_shard(path, Origin(kind, 3, first, ORIGIN.body), photos)


def test_photos_come_back(tmp_path: Path) -> None:
    shards = load_shards([written(tmp_path / "a.tar"), written(tmp_path / "b.tar", 2, first=30)])
    photos = [*make_photos("people", 3, 20, size=SIZE, people=2), *make_photos("people", 2, 30, size=SIZE, people=2)]
    assert len(shards) == 5 and (shards.kind, shards.body) == ("people", ORIGIN.body)
    assert shards.numbers.tolist() == [20, 21, 22, 30, 31] and shards.name(3) == "people-3-0000030"
    for k, photo in enumerate(photos):
        again = shards.photo(k)
        np.testing.assert_array_equal(again.mask, photo.mask)
        np.testing.assert_array_equal(half_depth_mm(again.depth_m), half_depth_mm(photo.depth_m))
        assert again.depth_m.shape == photo.depth_m.shape and (again.depth_m <= photo.depth_m + 1e-3).all()
        assert np.abs(again.image.astype(int) - photo.image).mean() < 25 and again.image.shape == photo.image.shape
        assert (again.focus, again.place, len(again.people)) == ("people", "nowhere", 2)
        np.testing.assert_allclose(again.intrinsics, photo.intrinsics, rtol=1e-6)
        for found, person in zip(again.people, photo.people, strict=True):
            for name in SUBJECT_LABELS:
                np.testing.assert_allclose(getattr(found, name), getattr(person, name), rtol=1e-6, atol=1e-6)
    with pytest.raises(IndexError):
        shards.image(5)


def test_members_are_what_tar_programs_see(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tar")
    shards = load_shards([path])
    with tarfile.open(path) as archive:
        entries = archive.getmembers()
        keys = [f"people-3-{k:07d}" for k in (20, 21, 22)]
        assert [e.name for e in entries[:-2]] == [f"{key}.{member}" for key in keys for member in MEMBERS]
        assert all(e.name.startswith("__shard__/") for e in entries[-2:]), "WebDataset passes over such members"
        assert {(e.mtime, e.uid, e.gid, e.uname, e.gname, e.mode) for e in entries} == {(0, 0, 0, "", "", 0o644)}
        files = {e.name: archive.extractfile(e).read() for e in entries}
    image = cv2.imdecode(np.frombuffer(files["people-3-0000021.jpg"], np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(image[..., ::-1], shards.image(1))
    with np.load(io.BytesIO(files["people-3-0000021.npz"]), allow_pickle=False) as labels:
        assert labels["pose"].shape == (2, 55, 3, 3) and labels["visibility"].dtype == np.uint8
        for name in SUBJECT_LABELS:
            np.testing.assert_array_equal(labels[name], shards.labels[name][2:4])
        np.testing.assert_allclose(labels["K"], shards.photo(1).intrinsics, rtol=1e-6)
        assert labels["image_size"].tolist() == list(SIZE)
        marks = [str(labels[name]) for name in ("kind", "seed", "index", "body", "focus", "place")]
        assert marks == ["people", "3", "21", ORIGIN.body, "people", "nowhere"]
    depth = cv2.imdecode(np.frombuffer(files["people-3-0000021.depth.png"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16 and depth.shape == (19, 25)


def test_the_same_photos_are_the_same_bytes(tmp_path: Path) -> None:
    assert written(tmp_path / "a.tar").read_bytes() == written(tmp_path / "b.tar").read_bytes()


def test_depth_is_the_nearest_of_four_pixels_in_millimetres() -> None:
    depth = np.full((3, 5), np.inf)
    depth[0, 0], depth[1, 1], depth[2, 4], depth[0, 2], depth[0, 4] = 2.0, 1.2344, 70.0, 0.0001, 99.0
    np.testing.assert_array_equal(half_depth_mm(depth), [[1234, 1, 65535], [0, 0, 65535]])


def test_photos_without_people(tmp_path: Path) -> None:
    photos = [make_photo("people", 0, people=1), make_photo("people", 1)]
    empty = [type(p)(**(vars(p) | {"people": ()})) for p in photos]
    write_shard(tmp_path / "none.tar", ORIGIN, empty)
    write_shard(tmp_path / "some.tar", ORIGIN, [empty[0], photos[1]])
    assert load_shards([tmp_path / "none.tar"]).starts.tolist() == [0, 0, 0]
    both = load_shards([tmp_path / "none.tar", tmp_path / "some.tar"])
    assert both.starts.tolist() == [0, 0, 0, 0, 1] and both.photo(0).people == ()
    np.testing.assert_allclose(both.photo(3).people[0].transl, photos[1].people[0].transl, atol=1e-6)


def test_rotations_are_those_of_the_posed_body(tmp_path: Path) -> None:
    labels = (shards := load_shards([written(tmp_path / "a.tar")])).labels
    turned, _ = joint_transforms(load_body_model(), labels["pose"], labels["betas"], labels["expression"])
    rows = np.array([4, 0, 1])
    for joint in (0, 15, 20, 21, 54):
        np.testing.assert_allclose(shards.rotations(joint, rows), turned[rows, joint], atol=1e-5)


def test_no_damage_goes_unseen(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tar", 2)
    whole, shard = np.frombuffer(path.read_bytes(), np.uint8), check_shard(path)
    rng, padding = np.random.default_rng(0), 0
    for k in rng.choice(len(whole), 400, replace=False):
        broken = whole.copy()
        broken[k] ^= rng.integers(1, 256, dtype=np.uint8)
        path.write_bytes(broken.tobytes())
        try:
            found = check_shard(path)
        except InputError as error:
            assert "\n" not in str(error) and str(path) in str(error)
            continue
        if whole[k]:
            assert found.digest != shard.digest or found.origin != shard.origin, k
        padding += not whole[k]
    assert padding < 200
    for size in (0, 100, 600, len(whole) // 2, len(whole) - 11000):
        path.write_bytes(whole[:size].tobytes())
        with pytest.raises(InputError, match="which cannot be read"):
            open_shard(path)


def test_a_damaged_picture_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tar")
    content = bytearray(path.read_bytes())
    content[int(open_shard(path).starts[1, 0]) + 700] ^= 0xFF
    path.write_bytes(bytes(content))
    shards = load_shards([path])
    assert shards.image(0).shape == (37, 50, 3)
    with pytest.raises(InputError, match=r"a\.tar, which cannot be read \('people-3-0000021\.jpg' is damaged\).*again"):
        shards.image(1)


def retold(path: Path, change: object) -> None:
    """The shard with another index."""
    content = path.read_bytes()
    with tarfile.open(path) as archive:
        entry = archive.getmembers()[-1]
        index = json.loads(content[entry.offset_data :][: entry.size])
    change(index)
    text = json.dumps(index, separators=(",", ":")).encode()
    header = tarfile.TarInfo("__shard__/index.json")
    header.size = len(text)
    ending = text + bytes(-len(text) % 512 + 1024)
    path.write_bytes(content[: entry.offset] + header.tobuf(tarfile.USTAR_FORMAT) + ending)


HOSTILE = {
    "huge": lambda i: i["members"][0][0].__setitem__(0, 1 << 40),
    "negative": lambda i: i["members"][0][0].__setitem__(0, -512),
    "shifted": lambda i: i["members"][0][0].__setitem__(0, i["members"][0][0][0] + 512),
    "short": lambda i: i["members"].pop(),
    "text": lambda i: i.update(members="many"),
    "number": lambda i: i.update(members=[[[0.5, "x"]] * 4]),
    "kind": lambda i: i.update(kind="../../people"),
    "seed": lambda i: i.update(seed="../3"),
    "format": lambda i: i.update(format="openexpose shard 2"),
    "nothing": lambda i: i.clear(),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_indices_are_refused(tmp_path: Path, change: object) -> None:
    path = written(tmp_path / "a.tar")
    retold(path, change)
    with pytest.raises(InputError, match="which cannot be read") as refusal:
        open_shard(path)
    assert "\n" not in str(refusal.value)


def test_hostile_tars_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("../../evil.jpg", "/etc/evil.npz"):
            entry = tarfile.TarInfo(name)
            entry.size = 5
            archive.addfile(entry, io.BytesIO(b"hello"))
    with pytest.raises(InputError, match="no index"):
        open_shard(path)
    written(path)
    content = bytearray(path.read_bytes())
    other = tarfile.TarInfo("../../../evil.jpg")
    other.size = int(open_shard(path).sizes[0, 0])
    content[:512] = other.tobuf(tarfile.USTAR_FORMAT)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"'people-3-0000020\.jpg' is damaged"):
        load_shards([path]).image(0)
    assert not (tmp_path.parents[2] / "evil.jpg").exists()


def test_no_damage_of_arrays_is_a_traceback(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "a.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, jpeg=rng.integers(0, 9, 40, np.uint8), kind=np.array("faces"), floats=rng.random((3, 2)))
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for k in range(len(whole)):
            broken = whole.copy()
            broken[k] ^= rng.integers(1, 256, dtype=np.uint8)
            path.write_bytes(broken.tobytes())
            try:
                read_arrays(path, "whole")
            except InputError as error:
                assert "\n" not in str(error)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no shards"):
        load_shards([])
    with pytest.raises(InputError, match=r"x\.tar, which cannot be read"):
        load_shards([tmp_path / "x.tar"])
    two = [written(tmp_path / f"{kind}.tar", 1, kind) for kind in ("faces", "hands")]
    with pytest.raises(InputError, match="2 sorts"):
        load_shards(two)
