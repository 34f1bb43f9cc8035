// The review page: shows fits, takes verdicts by key or click, and says what became of them.
import { Decisions, getJSON } from "./decisions.js";
import { Fits, Way } from "./fits.js";
import { Panels } from "./panels.js";
import { scoreRows } from "./scores.js";

const PAST = { accept: "accepted", flag: "flagged", reject: "rejected" };
const $ = (id) => document.getElementById(id);
const all = (selector) => document.querySelectorAll(selector);

const [project, panels] = await start();
const fits = new Fits(panels.solid);
const state = { reviewer: "", way: null, shown: null, busy: false };
const tab = tabName();
const decisions = new Decisions(project.id, { saved, conflict, refused, waiting });

/** What the page needs before anything else; tried again until the server answers. */
async function start() {
  for (;;) {
    try {
      const about = await getJSON("/api/project");
      return [about, await Panels.make(about.keypoints)];
    } catch (error) {
      $("waiting").textContent = `${error.message} Trying again…`;
      await new Promise((done) => setTimeout(done, 1500));
    }
  }
}

/** The name of this tab: kept over a reload, but not handed on to a copy of the tab. */
function tabName() {
  const key = "openexpose-tab";
  const name = sessionStorage.getItem(key) ?? Array.from(crypto.getRandomValues(new Uint32Array(2)), (n) => n.toString(36)).join("");
  sessionStorage.removeItem(key);
  addEventListener("pagehide", () => sessionStorage.setItem(key, name));
  addEventListener("pageshow", () => sessionStorage.removeItem(key));
  return name;
}

// ------------------------------------------------------------------------------------------------ what is shown

function show(bundle) {
  const { fit, problem } = bundle;
  state.shown = bundle;
  $("waiting").hidden = $("end").hidden = true;
  $("main").hidden = false;
  history.replaceState(null, "", `#${fit.id}`);
  $("name").textContent = fit.photo.name;
  $("person").textContent = fit.photo.people > 1 ? `person ${fit.person + 1} of ${fit.photo.people}` : "";
  $("licence").textContent = fit.photo.licence || "no licence given";
  $("licence").classList.toggle("none", !fit.photo.licence);
  panels.show(bundle);
  $("scores").replaceChildren(...scoreRows(fit.scores));
  $("expected").textContent = `expected error of the joints: ${Math.round(100 * fit.badness)} mm`;
  $("note").value = fit.mine?.note ?? "";
  document.querySelector("[data-verdict=accept]").disabled = Boolean(problem);
  showMine(fit);
  $("back").disabled = state.way.at < 1;
  state.way.lookAhead();
}

/** The reviewer's standing verdict, and then those of others. */
function showMine({ mine, verdicts }) {
  const others = Object.entries(verdicts).filter(([name]) => name !== state.reviewer).map(([name, verdict]) => `${name}: ${PAST[verdict]}`);
  $("said").hidden = !mine;
  $("said").className = `chip ${mine?.verdict ?? ""}`;
  $("said").textContent = mine ? [`You: ${PAST[mine.verdict]}`, ...others].join(" · ") : "";
  for (const button of all("[data-verdict]")) button.setAttribute("aria-pressed", mine?.verdict === button.dataset.verdict);
}

function showProgress({ total, accepted, flagged, rejected, decided, reviewers }) {
  const share = { accept: accepted, flag: flagged, reject: rejected };
  for (const [verdict, count] of Object.entries(share)) document.querySelector(`#progress .${verdict}`).style.width = `${total ? (100 * count) / total : 0}%`;
  $("counts").textContent = `${decided} of ${total}`;
  $("progress").setAttribute("aria-label", `${decided} of ${total} decided: ${accepted} accepted, ${flagged} flagged, ${rejected} rejected. Show all reviewers`);
  $("progress").title = `${accepted} accepted, ${flagged} flagged, ${rejected} rejected, ${total - decided} open`;
  const rows = Object.entries(reviewers).map(([name, theirs]) => [name, theirs.accepted, theirs.flagged, theirs.rejected, `${theirs.decided} of ${total}`]);
  document.querySelector("#counts-dialog tbody").replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((cell, k) => Object.assign(document.createElement(k ? "td" : "th"), { textContent: cell })));
    return row;
  }));
}

function say(text, kind = "") {
  $("status").textContent = text;
  $("status").className = `status soft ${kind}`;
}

/** A sentence that stays until it is dismissed, or until what it says is over. */
function alarm(text, dismissable) {
  $("alert").hidden = !text;
  $("alert").firstElementChild.textContent = text;
  $("alert").lastElementChild.hidden = !dismissable;
}

