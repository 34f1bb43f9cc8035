"""Sampled bodies stay inside the limits and outside of themselves; stances and arms are what they are called."""

from collections import Counter

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX, JOINT_FLIP
from openexpose.body.mesh import joint_transforms
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth import limits
from openexpose.synth.body_pose import BOUND_M, keep_apart, look
from openexpose.synth.collision import penetration_m, support
from openexpose.synth.pose import ARMS, STANCES, full_pose, sample_body, sample_body_pose, sample_face, sample_hands
from openexpose.synth.shape import BODY_MASS_INDEX, HEIGHT_M, default_measures, sample_betas
from openexpose.synth.skeleton import ELBOW, HEAD, WRIST, forward, hinge_elbows, orient_hand, reach, step


@pytest.fixture(scope="module")
def bodies(stage):
    rng = np.random.default_rng(0)
    return [sample_body(rng, stage.poses) for _ in range(300)]


def test_limits_hold(bodies):
    poses = np.stack([body.pose for body in bodies])
    assert np.isfinite(poses).all()
    assert (poses >= limits.BODY_LOW - 1e-9).all() and (poses <= limits.BODY_HIGH + 1e-9).all()
    assert poses[:, 1:].std(0).max() > 0.3


def test_nobody_is_inside_himself(bodies, stage):
    capsules = stage.poses.capsules
    depth = penetration_m(capsules, *forward(np.stack([body.pose for body in bodies]), capsules.rest))
    assert depth.max() <= BOUND_M


def test_shares_are_as_told(bodies):
    stances, arms = Counter(body.stance for body in bodies), Counter(body.arms for body in bodies)
    assert sum(STANCES.values()) == pytest.approx(1) and sum(ARMS.values()) == pytest.approx(1)
    assert abs(stances["prior"] / len(bodies) - STANCES["prior"]) < 0.1
    rare = sum(stances[name] for name in ("lie", "bent", "upside")) / len(bodies)
    assert 0.1 < rare < 0.22
    assert 0.45 < arms["as they are"] / len(bodies) < 0.68


def test_a_seed_gives_one_pose(stage):
    draw = lambda: sample_body_pose(np.random.default_rng(7), stage.poses)  # noqa: E731
    np.testing.assert_array_equal(draw(), draw())


def test_shapes_do_not_intersect_either(stage):
    rng = np.random.default_rng(5)
    depth = []
    for _ in range(30):
        betas = sample_betas(rng, 10)
        pose = sample_body_pose(rng, stage.poses, betas=betas)
        capsules = stage.poses.capsules.shaped(betas)
        depth.append(float(penetration_m(capsules, *forward(pose, capsules.rest))))
    assert np.quantile(depth, 0.95) <= BOUND_M


@pytest.mark.parametrize(
    ("stance", "parts"),
    [("lie", {"torso", "legs"}), ("floor", {"seat"}), ("fours", {"hands"}), ("crouch", {"foot"}), ("kneel", {"legs"})],
)
def test_bodies_rest_on_what_their_stance_says(stage, stance, parts):
    names = {
        "torso": ("seat", "hips", "belly", "chest", "shoulders", "neck", "head", "upper arm", "forearm"),
        "legs": ("thigh", "shin", "foot", "seat"), "seat": ("seat", "thigh", "hips"), "hands": ("hand", "forearm"),
        "foot": ("foot",),
    }  # fmt: skip
    rng, capsules, hits = np.random.default_rng(1), stage.poses.capsules, 0
    for _ in range(12):
        pose = sample_body_pose(rng, stage.poses, stance=stance, arms="as they are")
        under, _ = support(capsules, *forward(pose, capsules.rest), within_m=0.1)
        hits += all(any(word in part for part in under for word in names[kind]) for kind in parts)
    assert hits >= 10


