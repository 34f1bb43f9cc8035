"""Evidence: what the trunk says about a shard's pictures at its second look, kept as long as pictures and trunk stay
the same."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.synth.photos import make_photos

from openexpose.errors import InputError
from openexpose.image.crop import sample_crop
from openexpose.nets.trunk_file import read_trunk
from openexpose.predict.bundle import default_bundle, open_session
from openexpose.predict.pipeline import Predictor
from openexpose.synth.dataset import SynthJob, synth
from openexpose.synth.shard_files import Origin, write_shard
from openexpose.synth.shards import Shards, load_shards
from openexpose.synth.testset_v2 import TEST_SEED
from openexpose.training import evidence
from openexpose.training.evidence import (
    KINDS,
    await_evidence,
    cache_evidence,
    evidence_path,
    find_shards,
    is_left,
    load_evidence,
    load_map,
    map_path,
    network_input,
    people_shown,
    trunk_picture,
)


def fake_trunk(folder: Path, part: str = "hand", factor: float = 1.0) -> Path:
    """A trunk that tells the picture's mean colour (times ``factor``) as its feature; all else follows from it.

    It takes pictures of any size, and looks once."""
    folder.mkdir(exist_ok=True)
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "factor"], ["feature"]),
        helper.make_node("Unsqueeze", ["feature", "one"], ["landmarks"]),
        helper.make_node("Identity", ["feature"], ["visibility"]),
        helper.make_node("ReduceMax", ["feature", "one"], ["presence"], keepdims=0),
        helper.make_node("Identity", ["presence"], ["something_else"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor]),
    ]
    shapes = {"feature": ["n", 3], "landmarks": ["n", 1, 3], "visibility": ["n", 3], "presence": ["n"]}
    shapes["something_else"] = ["n"]
    save(folder / f"{part}_trunk.onnx", nodes, constants, ["n", 3, "h", "w"], shapes)
    return folder


def save(path: Path, nodes: list, constants: list, image: list, outputs: dict[str, list]) -> None:
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    given = [helper.make_tensor_value_info("image", TensorProto.FLOAT, image)]
    graph = helper.make_graph(nodes, "fake", given, told, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


SIDE, PICTURE = 16, 48
ANGLE, AT = 0.7, np.array([0.2, -0.1])
"""How far the hand of :func:`looking_trunk` is turned, and where its middle is, crop units."""


def looking_trunk(folder: Path) -> Path:
    """A trunk of a fixed size that sees a turned hand at one place in every crop, as present as the crop is red. Its
    feature is the crop itself."""
    hand = np.zeros((21, 2))
    hand[[5, 9, 13], 1], hand[0, 1], hand[1, 0], hand[17, 0] = -0.2, 0.2, -0.1, 0.1
    c, s = np.cos(ANGLE), np.sin(ANGLE)
    landmarks = np.c_[hand @ np.array([[c, s], [-s, c]]) + AT, np.zeros(21)]
    nodes = [
        helper.make_node("Flatten", ["image"], ["feature"]),
        helper.make_node("AveragePool", ["image"], ["coarse"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("ReduceMean", ["image", "axes"], ["colour"], keepdims=0),
        helper.make_node("Gather", ["colour", "red"], ["presence"], axis=1),
        helper.make_node("Unsqueeze", ["presence", "both"], ["some"]),
        helper.make_node("Mul", ["some", "zeros"], ["nothing"]),
        helper.make_node("Add", ["nothing", "hand"], ["landmarks"]),
        helper.make_node("ReduceSum", ["nothing", "last"], ["visibility"], keepdims=0),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
        helper.make_tensor("red", TensorProto.INT64, [], [0]),
        helper.make_tensor("both", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("last", TensorProto.INT64, [1], [2]),
        helper.make_tensor("zeros", TensorProto.FLOAT, [1, 21, 3], np.zeros(63)),
        helper.make_tensor("hand", TensorProto.FLOAT, [1, 21, 3], landmarks.ravel()),
    ]
    outputs = {"feature": ["n", 3 * SIDE**2], "landmarks": ["n", 21, 3], "visibility": ["n", 21], "presence": ["n"]}
    folder.mkdir(exist_ok=True)
    save(folder / "hand_trunk.onnx", nodes, constants, ["n", 3, SIDE, SIDE], outputs)
    return folder


def painted(kind: int) -> np.ndarray:
    """Noise that is red all over (0), hardly red (1), red but where the trunk sees its hand (2), red just there (3)."""
    image = np.random.default_rng(kind).integers(0, 256, (PICTURE, PICTURE, 3)).astype(np.uint8)
    y, x = np.mgrid[:PICTURE, :PICTURE] + 0.5
    there = np.hypot(x - (1 + AT[0]) * PICTURE / 2, y - (1 + AT[1]) * PICTURE / 2) < 0.29 * PICTURE
    image[..., 0] = np.array([200, 60, 250, 250])[kind] - image[..., 0] // 8
    if kind > 1:
        image[there if kind == 2 else ~there, 0] //= 4
    return image


@pytest.fixture
def trunk(tmp_path: Path) -> Path:
    return fake_trunk(tmp_path / "bundle")


def test_evidence_is_what_the_trunk_says_about_each_picture(make_shard, trunk: Path, tmp_path: Path) -> None:
    shards = [make_shard(tmp_path, "hand", count, seed) for seed, count in ((0, 7), (1, 2))]
    assert cache_evidence(tmp_path, "hand", bundle=trunk, batch=3) == 2
    for shard in shards:
        crops, seen = load_shards([shard]), load_evidence(shard).seen
        expected = np.stack([crops.image(k).mean((0, 1)) / 255.0 for k in range(len(crops))])
        np.testing.assert_allclose(seen.feature, expected, atol=1e-5)
        np.testing.assert_allclose(seen.landmarks[:, 0], expected, atol=1e-5)
        np.testing.assert_allclose(seen.presence, expected.max(1), atol=1e-5)
        assert seen.world is None and len(seen.visibility) == len(crops)
        crop = load_evidence(shard).crop
        np.testing.assert_array_equal(crop.centre_px, np.full((len(crops), 2), 4.0))
        np.testing.assert_array_equal([crop.side_px, crop.angle_rad], [[8.0] * len(crops), [0.0] * len(crops)])


def pictures(shards: Shards) -> list[np.ndarray]:
    """As the trunk gets them."""
    return [trunk_picture(shards.image(k), None, mirrored=bool(is_left(shards)[k])) for k in range(len(shards))]


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_a_trunk_looks_again_at_the_crop_that_it_asks_for(tmp_path: Path, batch: int) -> None:
    """Where it sees a hand, and still does then; else the first look counts. Left hands: all that in a mirror."""
    kinds, photos = [0, 0, 1, 2, 2, 3, 3, 1], []
    for kind, photo in zip(kinds, make_photos("hands", len(kinds), size=(PICTURE, PICTURE)), strict=True):
        image = painted(kind)
        photos.append(replace(photo, image=image[:, ::-1] if photo.focus == "left_hand" else image))
    shard = write_shard(tmp_path / "hands-0-00000.tar", Origin("hands", 0, 0, "made by a test"), photos)
    cache_evidence(tmp_path, "hand", bundle=looking_trunk(tmp_path / "bundle"), batch=batch, maps=["coarse"])
    sight = load_evidence(shard)
    crop, seen, again = sight.crop, sight.seen, np.isin(kinds, (0, 3))

    up = np.array([np.sin(ANGLE), -np.cos(ANGLE)])
    asked = (1 + AT + 0.1 * 0.4 * up) * PICTURE / 2, 2 * 0.4 * PICTURE / 2, ANGLE
    looks = []
    for k, picture in enumerate(pictures(load_shards([shard]))):
        if again[k]:
            np.testing.assert_allclose(crop.centre_px[k], asked[0], atol=1e-4)
            np.testing.assert_allclose([crop.side_px[k], crop.angle_rad[k]], asked[1:], atol=1e-4)
            looks.append(sample_crop(picture, crop[k], SIDE))
        else:
            assert [*crop.centre_px[k], crop.side_px[k], crop.angle_rad[k]] == [PICTURE / 2, PICTURE / 2, PICTURE, 0.0]
            looks.append(first_look(picture, SIDE))
    np.testing.assert_allclose(seen.feature, np.stack(looks).reshape(len(kinds), -1), atol=1e-6)
    np.testing.assert_allclose(seen.presence, np.stack(looks)[:, 0].mean((1, 2)), atol=1e-6)
    coarse = np.stack(looks).reshape(len(kinds), 3, 4, 4, 4, 4).mean((3, 5))
    np.testing.assert_allclose(load_map(shard, "coarse"), coarse, atol=1e-3)


@pytest.mark.parametrize(("part", "side"), [("body", 256), ("hand", 224), ("face", 192)])
def test_packaged_trunks_tell_what_they_see_in_their_crops(tmp_path: Path, part: str, side: int) -> None:
    (shard,) = synth(SynthJob(KINDS[part][0], count=4, seed=5, shard_size=4), tmp_path)
    cache_evidence(tmp_path, part, batch=3)
    sight, shards = load_evidence(shard), load_shards([shard])
    again = sight.crop.side_px != 256
    assert again.sum() >= 2, "some are looked at again"
    crops = enumerate(pictures(shards))
    looks = [sample_crop(p, sight.crop[k], side) if again[k] else first_look(p, side) for k, p in crops]
    told = packaged(part, tmp_path)(np.stack(looks))
    for name, value in vars(sight.seen).items():
        if value is not None:
            np.testing.assert_allclose(value, told[name], atol=1e-3, rtol=1e-3, err_msg=name)
    assert (sight.seen.world is None) == (part == "face") and sight.seen.handedness is None


def first_look(picture: np.ndarray, side: int) -> np.ndarray:
    return network_input(trunk_picture(picture, side, mirrored=False)[None])[0]


def packaged(part: str, folder: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A packaged trunk, without a tuned branch."""
    path = folder / "bare.onnx"
    path.write_bytes(read_trunk(default_bundle() / f"{part}_trunk.onnx").SerializeToString())
    session = open_session(path, 1, "cpu")
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(None, {"image": images}), strict=True))


