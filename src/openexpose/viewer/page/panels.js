// The lists and sliders beside the people.

const REACH = 3; // of the sliders, either way
const LANE_PX = 4;
const MOST_LANES = 12;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export class PeopleList {
  constructor(list, people, toggled) {
    this.people = people;
    this.rows = people.map((person, k) => {
      const box = make("input", { type: "checkbox", checked: true });
      const swatch = make("i", { className: "swatch" });
      swatch.style.background = person.colour;
      const score = make("span", { className: "soft", title: "How sure the detector is" });
      const label = make("label", {}, box, swatch, `Person ${person.id}`, score);
      if (k < 9) box.setAttribute("aria-keyshortcuts", String(k + 1));
      box.addEventListener("change", () => toggled(person, box.checked));
      list.append(make("li", {}, label));
      return { box, score, label };
    });
    if (!people.length) list.append(make("li", { className: "soft" }, "Nobody was found."));
  }

  refresh() {
    this.people.forEach((person, k) => {
      const { box, score, label } = this.rows[k], present = person.row >= 0;
      box.checked = person.visible;
      const text = present ? `${Math.round(100 * person.scores[person.row])} %` : "not in this frame";
      if (score.textContent === text) return;
      label.classList.toggle("absent", !present);
      score.textContent = text;
    });
  }
}

export class Sliders {
  /** @param {string} name  "betas" or "expression"  @param {(k: number, value: number) => void} moved */
  constructor(container, name, count, moved) {
    this.name = name;
    this.rows = Array.from({ length: count }, (_, k) => {
      const input = make("input", { type: "range", min: -REACH, max: REACH, step: 0.05, value: 0 });
      input.setAttribute("aria-label", `${name === "betas" ? "Shape" : "Expression"} ${k + 1}`);
      const output = make("output");
      input.addEventListener("input", () => moved(k, Number(input.value)));
      input.addEventListener("dblclick", () => moved(k, 0));
      container.append(make("label", {}, make("span", {}, String(k + 1)), input, output));
      return { input, output };
    });
  }

  refresh(person) {
    const predicted = person.predicted(this.name);
    this.rows.forEach(({ input, output }, k) => {
      const offset = person.offsets[this.name][k];
      if (Number(input.value) !== offset) input.value = offset;
      output.textContent = (predicted[k] + offset).toFixed(2);
    });
  }
}

/** In which frames each person is. */
export function drawLanes(canvas, people, frames) {
  const lanes = Math.min(people.length, MOST_LANES), ratio = Math.min(devicePixelRatio, 2), width = canvas.clientWidth;
  canvas.hidden = !lanes;
  canvas.style.height = `${lanes * LANE_PX}px`;
  canvas.width = width * ratio;
  canvas.height = lanes * LANE_PX * ratio;
  const g = canvas.getContext("2d");
  g.scale(ratio, ratio);
  people.slice(0, lanes).forEach(({ frames: own, colour }, lane) => {
    g.fillStyle = colour;
    let start = 0;
    for (let k = 1; k <= own.length; k++) {
      if (k < own.length && own[k] === own[k - 1] + 1) continue;
      g.fillRect((own[start] / frames) * width, lane * LANE_PX, Math.max(((own[k - 1] + 1 - own[start]) / frames) * width, 1), LANE_PX - 1);
      start = k;
    }
  });
}
