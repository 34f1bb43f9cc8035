// The page: people over the photo and in space, over time.
import { Body } from "./body.js";
import { Clock } from "./clock.js";
import { block, bundle } from "./data.js";
import { Drawing } from "./drawing.js";
import { drawLanes, PeopleList, Sliders } from "./panels.js";
import { Person } from "./person.js";
import { Picture } from "./picture.js";
import { hasWebGL, PART_MARGIN, Stage } from "./stage.js";

const PANES = ["photo", "both", "space"];
const PLACES = { face: [55, 60, 76, 144], left_hand: [20, 21, 25, 40, 66, 71], right_hand: [21, 22, 40, 55, 71, 76] }; // [from, to) of keypoints
const SAMPLES = 48; // poses that tell where everybody is, or two a person
const element = (id) => document.getElementById(id);

class Page {
  constructor(model, motion) {
    this.motion = motion;
    this.body = new Body(model);
    this.people = motion.tracks.map((track, k) => new Person(this.body, track, motion.arrays, k));
    this.chosen = this.people[0];
    this.show = { mesh: true, skeleton: false, keypoints: false };
    this.media = mediaElement(motion.media);
    const size = motion.image_size ?? [4, 3];
    this.picture = new Picture(element("photo"), this.media ?? emptyFrame(), size, () => this.draw());
    element("photo").append(this.picture.element);
    const video = motion.media?.kind === "video" ? this.media : null;
    this.clock = new Clock(motion.arrays.times, video, () => this.pose());
    const panes = { photo: element("photo"), space: element("space") };
    if (hasWebGL()) this.stage = new Stage(element("stage"), panes, this.body);
    else withoutWebGL();
    this.drawing = this.stage && new Drawing(element("stage"), this.body.parents, motion.keypoints ?? []);
    this.fillPanels();
    this.listen();
    this.media?.addEventListener(video ? "loadedmetadata" : "load", () => {
      if (!motion.image_size) this.picture.size = [this.media.naturalWidth || this.media.videoWidth, this.media.naturalHeight || this.media.videoHeight];
      this.draw();
    });
    element("waiting").hidden = true;
    element("main").hidden = false;
    this.setTheme(stored() ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"), false);
    if (this.stage) this.lookAround();
    this.pose();
  }

  fillPanels() {
    const { motion, people } = this, frames = motion.arrays.times.length;
    element("name").textContent = document.title = motion.name;
    element("about").textContent = people.length === 1 ? "1 person" : `${people.length} people`;
    element("origin").textContent = `openexpose ${motion.version}` + (motion.note ? ` · ${motion.note}` : "");
    element("timeline").hidden = frames < 2;
    element("frame").max = frames - 1;
    for (const span of document.querySelectorAll(".filmed")) span.textContent = { video: "Video", photo: "Photo" }[motion.media?.kind] ?? "Camera";
    this.list = new PeopleList(element("people"), people, (person, visible) => this.toggle(person, visible));
    element("everyone").hidden = people.length < 2;
    element("adjust").hidden = !people.length;
    element("whose").hidden = people.length < 2;
    for (const { id } of people) element("whose").append(new Option(`Person ${id}`, id));
    this.sliders = ["expression", "betas"].map((name) => {
      const count = name === "betas" ? this.body.betaCount : this.body.expressionCount;
      return new Sliders(element(name), name, count, (k, value) => {
        this.chosen.offsets[name][k] = value;
        this.pose();
      });
    });
    for (const option of element("place").options) option.hidden = !people.length && option.value !== "all";
  }

  listen() {
    const on = (id, name, act) => element(id).addEventListener(name, act);
    for (const name of Object.keys(this.show)) on(name, "click", () => this.switch(name));
    for (const button of document.querySelectorAll("[data-panes]")) button.addEventListener("click", () => this.setPanes(button.dataset.panes));
    for (const button of document.querySelectorAll("[data-look]")) button.addEventListener("click", () => this.look(button.dataset.look));
    on("place", "change", () => this.look(this.looked ?? "front"));
    on("opacity", "input", () => this.pose());
    on("reset-photo", "click", () => this.picture.reset());
    on("everyone", "click", () => this.showAll());
    on("whose", "change", (event) => {
      this.chosen = this.people.find(({ id }) => id === Number(event.target.value));
      this.refresh();
    });
    on("reset", "click", () => {
      for (const offsets of Object.values(this.chosen.offsets)) offsets.fill(0);
      this.pose();
    });
    on("play", "click", () => this.clock.toggle());
    on("before", "click", () => this.clock.seek(this.clock.frame - 1));
    on("after", "click", () => this.clock.seek(this.clock.frame + 1));
    on("frame", "input", (event) => this.clock.seek(Number(event.target.value)));
    on("speed", "change", (event) => this.clock.setSpeed(Number(event.target.value)));
    on("theme", "click", () => this.setTheme(this.theme === "dark" ? "light" : "dark"));
    on("shot", "click", () => this.saveShot());
    on("help", "click", () => element("help-dialog").showModal());
    on("help-close", "click", () => element("help-dialog").close());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", ({ matches }) => stored() ?? this.setTheme(matches ? "dark" : "light", false));
    addEventListener("keydown", (event) => this.key(event));
    addEventListener("click", ({ detail, target }) => detail && target.closest("button, summary, input")?.blur()); // keys are the page's again
    new ResizeObserver(() => this.draw()).observe(element("stage"));
    this.stage?.controls.addEventListener("change", () => this.draw());
  }

  key(event) {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || element("help-dialog").open) return;
    const moves = ["ArrowLeft", "ArrowRight", "Home", "End"].includes(key);
    if (target.matches("select, input[type=range]") && (moves || target.matches("select"))) return;
    if (key === " " && target.matches("button, summary, input[type=checkbox]")) return;
    const last = this.motion.arrays.times.length - 1, step = event.shiftKey ? 10 : 1, { clock } = this;
    const acts = {
      " ": () => clock.toggle(), ArrowLeft: () => clock.seek(clock.frame - step), ArrowRight: () => clock.seek(clock.frame + step),
      Home: () => clock.seek(0), End: () => clock.seek(last), m: () => this.switch("mesh"), s: () => this.switch("skeleton"),
      k: () => this.switch("keypoints"), v: () => this.setPanes(PANES[(PANES.indexOf(element("main").dataset.view) + 1) % 3]),
      r: () => (this.picture.reset(), this.look("front")), t: () => element("theme").click(), p: () => this.saveShot(),
      "?": () => element("help-dialog").showModal(), 0: () => this.showAll(),
    };
    const person = /^[1-9]$/.test(key) && this.people[Number(key) - 1];
    const act = person ? () => this.toggle(person, !person.visible) : acts[key.length === 1 ? key.toLowerCase() : key];
    if (!act || (event.repeat && !moves)) return;
    event.preventDefault();
    act();
  }