// ------------------------------------------------------------------------------------------------ moving on

/** Do one thing at a time; what is asked for meanwhile is dropped. */
async function move(step) {
  if (state.busy || !state.way) return;
  state.busy = true;
  $("main").setAttribute("aria-busy", true);
  const slow = setTimeout(() => document.body.classList.add("loading"), 150);
  try {
    for (;;) {
      try {
        return await step();
      } catch (error) {
        if (error.status !== 0 && error.status !== 503) {
          alarm(error.message, true);
          return;
        }
        alarm(`${error.message} ${kept()}Trying again…`, false);
        state.lost = true;
        await new Promise((done) => setTimeout(done, 1000));
      }
    }
  } finally {
    clearTimeout(slow);
    document.body.classList.remove("loading");
    state.busy = false;
    $("main").setAttribute("aria-busy", false);
    if (state.lost && !decisions.count && $("alert").lastElementChild.hidden) alarm("");
    state.lost = false;
  }
}

const forward = () => move(async () => {
  let next = await state.way.forward();
  if (!next) {
    if ($("queue").value === "open") next = await state.way.again();
    if (next) say("This is the only one that is open.");
  }
  if (next) show(next);
  else finish();
});

const back = () => move(async () => {
  await decisions.settled();
  const before = await state.way.back();
  if (before) show(before);
});

const undo = () => move(async () => {
  const { fit, progress } = await decisions.undo(state.reviewer);
  showProgress(progress);
  if (fit === null) return say("There is nothing to undo.");
  const bundle = await state.way.visit(fit);
  show(bundle);
  say(`Taken back: your verdict on ${labelOf(bundle.fit)}.`);
});

function newWay() {
  return new Way(fits, tab, state.reviewer, $("queue").value, () => decisions.settled());
}

/** Nothing is left in the queue. */
function finish() {
  const words = {
    open: ["Nothing is open any more.", "You have given a verdict on every fit, but for those that another tab of yours shows or showed within the last two minutes."],
    flagged: ["No flagged fits here.", "Nobody has flagged one that you would still have to settle, or you are through."],
    disputed: ["No more disputed fits.", "These are fits on which reviewers disagree."],
    all: ["This was the last fit.", "“Look again” begins with the best one."],
  }[$("queue").value];
  state.shown = null;
  state.way.at = state.way.trail.length;
  $("main").hidden = $("waiting").hidden = true;
  $("end").hidden = false;
  $("end").querySelector("h2").textContent = words[0];
  $("end").querySelector("p").textContent = words[1];
  history.replaceState(null, "", location.pathname);
}

// ------------------------------------------------------------------------------------------------ verdicts

const labelOf = (fit) => (fit.photo.people > 1 ? `${fit.photo.name}, person ${fit.person + 1}` : fit.photo.name);

function decide(verdict) {
  if (state.busy || !state.shown || (verdict === "accept" && state.shown.problem)) return;
  const { fit } = state.shown;
  say(`Saving: ${PAST[verdict]} ${labelOf(fit)}…`);
  const note = $("note").value.trim();
  decisions.add({ fit: fit.id, reviewer: state.reviewer, verdict, note, seen: fit.mine?.decision ?? null, label: labelOf(fit) });
  state.shown = null; // nothing more is said about it until it is shown again
  if (document.activeElement === $("note")) $("note").blur();
  forward();
}

function saved({ verdict, label, reviewer }, { verdicts = {}, progress }) {
  const others = Object.entries(verdicts).filter(([name]) => name !== reviewer).map(([name, theirs]) => `${name}: ${PAST[theirs]}`);
  say([`Saved: ${PAST[verdict]} ${label}`, ...others].join(" · "), "done");
  if (progress) showProgress(progress);
}

function conflict({ label }, { verdict }) {
  const stands = verdict ? `In another tab you ${PAST[verdict]} ${label}; that verdict stands.` : `In another tab you took back your verdict on ${label}; it is open again.`;
  say(stands);
  alarm(stands, true);
  refreshProgress();
}

function refused({ label }, sentence) {
  say(`Not saved: ${label}`);
  alarm(`The verdict on ${label} was not saved: ${sentence}`, true);
}

const kept = () => (decisions?.count ? `${decisions.count === 1 ? "1 verdict is" : `${decisions.count} verdicts are`} kept in this browser. ` : "");

