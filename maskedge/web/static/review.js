// Labelling: one face after the other, the most doubtful first; each answer is saved at once.
"use strict";

const $ = (id) => document.getElementById(id);
const NAMES = {
  with_mask: "With mask",
  without_mask: "Without mask",
  incorrect_mask: "Worn wrongly",
  not_a_face: "Not a face",
  skipped: "Skipped",
  deleted: "Deleted",
  unsure: "not sure",
};
const KEYS = {
  1: "with_mask", w: "with_mask",
  2: "without_mask", b: "without_mask",
  3: "incorrect_mask", i: "incorrect_mask",
  4: "not_a_face", n: "not_a_face",
  s: "skipped", d: "deleted",
};
const SHOWN = ["with_mask", "without_mask", "incorrect_mask", "not_a_face", "skipped", "deleted"];
const state = { faces: [], labels: [], at: -1, past: [], saving: Promise.resolve(), opinion: false };

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const percent = (share) => `${Math.round(share * 100)}%`;
const when = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
const moment = (face) => when.format(new Date(face.time));
const count = (label) => state.faces.filter((face) => face.label === label).length;
const answered = () => state.faces.filter((face) => face.label && face.label !== "skipped").length;
const current = () => state.faces[state.at];

function tell(text) {
  $("tell").textContent = text;
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

function only(id) {
  for (const part of ["closed", "work", "done"]) $(part).hidden = part !== id;
}

// ---- Pictures: this one and the next are fetched, none stays

function fetchPicture(face) {
  face.picture ??= fetch(`faces/${face.name}.jpg`, { cache: "no-store" }).then(async (answer) => {
    if (!answer.ok) throw new Error((await answer.text()).trim());
    return URL.createObjectURL(await answer.blob());
  });
  face.picture.catch(() => { face.picture = null; });
  return face.picture;
}

async function letGo(face) {
  const { picture } = face;
  face.picture = null;
  try {
    URL.revokeObjectURL(await picture);
  } catch {
    // it never came
  }
}

function keepOnly(wanted) {
  for (const face of state.faces) if (face.picture && !wanted.includes(face)) letGo(face);
}

// ---- What is shown

function showProgress() {
  const [done, total] = [answered(), state.faces.length];
  const skipped = count("skipped");
  $("progress").max = Math.max(1, total);
  $("progress").value = done + skipped;
  $("progress-text").textContent = `${done} of ${total} done${skipped ? `, ${skipped} skipped` : ""}`;
  const some = SHOWN.slice(0, 4).some(count);
  $("export").hidden = !some;
  $("export-done").hidden = !some;
  $("undo").disabled = state.past.length === 0;
  $("undo-done").hidden = state.past.length === 0;
  document.title = `${done} of ${total} · maskedge review`;
}

function showBoxes(face) {
  // The picture is fitted into its stage: the boxes follow what it really covers.
  const image = $("face");
  const [width, height] = [image.clientWidth, image.clientHeight];
  const scale = Math.min(width / face.width, height / face.height);
  const [left, top] = [image.offsetLeft + (width - face.width * scale) / 2, image.offsetTop + (height - face.height * scale) / 2];
  const draw = ([x1, y1, x2, y2], kind) => {
    const node = make("div", { class: `box ${kind}` });
    Object.assign(node.style, {
      left: `${left + x1 * face.width * scale}px`,
      top: `${top + y1 * face.height * scale}px`,
      width: `${(x2 - x1) * face.width * scale}px`,
      height: `${(y2 - y1) * face.height * scale}px`,
    });
    return node;
  };
  $("overlay").replaceChildren(draw(face.box, "this"), ...face.others.map((box) => draw(box, "other")));
}

function showOpinion(face) {
  $("opinion").setAttribute("aria-pressed", state.opinion);
  $("opinions").hidden = !state.opinion;
  $("scores").replaceChildren(...state.labels.flatMap((label, n) =>
    [make("dt", {}, NAMES[label]), make("dd", {}, percent(face.scores[n]))]));
  $("decided").textContent = `Decided of the person at that moment: ${NAMES[face.decided] ?? face.decided}.`;
}

async function show(at) {
  state.at = at;
  const face = current();
  only("work");
  $("place").textContent = `Face ${at + 1} of ${state.faces.length}`;
  $("facts").textContent = `${moment(face)}, face of ${face.size} pixels, doubt ${percent(face.doubt)}${face.label ? `; you said: ${NAMES[face.label]}` : ""}`;
  for (const button of document.querySelectorAll("[data-label]")) {
    button.setAttribute("aria-pressed", button.dataset.label === face.label);
  }
  $("back").disabled = at === 0;
  $("on").disabled = at === state.faces.length - 1;
  showOpinion(face);
  showProgress();
  const following = state.faces[next(at)];
  keepOnly([face, following]);
  const image = $("face");
  image.dataset.shown = "";
  $("overlay").replaceChildren();
  image.alt = `Face ${at + 1} of ${state.faces.length}, ${moment(face)}, ${face.size} pixels`;
  try {
    const url = await fetchPicture(face);
    if (current() !== face) return;
    image.width = face.width;
    image.height = face.height;
    image.src = url;
    await image.decode();
    if (current() !== face) return;
    image.dataset.shown = face.name;
    showBoxes(face);
  } catch (error) {
    // What wasn't saved is the greater trouble, and has the same cause.
    if (current() === face && $("problem").hidden) problem(`This picture can't be shown: ${error.message}`);
  }
  if (following) fetchPicture(following).catch(() => {});
}

function showDone() {
  only("done");
  state.at = -1;
  keepOnly([]);
  $("done-title").textContent = state.faces.length ? "Every face is looked at" : "No faces are kept";
  $("counts").replaceChildren(...SHOWN.filter(count).flatMap((label) =>
    [make("dt", {}, NAMES[label]), make("dd", {}, count(label))]));
  $("again").hidden = count("skipped") === 0;
  showProgress();
  tell("Every face is looked at.");
  $("done-title").focus();
}

// ---- What the person does

function next(from) {
  const open = (face) => !face.label;
  const later = state.faces.findIndex((face, n) => n > from && open(face));
  return later >= 0 ? later : state.faces.findIndex((face, n) => n !== from && open(face));
}

function go() {
  const face = current();
  const at = face && !face.label ? state.at : next(state.at);
  if (at >= 0) show(at);
  else showDone();
}

function save(face, label) {
  state.saving = state.saving.then(async () => {
    try {
      const answer = await fetch(`faces/${face.name}/label`, { method: "PUT", body: label ?? "" });
      if (answer.status === 404) {
        const seen = current();
        state.faces = state.faces.filter((other) => other !== face);
        state.past = state.past.filter((step) => step.face !== face);
        if (seen === face) go();
        else if (seen) state.at = state.faces.indexOf(seen);
        problem("A face was removed meanwhile, by its age or by somebody else.");
        showProgress();
      } else if (!answer.ok) throw new Error((await answer.text()).trim());
      else problem("");
    } catch (error) {
      face.label = face.saved ?? null;
      problem(`Not saved: ${error.message || "no answer"}. Answer this face again.`);
      const at = state.faces.indexOf(face);
      if (at >= 0) show(at);
      return;
    }
    face.saved = label;
  });
}

function answer(label) {
  const face = current();
  if (!face) return;
  // Of a picture that isn't there yet nobody can know; it can only be put aside.
  const seen = $("face").dataset.shown === face.name;
  if (!seen && label !== "skipped" && label !== "deleted") return;
  state.past.push({ face, before: face.label });
  face.label = label;
  save(face, label);
  tell(`${NAMES[label]}. ${state.faces.filter((other) => !other.label).length} left.`);
  go();
}

function undo() {
  const step = state.past.pop();
  if (!step) return;
  step.face.label = step.before;
  save(step.face, step.before);
  show(state.faces.indexOf(step.face));
  tell("Taken back.");
}

function walk(step) {
  const at = state.at + step;
  if (state.at >= 0 && at >= 0 && at < state.faces.length) show(at);
}

function toggleOpinion() {
  state.opinion = !state.opinion;
  if (current()) showOpinion(current());
}

function again() {
  for (const face of state.faces) {
    if (face.label !== "skipped") continue;
    face.label = null;
    save(face, null);
  }
  state.past = [];
  go();
}

async function load() {
  let answer = null;
  try {
    answer = await fetch("faces.json", { cache: "no-store" });
  } catch {
    problem("No answer: maskedge review has ended. Start it again.");
    return;
  }
  if (answer.status === 401) {
    only("closed");
    $("progress-text").textContent = "";
    return;
  }
  if (!answer.ok) {
    problem((await answer.text()).trim());
    return;
  }
  const { labels, faces } = await answer.json();
  keepOnly([]);
  Object.assign(state, { labels, faces: faces.map((face) => ({ ...face, saved: face.label })), at: -1, past: [] });
  go();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const key = event.key.toLowerCase();
  if (key in KEYS && !$("work").hidden) answer(KEYS[key]);
  else if (key === "u") undo();
  else if (key === "m") toggleOpinion();
  else if (key === "arrowleft") walk(-1);
  else if (key === "arrowright") walk(1);
  else return;
  event.preventDefault();
});
for (const button of document.querySelectorAll("[data-label]")) {
  button.addEventListener("click", () => answer(button.dataset.label));
}
$("undo").addEventListener("click", undo);
$("undo-done").addEventListener("click", undo);
$("opinion").addEventListener("click", toggleOpinion);
$("back").addEventListener("click", () => walk(-1));
$("on").addEventListener("click", () => walk(1));
$("again").addEventListener("click", again);
$("new").addEventListener("click", () => state.saving.then(load));
window.addEventListener("resize", () => { if (current() && $("face").dataset.shown === current().name) showBoxes(current()); });
load();
