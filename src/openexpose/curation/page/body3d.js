// The mesh in 3D: turned by dragging, seen from the front, the side or the top, whole or close by.
import * as THREE from "three";
import { OrbitControls } from "./vendor/OrbitControls.js";

const FIELD_OF_VIEW = 28; // degrees
const FILLED = 0.94; // of the picture
const PART_MARGIN_M = 0.03;
const FLOOR_M = 4;
const CAVITY = 0.55; // how much darker hollows are, which is what shows fingers, eyes and lips

/** Middle and corners of a box. */
function placeOf({ min, max }) {
  const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((k) => new THREE.Vector3(k & 1 ? max.x : min.x, k & 2 ? max.y : min.y, k & 4 ? max.z : min.z));
  return { centre: min.clone().add(max).multiplyScalar(0.5), corners };
}

/** From where a place is looked at: "front" is where the photo was taken from, "side" the right of the photo. */
function directionOf(view, centre) {
  const towards = centre.clone().negate().normalize();
  if (view === "front") return towards;
  if (view === "side") return new THREE.Vector3(towards.z, 0, -towards.x).normalize();
  return new THREE.Vector3(towards.x * 0.001, 1, towards.z * 0.001).normalize();
}

/** Whether this browser draws with WebGL 2. */
export function hasWebGL() {
  try {
    const context = document.createElement("canvas").getContext("webgl2");
    context?.getExtension("WEBGL_lose_context")?.loseContext();
    return context !== null;
  } catch {
    return false;
  }
}

