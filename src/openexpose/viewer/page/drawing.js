// Skeletons, keypoints and numbers over the meshes, on a flat canvas.

const SIDES = 55; // joints; their sides by number:
const LEFT = new Set([1, 4, 7, 10, 13, 16, 18, 20, 23, ...span(25, 40), 57, 59, 60, 61, 62, ...span(66, 71)]);
const RIGHT = new Set([2, 5, 8, 11, 14, 17, 19, 21, 24, ...span(40, 55), 56, 58, 63, 64, 65, ...span(71, 76)]);
const TIPS = [[27, 67], [30, 68], [33, 70], [36, 69], [39, 66], [42, 72], [45, 73], [48, 75], [51, 74], [54, 71]];
const HEAD = 15;
const OVER_HEAD_M = 0.27;
const SURE = 0.3; // keypoints of less confidence are drawn faint

function span(from, to) {
  return Array.from({ length: to - from }, (_, k) => from + k);
}

function sideOf(keypoint) {
  return LEFT.has(keypoint) ? "--left" : RIGHT.has(keypoint) ? "--right" : "--middle";
}

export class Drawing {
  /** @param {HTMLElement} frame  @param {Int32Array} parents  @param {number[]} keypoints  those that are shown */
  constructor(frame, parents, keypoints) {
    this.canvas = document.createElement("canvas");
    this.canvas.className = "layer";
    this.canvas.setAttribute("aria-hidden", "true");
    frame.append(this.canvas);
    this.context = this.canvas.getContext("2d");
    const valid = new Set(keypoints);
    this.keypoints = keypoints;
    this.bones = [...parents].map((parent, joint) => [parent, joint]).concat(TIPS)
      .filter(([a, b]) => a >= 0 && valid.has(a) && valid.has(b) && ![22, 23, 24].includes(b));
    this.readColours();
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    this.colours = Object.fromEntries(["--left", "--right", "--middle"].map((name) => [name, style.getPropertyValue(name).trim()]));
  }

  begin(width, height, ratio) {
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.clearRect(0, 0, width, height);
    this.context.lineCap = "round";
  }

  /** Draw one person into a pane. */
  person({ keypoints, confidence, id, colour }, project, { x, y, width, height }, { skeleton, points, label, size }) {
    const g = this.context;
    g.save();
    g.beginPath();
    g.rect(x, y, width, height);
    g.clip();
    if (skeleton) {
      for (const [a, b] of this.bones) {
        const from = project(keypoints, 3 * a), to = project(keypoints, 3 * b);
        if (!from || !to) continue;
        g.globalAlpha = confidence[b < SIDES ? b : a] < 255 * SURE ? 0.35 : 1;
        const finger = b >= 25;
        this.line(from, to, "rgb(0 0 0 / .55)", (finger ? 2.4 : 4.6) * size);
        this.line(from, to, this.colours[sideOf(b)], (finger ? 1.2 : 2.6) * size);
      }
    }
    if (points) {
      for (const k of this.keypoints) {
        const at = project(keypoints, 3 * k);
        if (!at) continue;
        g.globalAlpha = confidence[k] < 255 * SURE ? 0.35 : 1;
        const fine = k >= 76 || (k >= 25 && k < 55), radius = (fine ? 1.1 : 2.8) * size;
        this.dot(at, radius + (fine ? 0.5 : 0.8), "rgb(0 0 0 / .6)");
        this.dot(at, radius, this.colours[sideOf(k)]);
      }
    }
    const [headX, headY, headZ] = keypoints.subarray(3 * HEAD, 3 * HEAD + 3);
    const over = label && project([headX, headY - OVER_HEAD_M, headZ], 0);
    if (over) this.label(String(id), over, colour, size);
    g.restore();
  }

  line([x1, y1], [x2, y2], colour, width) {
    const g = this.context;
    g.strokeStyle = colour;
    g.lineWidth = width;
    g.beginPath();
    g.moveTo(x1, y1);
    g.lineTo(x2, y2);
    g.stroke();
  }

  dot([x, y], radius, colour) {
    this.context.fillStyle = colour;
    this.context.beginPath();
    this.context.arc(x, y, radius, 0, 2 * Math.PI);
    this.context.fill();
  }

  label(text, [x, y], colour, size) {
    const g = this.context, side = 15 * Math.max(size, 0.85);
    g.globalAlpha = 1;
    g.font = `600 ${side * 0.75}px system-ui, sans-serif`;
    g.textAlign = "center";
    g.textBaseline = "middle";
    const wide = Math.max(side, g.measureText(text).width + side * 0.5);
    g.fillStyle = colour;
    g.strokeStyle = "rgb(0 0 0 / .5)";
    g.lineWidth = 1;
    g.beginPath();
    g.roundRect(x - wide / 2, y - side / 2, wide, side, side / 3);
    g.fill();
    g.stroke();
    g.fillStyle = "#10151b";
    g.fillText(text, x, y + side * 0.05);
  }
}