def test_pictures_go_in_as_float32_channels_first() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    fed = network_input(images)
    assert fed.dtype == np.float32 and fed.shape == (2, 3, 4, 4) and fed.flags.c_contiguous
    np.testing.assert_allclose(fed[1, 2, 3, 0], images[1, 3, 0, 2] / 255.0, rtol=1e-6)


def test_trunks_see_their_size_and_left_hands_in_a_mirror(make_shard, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (256, 256, 3), np.uint8)
    small = trunk_picture(image, 224, mirrored=False)
    assert small.shape == (224, 224, 3) and np.abs(small.mean((0, 1)) - image.mean((0, 1))).max() < 0.6
    np.testing.assert_allclose(trunk_picture(image, 64, mirrored=False), area_mean(image, 4), atol=0.51)
    np.testing.assert_array_equal(trunk_picture(image, 256, mirrored=False), image)
    np.testing.assert_array_equal(trunk_picture(image, "w", mirrored=True), image[:, ::-1])
    np.testing.assert_allclose(trunk_picture(image, 64, mirrored=True), area_mean(image, 4)[:, ::-1], atol=0.51)
    shards = load_shards([make_shard(tmp_path, "hand", 4)])
    np.testing.assert_array_equal(is_left(shards), [False, True, False, True])


def area_mean(image: np.ndarray, factor: int) -> np.ndarray:
    side = len(image) // factor
    return image.reshape(side, factor, side, factor, 3).mean((1, 3))


