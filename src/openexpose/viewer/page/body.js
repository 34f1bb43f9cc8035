// The body model: blend shapes and linear blend skinning (openexpose.body.mesh). Camera frame: x right, y down, z away.

const NECK = 12;
const LAST_DEGREE = 39;

export class Body {
  constructor({ arrays, steps }) {
    Object.assign(this, arrays);
    this.steps = steps;
    this.count = this.template.shape[1];
    this.jointCount = this.parents.length;
    this.betaCount = this.shape_dirs.shape[0];
    this.expressionCount = this.expression_dirs.shape[0];
    this.rest = new Float32Array(3 * this.count);
    this.joints = new Float64Array(3 * this.jointCount); // at rest
    this.transforms = new Float64Array(12 * this.jointCount); // rows of [R | t], posed = R rest + t
  }

  /** Template and shape, [3, vertices]: what does not change over a track. */
  shaped(betas, out = new Float32Array(3 * this.count)) {
    out.set(this.template);
    for (let k = 0; k < this.betaCount; k++) {
      const factor = betas[k] * this.steps.shape_dirs, from = k * out.length;
      if (factor) for (let n = 0; n < out.length; n++) out[n] += factor * this.shape_dirs[from + n];
    }
    return out;
  }

  /**
   * Vertices [v, 3] and keypoints [144, 3] of a posed person, metres.
   * @param {{shaped: Float32Array, betas: Float32Array, expression: Float32Array, rotations: Float64Array, transl: Float32Array}} person
   */
  pose(person, vertices, keypoints) {
    this.rest.set(person.shaped);
    this.addExpression(person.expression);
    this.addPose(person.rotations);
    this.skeleton(person, keypoints);
    this.skin(vertices);
    this.placeKeypoints(vertices, keypoints);
  }

  addExpression(expression) {
    const { expression_rows: rows, expression_dirs: directions, rest, count } = this;
    for (let k = 0; k < this.expressionCount; k++) {
      const factor = expression[k] * this.steps.expression_dirs;
      if (!factor) continue;
      for (let axis = 0; axis < 3; axis++) {
        const from = (3 * k + axis) * rows.length, to = axis * count;
        for (let n = 0; n < rows.length; n++) rest[to + rows[n]] += factor * directions[from + n];
      }
    }
  }

  addPose(rotations) {
    const { pose_starts: starts, pose_rows: rows, pose_dirs: directions, rest, count } = this;
    for (let joint = 1; joint < this.jointCount; joint++) {
      const start = starts[joint - 1], stop = starts[joint];
      if (start === stop) continue;
      for (let entry = 0; entry < 9; entry++) {
        const factor = (rotations[9 * joint + entry] - (entry % 4 === 0 ? 1 : 0)) * this.steps.pose_dirs;
        for (let axis = 0; axis < 3; axis++) {
          const from = (3 * entry + axis) * rows.length, to = axis * count;
          for (let n = start; n < stop; n++) rest[to + rows[n]] += factor * directions[from + n];
        }
      }
    }
  }

  /** Transforms of the joints; their places are the first keypoints. */
  skeleton({ betas, expression, rotations, transl }, keypoints) {
    const { joints, transforms: T, parents } = this;
    joints.set(this.joint_template);
    for (let k = 0; k < this.betaCount; k++)
      for (let n = 0; n < joints.length; n++) joints[n] += betas[k] * this.joint_shape_dirs[k * joints.length + n];
    for (let k = 0; k < this.expressionCount; k++)
      for (let n = 0; n < joints.length; n++) joints[n] += expression[k] * this.joint_expression_dirs[k * joints.length + n];
    for (let j = 0; j < parents.length; j++) {
      const at = 12 * j, up = 12 * parents[j], root = parents[j] < 0;
      for (let row = 0; row < 3; row++) {
        for (let column = 0; column < 3; column++) {
          let sum = 0;
          for (let k = 0; k < 3; k++)
            sum += (root ? +(row === k) : T[up + 4 * row + k]) * rotations[9 * j + 3 * k + column];
          T[at + 4 * row + column] = sum;
        }
        let place = root ? joints[row] + transl[row] : T[up + 4 * row + 3];
        if (!root) for (let k = 0; k < 3; k++) place += T[up + 4 * row + k] * joints[3 * j + k];
        keypoints[3 * j + row] = place;
        T[at + 4 * row + 3] = place;
        for (let k = 0; k < 3; k++) T[at + 4 * row + 3] -= T[at + 4 * row + k] * joints[3 * j + k];
      }
    }
  }

  skin(vertices) {
    const { rest, transforms: T, weights, weight_counts: counts, weight_joints: of, count } = this;
    let entry = 0;
    for (let v = 0; v < count; v++) {
      const x = rest[v], y = rest[count + v], z = rest[2 * count + v];
      let a = 0, b = 0, c = 0;
      for (const stop = entry + counts[v]; entry < stop; entry++) {
        const w = weights[entry], t = 12 * of[entry];
        a += w * (T[t] * x + T[t + 1] * y + T[t + 2] * z + T[t + 3]);
        b += w * (T[t + 4] * x + T[t + 5] * y + T[t + 6] * z + T[t + 7]);
        c += w * (T[t + 8] * x + T[t + 9] * y + T[t + 10] * z + T[t + 11]);
      }
      vertices[3 * v] = a;
      vertices[3 * v + 1] = b;
      vertices[3 * v + 2] = c;
    }
  }

  /** The keypoints after the joints: picked vertices, landmarks of the face, its contour. */
  placeKeypoints(vertices, keypoints) {
    let next = 3 * this.jointCount;
    for (const v of this.extra) for (let axis = 0; axis < 3; axis++) keypoints[next++] = vertices[3 * v + axis];
    const place = (corners, shares, from, stop) => {
      for (; from < stop; from += 3) {
        for (let axis = 0; axis < 3; axis++) {
          let sum = 0;
          for (let k = 0; k < 3; k++) sum += shares[from + k] * vertices[3 * corners[from + k] + axis];
          keypoints[next++] = sum;
        }
      }
    };
    place(this.landmarks, this.landmark_shares, 0, this.landmarks.length);
    const row = this.contourRow(), size = this.contours.length / (2 * LAST_DEGREE + 1);
    place(this.contours, this.contour_shares, row * size, (row + 1) * size);
  }

  /** The contour slides over the skin when the head turns away. */
  contourRow() {
    const T = this.transforms, at = 12 * NECK;
    const yaw = Math.atan2(-T[at + 8], Math.hypot(T[at], T[at + 4]));
    const degrees = Math.max(-LAST_DEGREE, Math.min(LAST_DEGREE, Math.round((-yaw * 180) / Math.PI)));
    return degrees < 0 ? LAST_DEGREE - degrees : degrees;
  }
}
