// The three panels: the photo with keypoints, the fit over it, and the body in 3D or, without WebGL, from the side.
import { Body3D, hasWebGL } from "./body3d.js";
import { request } from "./decisions.js";
import { Picture, Window } from "./picture.js";

const $ = (id) => document.getElementById(id);
const all = (selector) => document.querySelectorAll(selector);

/** Numbers of the keypoints of hands and face. */
function groupsOf({ parts, sides }) {
  const where = (part, side) => parts.flatMap((one, k) => (one === part && (!side || sides[k] === side) ? [k] : []));
  return { left_hand: where("hand", "left"), right_hand: where("hand", "right"), face: where("face") };
}

export class Panels {
  /** @param {object} keypoints  their names, parts, sides and bones */
  static async make(keypoints) {
    const solid = hasWebGL();
    const faces = solid ? new Uint32Array(await (await request("/api/faces")).arrayBuffer()) : null;
    return new Panels(keypoints, faces);
  }

  constructor(keypoints, faces) {
    Object.assign(this, { keypoints, solid: faces !== null, groups: groupsOf(keypoints), view: "side", focus: "whole", visible: true });
    this.window = new Window();
    this.photo = new Picture($("photo"), this.window, "The photo around the person, with keypoints");
    this.overlay = new Picture($("overlay"), this.window, "The fitted body over the photo");
    if (this.solid) this.body = new Body3D($("body"), faces);
    else this.withoutWebGL();
    for (const button of all("[data-view]")) button.addEventListener("click", () => this.look(button.dataset.view, this.focus));
    for (const button of all("[data-focus]")) button.addEventListener("click", () => this.look(this.view, button.dataset.focus));
    $("keypoints").addEventListener("click", () => {
      const on = $("keypoints").getAttribute("aria-pressed") !== "true";
      $("keypoints").setAttribute("aria-pressed", on);
      $("photo").classList.toggle("bare", !on);
    });
    $("overlay-toggle").addEventListener("click", () => this.fade(!this.visible));
    $("opacity").addEventListener("input", () => this.fade(true));
  }

  withoutWebGL() {
    this.side = Object.assign(document.createElement("img"), { alt: "The fitted body from the side" });
    const why = "This browser has no WebGL, so the body is shown from the side and cannot be turned.";
    $("body").append(this.side, Object.assign(document.createElement("p"), { className: "missing", textContent: why }));
    for (const button of all("[data-view]")) button.disabled = true;
  }

  /** @param {object} bundle  a fit with its pictures and mesh */
  show({ fit, problem, photo, overlay, side, vertices }) {
    this.fit = fit;
    const gone = problem && `${problem} Skip it, or flag it.`;
    this.photo.show(problem ? [] : [photo], fit.region, gone);
    this.overlay.show(problem ? [] : [photo, overlay], fit.region, gone);
    this.photo.mark(problem ? [] : fit.keypoints, this.keypoints);
    this.window.reset(fit.region);
    this.fade(this.visible);
    if (this.body) this.body.show(vertices, fit.joints, this.groups);
    else this.side.src = side;
    this.look(this.view, "whole");
  }

  /** Look at a place ("whole", "left_hand", "right_hand", "face") in all panels, in 3D from "front", "side" or "top". */
  look(view, focus) {
    Object.assign(this, { view, focus });
    this.body?.look(view, focus);
    for (const button of all("[data-view]")) button.setAttribute("aria-pressed", button.dataset.view === view);
    for (const button of all("[data-focus]")) button.setAttribute("aria-pressed", button.dataset.focus === focus);
    if (this.fit) this.window.set(focus === "whole" ? this.fit.region : this.regionOf(this.groups[focus]));
  }

  /** The square of the photo in which some keypoints are, fitted and seen. */
  regionOf(numbers) {
    const { joints, keypoints, camera } = this.fit;
    const project = ([x, y, z]) => [x, y].map((value, k) => (camera.focal_px * value) / z + camera.principal_px[k]);
    const fitted = numbers.map((n) => joints[n]).filter((joint) => joint[2] > 0.05).map(project);
    const points = [...fitted, ...numbers.map((n) => keypoints[n]).filter((point) => point[2] > 0)];
    const [low, high] = [Math.min, Math.max].map((end) => [0, 1].map((k) => end(...points.map((point) => point[k]))));
    const size = Math.max(high[0] - low[0], high[1] - low[1], 8) * 1.5;
    return Number.isFinite(size) ? [(low[0] + high[0] - size) / 2, (low[1] + high[1] - size) / 2, size, size] : this.fit.region;
  }

  /** Show the fit over the photo, as opaque as the slider says, or hide it. */
  fade(visible) {
    this.visible = visible;
    this.overlay.fade(visible ? $("opacity").value / 100 : 0);
    $("overlay-toggle").setAttribute("aria-pressed", visible);
  }
}