def test_tensors_of_the_inside_are_kept_beside_the_evidence(make_shard, trunk: Path, tmp_path: Path) -> None:
    shard = make_shard(tmp_path, "hand", 5)
    assert cache_evidence(tmp_path, "hand", bundle=trunk) == 1
    with pytest.raises(InputError, match=r"maps-mean\.npy.*hands-0-00000\.tar"):
        load_map(shard, "mean")
    assert cache_evidence(tmp_path, "hand", bundle=trunk, batch=2, maps=["mean"]) == 1
    kept = load_map(shard, "mean")
    assert isinstance(kept, np.memmap) and kept.dtype == np.float16
    np.testing.assert_allclose(kept, load_evidence(shard).seen.feature, rtol=1e-3)
    for maps in (["mean"], []):
        assert cache_evidence(tmp_path, "hand", bundle=trunk, maps=maps) == 0, "more than is needed is no reason"
    assert not list(tmp_path.glob("*.part*"))
    with pytest.raises(InputError, match=r"hand_trunk\.onnx' without the tensors \['nothing'\]"):
        cache_evidence(tmp_path, "hand", bundle=trunk, maps=["nothing"])


@pytest.mark.parametrize("damage", ["lost", "cut short", "empty", "of other numbers", "of other pictures"])
def test_damaged_tensors_are_made_anew(make_shard, trunk: Path, tmp_path: Path, damage: str) -> None:
    shard = make_shard(tmp_path, "hand", 40)
    cache_evidence(tmp_path, "hand", bundle=trunk, maps=["mean"])
    path, whole = map_path(shard, "mean"), np.array(load_map(shard, "mean"))
    if damage == "lost":
        path.unlink()
    elif damage == "of other numbers":
        np.save(path, whole.astype(np.float32))
    elif damage == "of other pictures":
        np.save(path, whole[:-1])
    else:
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else -20])
    await_evidence(tmp_path, "hand", bundle=trunk)
    with pytest.raises(InputError, match="one process first"):
        await_evidence(tmp_path, "hand", bundle=trunk, maps=["mean"], patience_s=0.0, pause_s=0.0)
    assert cache_evidence(tmp_path, "hand", bundle=trunk) == 0
    assert cache_evidence(tmp_path, "hand", bundle=trunk, maps=["mean"]) == 1
    np.testing.assert_array_equal(load_map(shard, "mean"), whole)