  switch(name) {
    this.show[name] = !this.show[name];
    element(name).setAttribute("aria-pressed", this.show[name]);
    document.querySelector(".legend").hidden = !this.show.skeleton && !this.show.keypoints;
    this.pose();
  }

  toggle(person, visible) {
    person.visible = visible;
    this.pose();
  }

  showAll() {
    for (const person of this.people) person.visible = true;
    this.pose();
  }

  setPanes(view) {
    element("main").dataset.view = view;
    for (const button of document.querySelectorAll("[data-panes]")) button.setAttribute("aria-pressed", button.dataset.panes === view);
    this.draw();
  }

  setTheme(theme, keep = true) {
    this.theme = document.documentElement.dataset.theme = theme;
    element("theme").textContent = theme === "dark" ? "Light" : "Dark";
    if (keep) store(theme);
    this.drawing?.readColours();
    this.layFloor();
    this.draw();
  }

  /** The box of everybody over the clip, and the view that shows it. */
  lookAround() {
    const each = Math.max(2, Math.ceil(SAMPLES / Math.max(this.people.length, 1))), points = [];
    for (const person of this.people) {
      const { frames } = person, count = Math.min(each, frames.length);
      for (let k = 0; k < count; k++) {
        person.show(frames[Math.round((k * (frames.length - 1)) / Math.max(1, count - 1))]);
        points.push(person.vertices.slice());
      }
    }
    this.everybody = this.stage.boxOf(points);
    this.layFloor();
    this.look("front");
  }

