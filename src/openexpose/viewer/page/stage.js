// The meshes, drawn with WebGL into two panes of one canvas: through the photo's own camera, and from anywhere.
import * as THREE from "three";
import { OrbitControls } from "./OrbitControls.js";
import { cavities } from "./surface.js";

const FIELD_OF_VIEW = 30; // degrees
const FILLED = 0.9; // of the pane
const PART_MARGIN_M = 0.03;
const NEAR_M = 0.02;
const FAR_M = 500;

/** Whether this browser draws with WebGL 2. */
export function hasWebGL() {
  try {
    const context = document.createElement("canvas").getContext("webgl2");
    context?.getExtension("WEBGL_lose_context")?.loseContext();
    return Boolean(context);
  } catch {
    return false;
  }
}

export class Stage {
  /**
   * @param {HTMLElement} frame  holds the canvas, which covers both panes
   * @param {{photo: HTMLElement, space: HTMLElement}} panes
   * @param {import("./body.js").Body} body
   */
  constructor(frame, panes, body) {
    Object.assign(this, { frame, panes, body, opacity: 1, shown: true, people: new Map() });
    this.renderer = new THREE.WebGLRenderer({ antialias: true, alpha: true });
    this.canvas = this.renderer.domElement;
    this.canvas.className = "layer";
    this.canvas.setAttribute("aria-hidden", "true");
    frame.append(this.canvas);
    this.scene = new THREE.Scene();
    this.world = new THREE.Group(); // the photo's camera frame: y down, z away
    this.world.rotation.x = Math.PI;
    this.lights = new THREE.Group();
    const lamp = new THREE.DirectionalLight(0xffffff, 2), rim = new THREE.DirectionalLight(0xcfe0ff, 0.7);
    lamp.position.set(-0.7, 0.8, 1); // above and left of whoever looks
    rim.position.set(1, 0.3, -0.6);
    this.lights.add(lamp, rim, lamp.target, rim.target);
    this.scene.add(this.world, this.lights, new THREE.HemisphereLight(0xffffff, 0x8c8478, 1.15));
    this.filmed = new THREE.PerspectiveCamera();
    this.filmed.matrixAutoUpdate = false;
    this.free = new THREE.PerspectiveCamera(FIELD_OF_VIEW, 1, NEAR_M, FAR_M);
    this.controls = new OrbitControls(this.free, panes.space);
    this.controls.minDistance = 0.1;
    this.controls.maxDistance = 100;
    const grey = new Float32Array(body.template.length);
    for (let v = 0; v < body.count; v++) for (let k = 0; k < 3; k++) grey[3 * v + k] = body.template[k * body.count + v];
    this.levels = new THREE.BufferAttribute(cavities(grey, body.faces), 3);
    this.index = new THREE.BufferAttribute(body.faces, 1);
  }

  /** The mesh of a person, made when it is first wanted. */
  meshOf(person) {
    if (this.people.has(person)) return this.people.get(person);
    const geometry = new THREE.BufferGeometry();
    geometry.setIndex(this.index);
    geometry.setAttribute("position", new THREE.BufferAttribute(person.vertices, 3));
    geometry.setAttribute("normal", new THREE.BufferAttribute(person.normals, 3));
    geometry.setAttribute("color", this.levels);
    const skin = new THREE.Mesh(geometry, new THREE.MeshStandardMaterial({ color: person.colour, roughness: 0.72, vertexColors: true }));
    const hull = new THREE.Mesh(geometry, new THREE.MeshBasicMaterial({ colorWrite: false })); // hides what lies behind
    hull.renderOrder = -1;
    skin.frustumCulled = hull.frustumCulled = false;
    this.world.add(hull, skin);
    const made = { geometry, skin, hull };
    this.people.set(person, made);
    return made;
  }

  /** Take over a person's mesh, or hide it. */
  update(person, present) {
    if (!present && !this.people.has(person)) return;
    const { geometry, skin, hull } = this.meshOf(person);
    skin.visible = present && this.shown;
    hull.visible = skin.visible && this.opacity < 1;
    skin.material.opacity = this.opacity;
    if (skin.material.transparent !== this.opacity < 1) {
      skin.material.transparent = this.opacity < 1;
      skin.material.needsUpdate = true;
    }
    if (present) for (const name of ["position", "normal"]) geometry.attributes[name].needsUpdate = true;
  }

  /** The box around points of the camera frame, in the scene's frame. */
  boxOf(arrays) {
    const box = new THREE.Box3(), point = new THREE.Vector3();
    for (const points of arrays)
      for (let k = 0; k < points.length; k += 3) box.expandByPoint(point.set(points[k], -points[k + 1], -points[k + 2]));
    return box;
  }