def test_lying_and_upside_down_are_what_they_are_called(stage):
    rng, rest = np.random.default_rng(2), stage.poses.capsules.rest
    for stance, test in (("lie", lambda up: abs(up) < 0.62), ("upside", lambda up: up < -0.5)):
        for _ in range(10):
            _, joints = forward(sample_body_pose(rng, stage.poses, stance=stance), rest)
            trunk = joints[INDEX["neck"]] - joints[0]
            assert test(trunk[1] / np.linalg.norm(trunk)), stance


def test_folded_arms_cross_and_hands_meet(stage):
    rng, rest = np.random.default_rng(3), stage.poses.capsules.rest
    for _ in range(15):
        rotations, joints = forward(sample_body_pose(rng, stage.poses, stance="prior", arms="folded"), rest)
        chest = rotations[INDEX["spine2"]]
        wrists = (joints[WRIST : WRIST + 2] - joints[INDEX["spine2"]]) @ chest
        hands = wrists + [
            (r @ [s * 0.15, 0, 0]) @ chest for r, s in zip(rotations[WRIST : WRIST + 2], (1, -1), strict=True)
        ]
        assert wrists[:, 2].min() > 0.1  # in front
        assert hands[0, 0] < 0.03 and hands[1, 0] > -0.03  # each on the other side
    clasped = [sample_body(rng, stage.poses, stance="prior", arms="clasped") for _ in range(15)]
    apart = [np.linalg.norm(np.subtract(*forward(b.pose, rest)[1][WRIST : WRIST + 2])) for b in clasped if b.clasp]
    assert len(apart) > 11 and max(apart) < 0.3


def test_heads_turn_to_where_they_shall_look(stage):
    capsules, forwards = stage.poses.capsules, np.array([0, 0, 1.0])
    pose, aim = np.zeros((22, 3)), np.array([0.6, 0.2, 0.8]) / np.linalg.norm([0.6, 0.2, 0.8])
    look(pose, aim, 1.0, capsules)
    np.testing.assert_allclose(forward(pose, capsules.rest)[0][HEAD] @ forwards, aim, atol=0.03)
    cosines = {}
    for wish in (None, aim):
        rng = np.random.default_rng(4)
        poses = [sample_body_pose(rng, stage.poses, stance="sit", arms="hips", gaze_at=wish) for _ in range(25)]
        cosines[wish is None] = np.mean([forward(p, capsules.rest)[0][HEAD] @ forwards @ aim for p in poses])
    assert cosines[False] > 0.9 and cosines[False] > cosines[True] + 0.05