  layFloor() {
    if (!this.stage || !this.everybody || this.everybody.isEmpty()) return;
    const style = getComputedStyle(document.documentElement);
    this.stage.layFloor(this.everybody, style.getPropertyValue("--grid").trim(), style.getPropertyValue("--grid-axis").trim());
  }

  look(view) {
    if (!this.stage) return;
    this.looked = view;
    const place = element("place").value, person = this.chosen;
    if (place === "all" || !(person?.row >= 0)) this.stage.look(view, this.everybody);
    else if (place === "body") this.stage.look(view, this.stage.boxOf([person.vertices]));
    else {
      const parts = [], spans = PLACES[place];
      for (let k = 0; k < spans.length; k += 2) parts.push(person.keypoints.subarray(3 * spans[k], 3 * spans[k + 1]));
      this.stage.look(view, this.stage.boxOf(parts), PART_MARGIN);
    }
    this.draw();
  }

  /** Something about the people changed: pose and draw them before the next picture. */
  pose() {
    this.unposed = true;
    this.draw();
  }

  draw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = undefined;
      this.render();
    });
  }

  poseNow() {
    const start = performance.now();
    this.unposed = false;
    if (this.stage) Object.assign(this.stage, { opacity: Number(element("opacity").value) / 100, shown: this.show.mesh });
    for (const person of this.people) {
      const present = person.visible ? person.show(this.clock.frame) : ((person.row = person.rowOf(this.clock.frame)), false);
      this.stage?.update(person, present);
    }
    this.refresh();
    this.poseMs = performance.now() - start;
  }

  refresh() {
    const { clock, motion } = this, times = motion.arrays.times;
    this.list.refresh();
    if (this.chosen) for (const sliders of this.sliders) sliders.refresh(this.chosen);
    element("frame").value = clock.frame;
    element("frame").setAttribute("aria-valuetext", `frame ${clock.frame + 1} of ${times.length}`);
    element("time").textContent = `${times[clock.frame].toFixed(2)} s · frame ${clock.frame + 1} / ${times.length}`;
    const play = element("play"), label = clock.playing ? "Pause" : "Play";
    if (play.getAttribute("aria-label") !== label) {
      play.setAttribute("aria-label", label);
      play.textContent = clock.playing ? "❚❚" : "▶";
    }
    if (clock.lost) tell("This browser cannot play the video; the people move without it.");
  }

  render() {
    if (this.unposed) this.poseNow();
    this.picture.lay();
    const lanes = element("lanes");
    if (this.laneWidth !== lanes.clientWidth && !element("timeline").hidden) {
      drawLanes(lanes, this.people, this.motion.arrays.times.length);
      this.laneWidth = lanes.clientWidth;
    }
    if (!this.stage) return;
    const { stage, drawing, motion } = this, view = element("main").dataset.view;
    stage.begin();
    drawing.begin(stage.width, stage.height, stage.ratio);
    if (view !== "space" && motion.focal_px) {
      stage.film({ focal: motion.focal_px, principal: motion.principal_px }, this.picture.fit, stage.place(stage.panes.photo));
      this.drawInto("photo", stage.filmed, Math.sqrt(this.picture.zoom));
    }
    if (view !== "photo") this.drawInto("space", stage.free, 1);
  }

  drawInto(name, camera, size) {
    const { stage, drawing, show } = this, pane = stage.panes[name], place = stage.place(pane);
    if (!place.width || !place.height) return;
    const project = stage.drawPane(pane, camera, name === "space");
    const what = { skeleton: show.skeleton, points: show.keypoints, label: this.people.length > 1, size };
    for (const person of this.people) if (person.visible && person.row >= 0) drawing.person(person, project, place, what);
  }

  /** What is shown as one picture, to keep. */
  saveShot() {
    if (!this.stage) return;
    this.render();
    const { stage, media } = this, canvas = document.createElement("canvas"), ratio = stage.ratio, g = canvas.getContext("2d");
    canvas.width = stage.canvas.width;
    canvas.height = stage.canvas.height;
    g.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--well").trim();
    g.fillRect(0, 0, canvas.width, canvas.height);
    g.scale(ratio, ratio);
    const place = stage.place(stage.panes.photo);
    if (media && place.width) {
      const { scale, x, y } = this.picture.fit, [width, height] = this.picture.size;
      g.save();
      g.beginPath();
      g.rect(place.x, place.y, place.width, place.height);
      g.clip();
      g.drawImage(media, place.x + x, place.y + y, scale * width, scale * height);
      g.restore();
    }
    for (const layer of [stage.canvas, this.drawing.canvas]) g.drawImage(layer, 0, 0, stage.width, stage.height);
    canvas.toBlob((content) => {
      const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(content), download: `${this.motion.name.replace(/\.[^.]*$/, "")}.png` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  }

  /** For tests and the curious: window.openexpose. */
  get hook() {
    const find = (id) => this.people.find((person) => person.id === id);
    return {
      state: () => ({
        frame: this.clock.frame, time: this.motion.arrays.times[this.clock.frame], playing: this.clock.playing, theme: this.theme,
        view: element("main").dataset.view, show: { ...this.show }, zoom: this.picture.zoom, poseMs: this.poseMs, settled: !this.unposed && this.waiting === undefined,
        video: this.clock.video && { time: this.clock.video.currentTime, seeking: this.clock.video.seeking, width: this.clock.video.videoWidth },
        people: this.people.map(({ id, visible, row, colour }) => ({ id, visible, present: row >= 0, colour })),
        camera: this.stage?.free.position.toArray(),
      }),
      vertices: (id) => Array.from(find(id).vertices ?? []),
      keypoints: (id) => Array.from(find(id).keypoints),
      projected: (id) => {
        const { focal_px: f, principal_px: [cx, cy] } = this.motion, points = find(id).keypoints, found = [];
        for (let k = 0; k < points.length; k += 3) found.push((f * points[k]) / points[k + 2] + cx, (f * points[k + 1]) / points[k + 2] + cy);
        return found;
      },
      fit: () => this.picture.fit,
    };
  }
}

function mediaElement(media) {
  if (!media) return null;
  const made = document.createElement(media.kind === "video" ? "video" : "img");
  if (media.kind === "video") Object.assign(made, { preload: "auto", muted: true, playsInline: true });
  else made.alt = "";
  made.src = media.source || URL.createObjectURL(new Blob([block("media-data")], { type: media.mime }));
  return made;
}

function emptyFrame() {
  return Object.assign(document.createElement("div"), { className: "frame" });
}

function withoutWebGL() {
  const sentence = Object.assign(document.createElement("p"), { className: "nothing" });
  sentence.textContent = "This browser has no WebGL 2, so the bodies cannot be drawn. Another browser, or one with hardware acceleration switched on, will show them.";
  element("space").append(sentence);
}

function tell(sentence) {
  element("alert").textContent = sentence;
  element("alert").hidden = false;
}

/** The theme that was chosen before; storage may be closed to pages from the disk. */
function stored() {
  try {
    return localStorage.getItem("openexpose-theme");
  } catch {
    return null;
  }
}

function store(theme) {
  try {
    localStorage.setItem("openexpose-theme", theme);
  } catch {
    // it holds until the page is closed
  }
}

async function main() {
  if (typeof DecompressionStream === "undefined") throw new Error("This browser is too old for this page: it cannot unpack gzip.");
  const [model, motion] = await Promise.all([bundle("model-data"), bundle("motion-data")]);
  const page = new Page(model, motion);
  window.openexpose = page.hook;
}

main().catch((error) => {
  element("waiting").hidden = true;
  tell(error.message);
  throw error;
});
