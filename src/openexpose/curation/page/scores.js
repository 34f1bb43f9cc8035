// Measured quality of a fit in plain words.

const MISSED = { unit: " %", factor: 100, decimals: 1, why: "Mean distance between seen keypoints and those of the fit, in percent of the person's size" };
const STARTS = "Distance between the fits that began at the networks' answer and at the mean pose";

/** What is shown: title, the score it comes from, from where on it is fair and poor, how it is written. */
const ROWS = [
  { name: "body_reprojection", title: "Body off keypoints", fair: 1.6, poor: 3, ...MISSED },
  { name: "left_hand_reprojection", title: "Left hand off", fair: 0.7, poor: 1.4, ...MISSED },
  { name: "right_hand_reprojection", title: "Right hand off", fair: 0.7, poor: 1.4, ...MISSED },
  { name: "face_reprojection", title: "Face off", fair: 0.6, poor: 1.2, ...MISSED },
  { name: "starts_apart_mm", title: "Two fits differ, body", unit: " mm", fair: 45, poor: 100, why: STARTS },
  { name: "hands_apart_mm", title: "Two fits differ, hands", unit: " mm", fair: 10, poor: 20, why: `${STARTS}, of the hands that were seen` },
  { name: "answer_apart_mm", title: "Moved by the fit", unit: " mm", fair: 35, poor: 70, why: "Distance between the fit and the networks' answer" },
  { name: "penetration_mm", title: "Overlapping parts", unit: " mm", fair: 10, poor: 25, why: "Deepest overlap of two parts of the body" },
  { name: "prior", title: "Unusual pose", unit: "", fair: 55, poor: 80, why: "How far the pose is from those that the prior has learned" },
];
const POOR_AT = 0.72; // of the bar's length

/** Rows for a <dl>. */
export function scoreRows(scores) {
  return ROWS.map(({ name, title, unit, fair, poor, why, factor = 1, decimals = 0 }) => {
    const known = Number.isFinite(scores[name]);
    const value = factor * scores[name];
    const level = !known ? "unknown" : value < fair ? "good" : value < poor ? "fair" : "poor";
    const row = element("div", `score ${level}`);
    row.title = why;
    const bar = element("span", "bar");
    bar.append(element("i"));
    bar.firstChild.style.width = `${known ? Math.min(100, Math.max(3, (100 * POOR_AT * value) / poor)) : 0}%`;
    const shown = document.createElement("dd");
    shown.append(bar, element("span", "words", known ? `${value.toFixed(decimals)}${unit}` : "–"), element("span", "level", known ? level : "not seen"));
    row.append(element("dt", "", title), shown);
    return row;
  });
}

function element(name, className = "", text = "") {
  return Object.assign(document.createElement(name), { className, textContent: text });
}