def test_tensors_of_other_pictures_or_of_another_trunk_are_made_anew(make_shard, trunk: Path, tmp_path: Path) -> None:
    shard = make_shard(tmp_path, "hand", 4)
    cache_evidence(tmp_path, "hand", bundle=trunk, maps=["mean"])
    make_shard(tmp_path / "other", "hand", 4, seed=9).replace(shard)
    assert cache_evidence(tmp_path, "hand", bundle=trunk) == 1
    assert cache_evidence(tmp_path, "hand", bundle=trunk, maps=["mean"]) == 1, "evidence was made without them"
    np.testing.assert_allclose(load_map(shard, "mean"), load_evidence(shard).seen.feature, rtol=1e-3)
    assert cache_evidence(tmp_path, "hand", bundle=fake_trunk(trunk, factor=2.0), maps=["mean"]) == 1
    np.testing.assert_allclose(2 * load_map(shard, "mean"), load_evidence(shard).seen.feature, rtol=1e-3)


def test_a_failure_midway_leaves_what_was_there(
    make_shard, trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = make_shard(tmp_path, "hand", 4)
    cache_evidence(tmp_path, "hand", bundle=trunk, maps=["mean"])
    before = map_path(shard, "mean").read_bytes()
    fake_trunk(trunk, factor=2.0)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(evidence, "network_input", lambda images: 1 / 0)
        cache_evidence(tmp_path, "hand", bundle=trunk, maps=["mean"])
    assert map_path(shard, "mean").read_bytes() == before and not list(tmp_path.glob("*.part*"))


def test_evidence_is_kept_until_the_pictures_or_the_trunk_change(make_shard, trunk: Path, tmp_path: Path) -> None:
    first, second = (make_shard(tmp_path, "hand", 4, seed) for seed in (0, 1))
    assert cache_evidence(tmp_path, "hand", bundle=trunk) == 2
    before = evidence_path(second).read_bytes()
    assert cache_evidence(tmp_path, "hand", bundle=trunk) == 0, "nothing changed"

    make_shard(tmp_path / "other", "hand", 4, seed=9).replace(first)
    assert cache_evidence(tmp_path, "hand", bundle=trunk) == 1, "one shard was rendered anew"
    crops = load_shards([first])
    np.testing.assert_allclose(load_evidence(first).seen.feature[3], crops.image(3).mean((0, 1)) / 255.0, atol=1e-5)
    assert evidence_path(second).read_bytes() == before

    evidence_path(second).unlink()
    assert cache_evidence(tmp_path, "hand", bundle=trunk) == 1, "one evidence was lost"
    assert cache_evidence(tmp_path, "hand", bundle=fake_trunk(trunk, factor=2.0)) == 2, "another trunk sees otherwise"
    np.testing.assert_allclose(load_evidence(first).seen.feature[3], 2 * crops.image(3).mean((0, 1)) / 255.0, atol=1e-5)


def test_other_processes_wait_for_the_evidence(make_shard, trunk: Path, tmp_path: Path) -> None:
    shards = [make_shard(tmp_path, "hand", 4, seed) for seed in (0, 1)]
    np.savez(evidence_path(shards[1]), feature=np.zeros((4, 3)))
    with pytest.raises(InputError, match=r"hands-0-00000\.tar' without evidence.*one process first"):
        await_evidence(tmp_path, "hand", bundle=trunk, patience_s=0.0, pause_s=0.0)
    waiting = Thread(target=await_evidence, args=(tmp_path, "hand"), kwargs={"bundle": trunk, "pause_s": 0.01})
    waiting.start()
    assert waiting.is_alive()
    cache_evidence(tmp_path, "hand", bundle=trunk)
    waiting.join(10)
    assert not waiting.is_alive()


def test_evidence_of_unknown_origin_is_made_anew(make_shard, trunk: Path, tmp_path: Path) -> None:
    shard = make_shard(tmp_path, "hand", 4)
    np.savez(evidence_path(shard), feature=np.zeros((4, 3)))
    assert cache_evidence(tmp_path, "hand", bundle=trunk) == 1


@pytest.mark.parametrize("damage", ["flipped", "cut short", "empty", "deflated", "without presence", "without side_px"])
def test_damaged_evidence_is_made_anew(make_shard, trunk: Path, tmp_path: Path, damage: str) -> None:
    shard = make_shard(tmp_path, "hand", 40)
    cache_evidence(tmp_path, "hand", bundle=trunk)
    path = evidence_path(shard)
    whole = path.read_bytes()
    with np.load(path, allow_pickle=False) as content:
        arrays = dict(content)
    if damage.startswith("without"):
        del arrays[damage.split()[1]]
        np.savez(path, **arrays)
    else:
        if damage == "deflated":
            np.savez_compressed(path, **arrays)
        content = bytearray(path.read_bytes())
        for k in range(80, len(content) - 600, 50):
            content[k] ^= 0xFF
        path.write_bytes({"empty": b"", "cut short": whole[: len(whole) // 2]}.get(damage, bytes(content)))
    with pytest.raises(InputError, match="evidence"):
        load_evidence(shard)
    assert cache_evidence(tmp_path, "hand", bundle=trunk) == 1
    assert path.read_bytes() == whole


def test_a_damaged_shard_is_told(make_shard, trunk: Path, tmp_path: Path) -> None:
    shard = make_shard(tmp_path, "hand", 4)
    shard.write_bytes(shard.read_bytes()[:-12000])
    with pytest.raises(InputError, match="cannot be read"):
        cache_evidence(tmp_path, "hand", bundle=trunk)


def test_only_the_parts_shards_are_looked_at(make_shard, trunk: Path, tmp_path: Path) -> None:
    for part in ("body", "face"):
        make_shard(tmp_path, part, 2)
    hands = [make_shard(tmp_path, "hand", 2, seed) for seed in (3, 1)]
    cache_evidence(tmp_path, "hand", bundle=trunk)
    assert find_shards(tmp_path, "hand") == sorted(hands), "evidence and half-written files are no shards"
    assert len(list(tmp_path.glob("*.evidence.npz"))) == 2 and not list(tmp_path.glob("*.part*"))


def test_what_is_missing_is_told(make_shard, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without body, people or samples shards"):
        cache_evidence(tmp_path, "body")
    shard = make_shard(tmp_path, "hand", 2)
    with pytest.raises(InputError, match=r"hand_trunk\.onnx"):
        cache_evidence(tmp_path, "hand", bundle=tmp_path)
    with pytest.raises(InputError, match="without evidence"):
        load_evidence(shard)


def scene_shard(folder: Path, count: int = 2, seed: int = 0, first: int = 0, people: int = 2) -> Path:
    """Scenes of noise."""
    photos = make_photos("people", count, first, seed=seed, size=(420, 360), people=people, distance_m=4.0)
    return write_shard(folder / f"people-{seed}-00000.tar", Origin("people", seed, first, "made by a test"), photos)


def test_people_in_scenes_are_seen_as_prediction_sees_them(tmp_path: Path) -> None:
    shard = scene_shard(tmp_path)
    assert cache_evidence(tmp_path, "body") == 1 and cache_evidence(tmp_path, "body") == 0
    shards, sight, predictor = load_shards([shard]), load_evidence(shard), Predictor.load(threads=1)
    boxes, (people, pictures) = shards.labels["box_xyxy_px"].astype(float), people_shown(load_shards([shard]))
    assert len(sight.seen.feature) == len(people) > 2, "of each picture at least one, of one both"
    for k in (0, 1):
        rows = np.flatnonzero(pictures == k)
        predictor(shards.image(k), boxes=boxes[people[rows]], attention=False)
        expected = predictor._looked["body"]
        for name in ("centre_px", "side_px", "angle_rad"):
            np.testing.assert_allclose(getattr(sight.crop, name)[rows], getattr(expected.crop, name), atol=1e-3)
        np.testing.assert_allclose(sight.seen.landmarks[rows], expected.seen.landmarks, atol=2e-3)
        frozen = sight.seen.feature.shape[1]
        np.testing.assert_allclose(sight.seen.feature[rows], expected.seen.feature[:, :frozen], atol=2e-2)


def test_scenes_that_are_held_out_or_show_nobody_are_not_looked_at(tmp_path: Path) -> None:
    shards = load_shards([scene_shard(tmp_path, 3, first=8, people=1)])
    assert people_shown(shards)[1].tolist() == [0, 2], "the tenth picture is held out"
    alone = tmp_path / "alone"
    alone.mkdir()
    nobody = scene_shard(alone, 1, seed=3, first=9)
    with pytest.raises(InputError, match="without body, people or samples shards"):
        find_shards(alone, "body")
    somebody = scene_shard(alone, 1, seed=4)
    assert find_shards(alone, "body") == [somebody] and nobody.is_file()


def test_nobody_trains_on_the_test_set(tmp_path: Path) -> None:
    shard = scene_shard(tmp_path, 1)
    shutil.copy(shard, tmp_path / f"people-{TEST_SEED}-00000.tar")
    with pytest.raises(InputError, match="the frozen test set"):
        find_shards(tmp_path, "body")
