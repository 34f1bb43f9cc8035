// Pictures of one region of the photo, one beside the other: they zoom and move together.

const SVG = "http://www.w3.org/2000/svg";
const FAINT_BELOW = 0.5; // confidence
const CLOSEST = 24; // photo pixels across at the strongest zoom

function element(name, attributes = {}, parent = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
}

/** The part of the photo that all pictures show. */
export class Window {
  constructor() {
    this.pictures = [];
  }

  /** @param {number[]} region  x, y, width, height in photo pixels */
  reset(region) {
    this.region = region;
    this.set(region);
  }

  set([x, y, width, height]) {
    this.now = [x, y, width, height];
    for (const picture of this.pictures) picture.svg.setAttribute("viewBox", this.now.join(" "));
  }

  /** Zoom by a factor around a point of the photo. */
  zoom(factor, [px, py]) {
    const [x, y, width, height] = this.now;
    const most = 1.2 * Math.max(this.region[2], this.region[3]);
    const size = Math.max(width, height) / factor;
    const by = Math.max(width, height) / Math.min(most, Math.max(CLOSEST, size));
    this.set([px - (px - x) / by, py - (py - y) / by, width / by, height / by]);
  }

  move(dx, dy) {
    const [x, y, width, height] = this.now;
    const [left, top, wide, high] = this.region;
    const inside = (value, low, high) => Math.min(Math.max(value, low), high);
    this.set([inside(x + dx, left - width / 2, left + wide - width / 2), inside(y + dy, top - height / 2, top + high - height / 2), width, height]);
  }
}

/** One picture: layers of images, and lines and points on top. */
export class Picture {
  constructor(container, window, label) {
    this.window = window;
    this.svg = element("svg", { role: "img", "aria-label": label, preserveAspectRatio: "xMidYMid meet" });
    this.images = element("g", {}, this.svg);
    this.marks = element("g", { class: "marks" }, this.svg);
    container.append(this.svg);
    this.message = document.createElement("p");
    this.message.className = "missing";
    this.message.hidden = true;
    container.append(this.message);
    window.pictures.push(this);
    this.pointers = new Map();
    this.svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      window.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), this.place(event));
    }, { passive: false });
    this.svg.addEventListener("dblclick", () => window.set(window.region));
    this.svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.svg.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
    });
    this.svg.addEventListener("pointermove", (event) => this.dragged(event));
    for (const end of ["pointerup", "pointercancel"]) this.svg.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
  }

  /** Images (object URLs) that lie over each other and fill the region, or a sentence instead. */
  show(urls, [x, y, width, height], message = "") {
    this.images.replaceChildren(...urls.map((href) => element("image", { href, x, y, width, height, preserveAspectRatio: "none" })));
    this.message.textContent = message;
    this.message.hidden = !message;
    this.svg.toggleAttribute("hidden", Boolean(message));
  }

  /** Opacity 0..1 of the topmost image. */
  fade(opacity) {
    this.images.lastElementChild?.setAttribute("opacity", opacity);
  }

  /** Keypoints [144][x, y, confidence] and the lines between them; none of either if the list is empty. */
  mark(points, { names, parts, sides, bones }) {
    const drawn = [];
    const kind = (k) => `${sides[k]} ${parts[k]}`;
    const faint = (...confidences) => (Math.min(...confidences) < FAINT_BELOW ? " faint" : "");
    for (const [a, b] of bones) {
      const [p, q] = [points[a], points[b]];
      if (!(p?.[2] > 0 && q?.[2] > 0)) continue;
      drawn.push(element("path", { class: `bone ${kind(sides[b] === "middle" ? a : b)}${faint(p[2], q[2])}`, d: `M${p[0]} ${p[1]}L${q[0]} ${q[1]}` }));
    }
    points.forEach(([x, y, confidence], k) => {
      if (!(confidence > 0)) return;
      const point = element("path", { class: `point ${kind(k)}${faint(confidence)}`, d: `M${x} ${y}h0` });
      element("title", {}, point).textContent = `${names[k].replaceAll("_", " ")} (${Math.round(100 * confidence)} %)`;
      drawn.push(point);
    });
    this.marks.replaceChildren(...drawn);
  }

  /** Where on the photo a pointer is. */
  place(event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    return [point.x, point.y];
  }

  dragged(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const others = [...this.pointers.values()].filter((one) => one.pointerId !== event.pointerId);
    if (others.length) {
      const apart = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
      this.window.zoom(apart(event) / Math.max(apart(before), 1), this.place(others[0]));
    } else {
      const [from, to] = [this.place(before), this.place(event)];
      this.window.move(from[0] - to[0], from[1] - to[1]);
    }
    this.pointers.set(event.pointerId, event);
  }
}
