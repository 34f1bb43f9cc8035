"""Which of MediaPipe's landmarks are which of the 144 keypoints, up to a constant offset."""

POSE: dict[int, str] = {
    0: "nose", 2: "left_eye", 5: "right_eye", 7: "left_ear",
    8: "right_ear", 9: "left_mouth_1", 10: "right_mouth_1", 11: "left_shoulder",
    12: "right_shoulder", 13: "left_elbow", 14: "right_elbow", 15: "left_wrist",
    16: "right_wrist", 17: "left_pinky1", 18: "right_pinky1", 19: "left_index1",
    20: "right_index1", 21: "left_thumb3", 22: "right_thumb3", 23: "left_hip",
    24: "right_hip", 25: "left_knee", 26: "right_knee", 27: "left_ankle",
    28: "right_ankle", 29: "left_heel", 30: "right_heel", 31: "left_big_toe",
    32: "right_big_toe",
}  # fmt: skip
"""Of the 33 landmarks of a body those that are joints, or points of head, hands and feet."""
EYE_CORNERS: dict[int, str] = {1: "left_eye4", 3: "left_eye1", 4: "right_eye4", 6: "right_eye1"}
"""The other four: inner and outer corners of the left and the right eye."""
FACE_MESH_68: tuple[int, ...] = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 1, 98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
)
"""Of the 478 landmarks of a face the 68 that iBUG has, in its order. Of a hand all 21 have a keypoint, in OpenPose's
order."""