  /** The floor's grid, under a box. */
  layFloor(box, line, axis) {
    if (this.floor) {
      this.scene.remove(this.floor);
      this.floor.geometry.dispose();
      this.floor.material.dispose();
    }
    const size = box.getSize(new THREE.Vector3()), centre = box.getCenter(new THREE.Vector3());
    const side = Math.min(40, 2 * Math.ceil(Math.max(size.x, size.z, 2)));
    this.floor = new THREE.GridHelper(side, side * 2, axis, line);
    this.floor.position.set(centre.x, box.min.y, centre.z);
    this.scene.add(this.floor);
  }

  /** Look at a box from a side: "front" is where the photo was taken from, "side" the right of the photo. */
  look(view, box, margin = 0) {
    if (box.isEmpty()) return;
    box = box.clone().expandByScalar(margin);
    const centre = box.getCenter(new THREE.Vector3()), towards = centre.clone().negate().normalize();
    let direction = towards;
    if (view === "side") direction = new THREE.Vector3(towards.z, 0, -towards.x).normalize();
    if (view === "back") direction = new THREE.Vector3(-towards.x, towards.y, -towards.z);
    if (view === "top") direction = new THREE.Vector3(towards.x * 0.001, 1, towards.z * 0.001).normalize();
    const across = new THREE.Vector3(0, 1, 0).cross(direction).normalize(), up = direction.clone().cross(across);
    const tall = Math.tan((FIELD_OF_VIEW * Math.PI) / 360) * FILLED;
    const { clientWidth: width, clientHeight: height } = this.panes.space;
    const wide = tall * (width && height ? width / height : 1);
    let distance = 0;
    for (let k = 0; k < 8; k++) {
      const from = new THREE.Vector3(k & 1 ? box.max.x : box.min.x, k & 2 ? box.max.y : box.min.y, k & 4 ? box.max.z : box.min.z).sub(centre);
      distance = Math.max(distance, from.dot(direction) + Math.max(Math.abs(from.dot(across)) / wide, Math.abs(from.dot(up)) / tall));
    }
    this.controls.target.copy(centre);
    this.free.position.copy(centre).addScaledVector(direction, distance);
    this.controls.update();
  }

  /** Where a pane lies in the canvas, in CSS pixels. */
  place(pane) {
    const outer = this.frame.getBoundingClientRect(), inner = pane.getBoundingClientRect();
    return { x: inner.left - outer.left, y: inner.top - outer.top, width: inner.width, height: inner.height };
  }

  /** The photo's camera in its pane: pixel p of the photo lies at scale * p + offset. */
  film({ focal, principal }, { scale, x, y }, { width, height }) {
    const f = scale * focal, cx = scale * principal[0] + x, cy = scale * principal[1] + y;
    const camera = this.filmed;
    camera.projectionMatrix.makePerspective((-cx / f) * NEAR_M, ((width - cx) / f) * NEAR_M, (cy / f) * NEAR_M, ((cy - height) / f) * NEAR_M, NEAR_M, FAR_M);
    camera.projectionMatrixInverse.copy(camera.projectionMatrix).invert();
  }

  /** Draw a pane; returns how points of the camera frame project into the frame, in CSS pixels. */
  drawPane(pane, camera, withFloor) {
    const { x, y, width, height } = this.place(pane);
    const bottom = this.height - y - height;
    this.renderer.setViewport(x, bottom, width, height);
    this.renderer.setScissor(x, bottom, width, height);
    if (this.floor) this.floor.visible = withFloor;
    camera.updateMatrixWorld();
    this.lights.quaternion.setFromRotationMatrix(camera.matrixWorld);
    this.renderer.render(this.scene, camera);
    const point = new THREE.Vector3();
    return (points, k) => {
      point.set(points[k], -points[k + 1], -points[k + 2]).applyMatrix4(camera.matrixWorldInverse);
      if (point.z > -NEAR_M) return null;
      point.applyMatrix4(camera.projectionMatrix);
      return [x + ((point.x + 1) / 2) * width, y + ((1 - point.y) / 2) * height];
    };
  }

  /** Begin a picture: the canvas as large as the frame. */
  begin() {
    const { clientWidth: width, clientHeight: height } = this.frame;
    const ratio = Math.min(devicePixelRatio, 2);
    if (width !== this.width || height !== this.height || ratio !== this.ratio) {
      Object.assign(this, { width, height, ratio });
      this.renderer.setPixelRatio(ratio);
      this.renderer.setSize(width, height, true);
    }
    const { width: across, height: up } = this.place(this.panes.space);
    if (across && up) {
      this.free.aspect = across / up;
      this.free.updateProjectionMatrix();
    }
    this.renderer.setScissorTest(false);
    this.renderer.clear();
    this.renderer.setScissorTest(true);
  }
}

export const PART_MARGIN = PART_MARGIN_M;