@pytest.mark.parametrize("side", [0, 1])
def test_limbs_reach_their_targets(stage, side):
    rng, rest, sign = np.random.default_rng(3), stage.poses.capsules.rest, 1 - 2 * side
    pose = 0.1 * rng.normal(size=(22, 3))
    skeleton = forward(pose, rest)
    hand = skeleton[1][INDEX["left_shoulder"] + side] + [0.1 * sign, -0.2, 0.3]
    foot = skeleton[1][INDEX["left_hip"] + side] + [0.1 * sign, -0.4, 0.4]
    reach(pose, rest, side, hand, np.array([sign, -1.0, 0]), skeleton)
    step(pose, rest, side, foot, np.array([sign, 0, 1.0]), skeleton)
    joints = forward(pose, rest)[1]
    np.testing.assert_allclose(joints[WRIST + side], hand, atol=1e-4)
    np.testing.assert_allclose(joints[INDEX["left_ankle"] + side], foot, atol=1e-3)
    orient_hand(pose, rest, side, np.array([0, 1.0, 0]), np.array([0.2, 0, 1.0]))
    turned = forward(pose, rest)[0][WRIST + side]
    np.testing.assert_allclose(turned @ [sign, 0, 0], [0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(turned @ [0, -1, 0], np.array([0.2, 0, 1]) / np.hypot(0.2, 1), atol=1e-9)
    np.testing.assert_allclose(forward(pose, rest)[1][WRIST + side], hand, atol=1e-4)


def test_mirrored_poses_are_mirror_images(stage):
    rng, rest = np.random.default_rng(6), stage.poses.capsules.rest
    pose = sample_body_pose(rng, stage.poses, stance="prior")
    joints, mirrored = forward(pose, rest)[1], forward(limits.mirror_body(pose), rest)[1]
    np.testing.assert_allclose(mirrored, joints[JOINT_FLIP[:22]] * [-1, 1, 1], atol=2e-4)


def test_elbows_become_hinges_and_nothing_moves(stage):
    rng, rest = np.random.default_rng(8), stage.poses.capsules.rest
    pose = np.stack([stage.poses.prior.sample(rng) for _ in range(20)])
    hinged = np.stack([hinge_elbows(p) for p in pose])
    before, after = forward(pose, rest), forward(hinged, rest)
    np.testing.assert_allclose(after[1], before[1], atol=5e-4)
    np.testing.assert_allclose(after[0][:, WRIST:], before[0][:, WRIST:], atol=1e-9)
    forearm = rotvec_to_matrix(hinged[:, ELBOW])[:, :, 0]
    assert np.abs(forearm[:, 1]).max() < 0.13 and (forearm[:, 2] > -0.13).all()


def test_hinged_elbows_stay_after_sampling(bodies):
    poses = np.stack([body.pose for body in bodies])
    for side, sign in ((0, 1), (1, -1)):
        out = sign * rotvec_to_matrix(poses[:, ELBOW + side])[:, 1, 0]
        assert np.quantile(np.degrees(np.arcsin(np.abs(out))), 0.9) < 12


def test_repair_parts_what_is_one_in_the_other(stage):
    capsules = stage.poses.capsules
    pose = np.zeros((22, 3))
    pose[INDEX["left_shoulder"]] = [0, 0, -1.75]  # the arm inside the trunk
    before = float(penetration_m(capsules, *forward(pose, capsules.rest)))
    repaired, left = keep_apart(pose, np.random.default_rng(0), capsules)
    assert before > 0.05 and left <= BOUND_M
    np.testing.assert_array_equal(repaired[INDEX["right_shoulder"]], pose[INDEX["right_shoulder"]])


def test_forward_agrees_with_the_body_model(stage):
    rng = np.random.default_rng(9)
    body = sample_body_pose(rng, stage.poses)
    hands = sample_hands(rng, stage.poses)
    pose = full_pose(body, hands.right, hands.left_as_right, sample_face(rng, 20))
    rotations, joints = joint_transforms(stage.model, pose[None], np.zeros((1, 10)), np.zeros((1, 20)))
    mine = forward(body, stage.poses.capsules.rest)
    np.testing.assert_allclose(mine[0], rotations[0, :22], atol=1e-5)
    np.testing.assert_allclose(mine[1], joints[0, :22], atol=1e-5)


def test_shapes_are_human_and_wide(stage):
    measures, rng = default_measures(), np.random.default_rng(0)
    betas = np.stack([sample_betas(rng, 10) for _ in range(400)])
    height, index = np.array([measures.of(b) for b in betas]).T
    assert HEIGHT_M[0] <= height.min() < 1.5 and 1.95 < height.max() <= HEIGHT_M[1]
    assert BODY_MASS_INDEX[0] <= index.min() and index.max() <= BODY_MASS_INDEX[1]
    assert 1.1 < betas.std() < 1.4 and np.abs(betas).max() <= 3.5
    vertices = stage.model.v_template + stage.model.shape_dirs @ betas[0].astype(np.float32)
    corners = vertices[stage.model.faces].astype(float)
    volume = np.linalg.det(corners).sum() / 6
    assert height[0] == pytest.approx(np.ptp(vertices[:, 1]), abs=0.01)
    assert index[0] == pytest.approx(1000 * volume / height[0] ** 2, rel=0.03)
