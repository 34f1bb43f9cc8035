// The pane with the photo or video: where the picture lies in it, zoomed and moved.

const MOST = 40; // times the size at which it fits

export class Picture {
  /**
   * @param {HTMLElement} pane
   * @param {HTMLImageElement | HTMLVideoElement | null} element
   * @param {[number, number]} size  pixels in which people are told
   * @param {() => void} changed
   */
  constructor(pane, element, size, changed) {
    Object.assign(this, { pane, element, size, changed, zoom: 1, middle: [0.5, 0.5], fingers: new Map() });
    pane.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-0.0016 * event.deltaY), event.clientX, event.clientY);
    }, { passive: false });
    pane.addEventListener("dblclick", () => this.reset());
    pane.addEventListener("pointerdown", (event) => {
      if (event.target.closest("button")) return;
      this.fingers.set(event.pointerId, event);
      pane.setPointerCapture(event.pointerId);
    });
    pane.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) pane.addEventListener(name, (event) => this.fingers.delete(event.pointerId));
  }

  /** Scale and offset: pixel p lies at scale * p + (x, y) of the pane. */
  get fit() {
    const { clientWidth: width, clientHeight: height } = this.pane;
    const scale = Math.min(width / this.size[0], height / this.size[1]) * this.zoom;
    return { scale, x: width / 2 - scale * this.middle[0] * this.size[0], y: height / 2 - scale * this.middle[1] * this.size[1] };
  }

  /** Lay the picture where it belongs. */
  lay() {
    if (!this.element) return;
    const { scale, x, y } = this.fit;
    Object.assign(this.element.style, { left: `${x}px`, top: `${y}px`, width: `${scale * this.size[0]}px`, height: `${scale * this.size[1]}px` });
  }

  reset() {
    this.zoom = 1;
    this.middle = [0.5, 0.5];
    this.changed();
  }

  zoomBy(factor, clientX, clientY) {
    const rect = this.pane.getBoundingClientRect(), before = this.fit;
    const point = [clientX - rect.left, clientY - rect.top];
    this.zoom = Math.min(MOST, Math.max(1, this.zoom * factor));
    const after = this.fit;
    this.moveBy((after.scale / before.scale) * (before.x - point[0]) + point[0] - after.x, (after.scale / before.scale) * (before.y - point[1]) + point[1] - after.y);
  }

  moveBy(dx, dy) {
    const { scale } = this.fit;
    this.middle = this.middle.map((value, k) => {
      if (this.zoom <= 1) return 0.5;
      return Math.min(1, Math.max(0, value - (k ? dy : dx) / (scale * this.size[k])));
    });
    this.changed();
  }

  move(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    this.fingers.set(event.pointerId, event);
    const others = [...this.fingers.values()].filter((one) => one.pointerId !== event.pointerId);
    if (others.length) {
      const [other] = others, apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      this.zoomBy(apart(event) / Math.max(apart(before), 1), (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
    } else this.moveBy(event.clientX - before.clientX, event.clientY - before.clientY);
  }
}