export class Body3D {
  /** @param {HTMLElement} container  @param {Uint32Array} faces  triangles of every mesh */
  constructor(container, faces) {
    this.container = container;
    this.faces = faces;
    this.renderer = new THREE.WebGLRenderer({ antialias: true, alpha: true });
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    const canvas = this.renderer.domElement;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "The fitted body in 3D; drag to turn it, or press 1, 2 or 3");
    container.append(canvas);

    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(FIELD_OF_VIEW, 1, 0.02, 100);
    this.scene.add(this.camera, new THREE.HemisphereLight(0xffffff, 0x8c8478, 0.95));
    const lamp = new THREE.DirectionalLight(0xffffff, 1.7);
    lamp.position.set(-0.7, 0.8, 1); // above and left of whoever looks
    const rim = new THREE.DirectionalLight(0xcfe0ff, 0.7);
    rim.position.set(1, 0.3, -0.6);
    this.camera.add(lamp, rim, lamp.target, rim.target); // they turn with whoever looks
    const material = new THREE.MeshStandardMaterial({ color: 0x8fb4e4, roughness: 0.72, metalness: 0, vertexColors: true, side: THREE.DoubleSide });
    this.mesh = new THREE.Mesh(new THREE.BufferGeometry(), material);
    this.mesh.geometry.setIndex(new THREE.BufferAttribute(faces, 1));
    this.scene.add(this.mesh);

    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.minDistance = 0.1;
    this.controls.maxDistance = 30;
    this.controls.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.resize()).observe(container);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.layFloor());
  }

  /**
   * @param {Float32Array} vertices  camera frame: x right, y down, z away, metres
   * @param {number[][]} joints  the 144 keypoints in the same frame
   * @param {Record<string, number[]>} parts  numbers of the keypoints of left_hand, right_hand and face
   */
  show(vertices, joints, parts) {
    const points = new Float32Array(vertices.length);
    for (let k = 0; k < vertices.length; k += 3) {
      points[k] = vertices[k];
      points[k + 1] = -vertices[k + 1];
      points[k + 2] = -vertices[k + 2];
    }
    const geometry = this.mesh.geometry;
    geometry.setAttribute("position", new THREE.BufferAttribute(points, 3));
    geometry.computeVertexNormals();
    geometry.setAttribute("color", new THREE.BufferAttribute(this.cavities(points, geometry.attributes.normal.array), 3));
    geometry.computeBoundingBox();
    geometry.computeBoundingSphere();
    this.places = { whole: placeOf(geometry.boundingBox) };
    for (const [name, numbers] of Object.entries(parts)) {
      const around = new THREE.Box3().setFromPoints(numbers.map((n) => new THREE.Vector3(joints[n][0], -joints[n][1], -joints[n][2])));
this.places[name] = placeOf(around.expandByScalar(PART_MARGIN_M));
    }
    this.layFloor();
  }

  /** Look from a side ("front", "side", "top") at a place ("whole", "left_hand", "right_hand", "face"). */
  look(view, place) {
    if (!this.places) return;
    this.looked = [view, place];
    const { centre, corners } = this.places[place];
    const direction = directionOf(view, centre);
    const distance = this.distance(direction, centre, corners);
    this.controls.target.copy(centre);
    this.camera.position.copy(centre).addScaledVector(direction, distance);
    this.controls.update();
    this.draw();
  }

  /** From how far a box just fits into the picture, looked at along a direction. */
  distance(direction, centre, corners) {
    const across = new THREE.Vector3(0, 1, 0).cross(direction).normalize();
    const up = direction.clone().cross(across);
    const tall = Math.tan((FIELD_OF_VIEW * Math.PI) / 360) * FILLED;
    const wide = tall * this.camera.aspect;
    const needed = corners.map((corner) => {
      const from = corner.clone().sub(centre);
      return from.dot(direction) + Math.max(Math.abs(from.dot(across)) / wide, Math.abs(from.dot(up)) / tall);
    });
    return Math.max(...needed);
  }

  /** A grid at the height of the lowest point. */
  layFloor() {
    if (!this.places) return;
    if (this.floor) {
      this.scene.remove(this.floor);
      this.floor.geometry.dispose();
      this.floor.material.dispose();
    }
    const style = getComputedStyle(document.documentElement);
    const line = new THREE.Color(style.getPropertyValue("--grid").trim());
    const axis = new THREE.Color(style.getPropertyValue("--grid-axis").trim());
    this.floor = new THREE.GridHelper(FLOOR_M, FLOOR_M * 4, axis, line);
    const { centre } = this.places.whole;
    this.floor.position.set(centre.x, this.mesh.geometry.boundingBox.min.y, centre.z);
    this.scene.add(this.floor);
    this.draw();
  }

  /** Grey levels of the vertices: hollows darker, edges a little lighter. */
  cavities(points, normals) {
    const count = points.length / 3;
    const sum = new Float32Array(points.length);
    const neighbours = new Float32Array(count);
    const edge = new Float32Array(count);
    const faces = this.faces;
    for (let f = 0; f < faces.length; f += 3) {
      for (let k = 0; k < 3; k++) {
        const a = 3 * faces[f + k], b = 3 * faces[f + ((k + 1) % 3)];
        sum[a] += points[b];
        sum[a + 1] += points[b + 1];
        sum[a + 2] += points[b + 2];
        neighbours[a / 3]++;
        edge[a / 3] += Math.hypot(points[a] - points[b], points[a + 1] - points[b + 1], points[a + 2] - points[b + 2]);
      }
    }
    const colours = new Float32Array(points.length);
    for (let v = 0; v < count; v++) {
      const n = Math.max(neighbours[v], 1), a = 3 * v;
      let hollow = 0;
      for (let k = 0; k < 3; k++) hollow += (sum[a + k] / n - points[a + k]) * normals[a + k];
      hollow /= Math.max(edge[v] / n, 1e-6);
      const level = Math.min(1.12, Math.max(0.35, 1 - CAVITY * (hollow > 0 ? 2.2 * hollow : 0.5 * hollow)));
      colours.fill(level, a, a + 3);
    }
    return colours;
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.container;
    if (!width || !height) return;
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    if (this.looked) this.look(...this.looked);
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.renderer.render(this.scene, this.camera);
    });
  }
}
