// Normals and hollows of a mesh.

const CAVITY = 0.55; // how much darker hollows are, which is what shows fingers, eyes and lips

/** Unit normals of the vertices, weighted by area. */
export function normals(vertices, faces, out) {
  out.fill(0);
  for (let f = 0; f < faces.length; f += 3) {
    const a = 3 * faces[f], b = 3 * faces[f + 1], c = 3 * faces[f + 2];
    const ux = vertices[b] - vertices[a], uy = vertices[b + 1] - vertices[a + 1], uz = vertices[b + 2] - vertices[a + 2];
    const vx = vertices[c] - vertices[a], vy = vertices[c + 1] - vertices[a + 1], vz = vertices[c + 2] - vertices[a + 2];
    const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
    out[a] += x; out[a + 1] += y; out[a + 2] += z;
    out[b] += x; out[b + 1] += y; out[b + 2] += z;
    out[c] += x; out[c + 1] += y; out[c + 2] += z;
  }
  for (let k = 0; k < out.length; k += 3) {
    const length = Math.sqrt(out[k] * out[k] + out[k + 1] * out[k + 1] + out[k + 2] * out[k + 2]) || 1;
    out[k] /= length; out[k + 1] /= length; out[k + 2] /= length;
  }
}

/** Grey levels of the vertices, [v, 3]: hollows darker, edges a little lighter. */
export function cavities(vertices, faces) {
  const normal = new Float32Array(vertices.length), sum = new Float32Array(vertices.length);
  const neighbours = new Float32Array(vertices.length / 3), edge = new Float32Array(vertices.length / 3);
  normals(vertices, faces, normal);
  for (let f = 0; f < faces.length; f++) {
    const a = 3 * faces[f], b = 3 * faces[f % 3 === 2 ? f - 2 : f + 1];
    for (let k = 0; k < 3; k++) sum[a + k] += vertices[b + k];
    neighbours[a / 3]++;
    edge[a / 3] += Math.hypot(vertices[a] - vertices[b], vertices[a + 1] - vertices[b + 1], vertices[a + 2] - vertices[b + 2]);
  }
  const levels = new Float32Array(vertices.length);
  for (let v = 0; v < neighbours.length; v++) {
    const n = Math.max(neighbours[v], 1), a = 3 * v;
    let hollow = 0;
    for (let k = 0; k < 3; k++) hollow += (sum[a + k] / n - vertices[a + k]) * normal[a + k];
    hollow /= Math.max(edge[v] / n, 1e-6);
    levels.fill(Math.min(1.12, Math.max(0.35, 1 - CAVITY * (hollow > 0 ? 2.2 * hollow : 0.5 * hollow))), a, a + 3);
  }
  return levels;
}
