"""Body models fitted to what is known of people: meshes of other models, keypoints, photos."""