function waiting(count, sentence) {
  if (count) {
    alarm(`${sentence} Not saved yet: ${kept()}Trying again…`, false);
    say("Not saved yet.");
    state.unsaved = true;
  } else if (state.unsaved) {
    state.unsaved = false;
    if ($("alert").lastElementChild.hidden) alarm("");
  }
}

const refreshProgress = () => getJSON(`/api/progress?reviewer=${encodeURIComponent(state.reviewer)}`).then(showProgress, () => {});

// ------------------------------------------------------------------------------------------------ reviewer, keys

function askName() {
  $("ask-name").value = state.reviewer;
  if (!$("ask").open) $("ask").showModal();
}

/** Begin as this reviewer; false where the name is none. */
async function enter(name) {
  const progress = await getJSON(`/api/progress?reviewer=${encodeURIComponent(name)}`);
  state.reviewer = name;
  try {
    localStorage.setItem("openexpose-reviewer", name);
  } catch {
    // asked again at the next visit
  }
  document.querySelector("#who .name").textContent = name;
  document.querySelector("#who .avatar").textContent = name[0].toUpperCase();
  showProgress(progress);
  state.way = newWay();
  const wanted = /^#(\d{1,15})$/.exec(location.hash)?.[1];
  if (!wanted) return forward();
  await move(async () => show(await state.way.visit(Number(wanted))));
  if (!state.shown) await forward();
}

async function named() {
  const name = $("ask-name").value.trim();
  const complaint = $("ask").querySelector(".error");
  try {
    if (!name) throw new Error("Please give a name.");
    $("ask-done").disabled = true;
    await enter(name);
    $("ask").close();
    complaint.hidden = true;
  } catch (error) {
    complaint.textContent = error.message;
    complaint.hidden = false;
  } finally {
    $("ask-done").disabled = false;
  }
}

const KEYS = {
  a: () => decide("accept"),
  r: () => decide("reject"),
  f: () => decide("flag"),
  u: undo,
  n: () => $("note").focus(),
  k: () => $("keypoints").click(),
  o: () => $("overlay-toggle").click(),
  h: () => panels.look(panels.view, panels.focus === "left_hand" ? "right_hand" : "left_hand"),
  g: () => panels.look(panels.view, "face"),
  b: () => panels.look(panels.view, "whole"),
  escape: () => panels.look(panels.view, "whole"),
  1: () => panels.look("front", panels.focus),
  2: () => panels.look("side", panels.focus),
  3: () => panels.look("top", panels.focus),
  arrowright: forward,
  arrowleft: back,
  "?": () => $("help-dialog").showModal(),
};

document.addEventListener("keydown", (event) => {
  const { target } = event;
  if (document.querySelector("dialog[open]")) return;
  if (target === $("note") && ["Enter", "Escape"].includes(event.key)) return target.blur();
  if (target.matches("input:not([type=range]), select")) return;
  const taken = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !event.shiftKey ? "u" : event.ctrlKey || event.metaKey || event.altKey ? "" : event.key.toLowerCase();
  if (target.matches("[type=range]") && taken.startsWith("arrow")) return;
  const action = KEYS[taken];
  if (!action) return;
  event.preventDefault();
  if (!event.repeat) action();
});

for (const button of all("[data-verdict]")) button.addEventListener("click", () => decide(button.dataset.verdict));
for (const button of all("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
$("skip").addEventListener("click", forward);
$("back").addEventListener("click", back);
$("undo").addEventListener("click", undo);
$("end-undo").addEventListener("click", undo);
$("again").addEventListener("click", () => (state.way = newWay()) && forward());
$("queue").addEventListener("change", () => {
  state.way = newWay();
  $("queue").blur();
  forward();
});
$("who").addEventListener("click", askName);
$("help").addEventListener("click", KEYS["?"]);
$("progress").addEventListener("click", () => {
  refreshProgress();
  $("counts-dialog").showModal();
});
$("alert").lastElementChild.addEventListener("click", () => alarm(""));
$("ask-done").addEventListener("click", named);
$("ask-name").addEventListener("keydown", (event) => event.key === "Enter" && named());
$("ask").addEventListener("cancel", (event) => state.reviewer || event.preventDefault());

$("project").textContent = project.name;
document.title = `${project.name} · review of fits`;
const given = new URLSearchParams(location.search).get("reviewer");
if (given !== null) history.replaceState(null, "", location.pathname + location.hash);
let remembered = null;
try {
  remembered = localStorage.getItem("openexpose-reviewer");
} catch {
  // asked below
}
$("waiting").hidden = Boolean(!given && !remembered);
if (given || remembered) await enter(given || remembered).catch(askName);
else askName();
