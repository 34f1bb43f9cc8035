// One person over time: the parameters of a frame, what the sliders add, and the posed mesh.
import { normals } from "./surface.js";

const KEYPOINTS = 144;

/** Rows [n, c] of which the changes from row to row came, [c, n]; int16 wraps round as it did when they were made. */
function summed(steps) {
  const [size, count] = steps.shape, rows = new Int16Array(size * count);
  for (let k = 0; k < size; k++)
    for (let n = 0; n < count; n++) rows[n * size + k] = steps[k * count + n] + (n ? rows[(n - 1) * size + k] : 0);
  return rows;
}

export class Person {
  constructor(body, { id, colour }, arrays, number) {
    const own = (name) => arrays[`${number}.${name}`];
    Object.assign(this, { body, id, colour, visible: true, row: -1 });
    this.frames = own("frames");
    this.orient = own("orient");
    this.quaternions = summed(own("pose"));
    this.allTransl = own("transl");
    this.allBetas = own("betas");
    this.allExpression = own("expression");
    this.allConfidence = own("confidence");
    this.scores = own("score");
    this.offsets = { betas: new Float32Array(body.betaCount), expression: new Float32Array(body.expressionCount) };
    this.betas = new Float32Array(body.betaCount);
    this.expression = new Float32Array(body.expressionCount);
    this.rotations = new Float64Array(9 * body.jointCount);
    this.keypoints = new Float32Array(3 * KEYPOINTS);
    this.shapeKnown = false;
  }

  /** Row of a frame, -1 where the person was not found. */
  rowOf(frame) {
    let low = 0, high = this.frames.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (this.frames[middle] === frame) return middle;
      if (this.frames[middle] < frame) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** What was predicted in a row. */
  predicted(name, row = Math.max(this.row, 0)) {
    const all = name === "betas" ? this.allBetas : this.allExpression, size = all.shape[1];
    const at = all.shape[0] === 1 ? 0 : row * size;
    return all.subarray(at, at + size);
  }

  /** Pose the mesh as in a frame; false where the person is not in it. */
  show(frame) {
    this.row = this.rowOf(frame);
    if (this.row < 0) return false;
    for (const name of ["vertices", "normals", "shaped"]) this[name] ??= new Float32Array(3 * this.body.count); // long clips have many people
    const betas = this.predicted("betas"), expression = this.predicted("expression");
    let known = this.shapeKnown;
    for (let k = 0; k < betas.length; k++) {
      const value = Math.fround(betas[k] + this.offsets.betas[k]);
      if (value !== this.betas[k]) known = false;
      this.betas[k] = value;
    }
    if (!known) this.body.shaped(this.betas, this.shaped);
    this.shapeKnown = true;
    for (let k = 0; k < expression.length; k++) this.expression[k] = expression[k] + this.offsets.expression[k];
    this.readRotations();
    this.transl = this.allTransl.subarray(3 * this.row, 3 * this.row + 3);
    this.confidence = this.allConfidence.subarray(KEYPOINTS * this.row, KEYPOINTS * (this.row + 1));
    this.body.pose(this, this.vertices, this.keypoints);
    normals(this.vertices, this.body.faces, this.normals);
    return true;
  }

  readRotations() {
    const count = this.body.jointCount, from = 4 * ((count - 1) * this.row - 1);
    for (let j = 0; j < count; j++) {
      const at = j ? from + 4 * j : 4 * this.row;
      let [w, x, y, z] = (j ? this.quaternions : this.orient).subarray(at, at + 4);
      const length = Math.hypot(w, x, y, z);
      w /= length; x /= length; y /= length; z /= length;
      this.rotations.set([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
      ], 9 * j);
    }
  }
}
