// The status page: server-sent news into the document, one picture after the other into the stage.
"use strict";

const $ = (id) => document.getElementById(id);
const LABELS = {
  with_mask: "with mask",
  without_mask: "without mask",
  incorrect_mask: "mask worn wrongly",
  unsure: "not sure",
};
const SILENT = 6000; // milliseconds without a word until the daemon counts as silent
const LOST = 20000; // milliseconds without an answer, which takes ten seconds at most, until the unit counts as gone
const state = { help: {}, overview: null, heard: 0, ahead: 0, paused: false, guides: true, codes: null };

// ---- Small tools

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// Touching only what differs keeps selection, focus and screen readers in peace.
function put(node, text) {
  text = String(text);
  if (node.textContent !== text) node.textContent = text;
}

function keyed(parent, items, key, create, update) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  items.forEach((item, index) => {
    const name = String(key(item));
    let node = old.get(name);
    if (node) old.delete(name);
    else {
      node = create(item);
      node.dataset.key = name;
    }
    update?.(node, item);
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
  for (const node of old.values()) node.remove();
}

const percent = (share) => `${Math.round(share * 100)}%`;
const now = () => Date.now() + state.ahead;
const timeOf = (style) => new Intl.DateTimeFormat([], { timeStyle: style, hourCycle: "h23" });
const [precise, rough] = [timeOf("medium"), timeOf("short")];
const dated = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const day = (when) => new Date(when).toDateString();
const clock = (when) => (day(when) === day(now()) ? precise : dated).format(new Date(when));
const time = (when) => make("time", { datetime: when, title: new Date(when).toLocaleString() }, clock(when));
const hour = (seconds) => rough.format(new Date(seconds * 1000));

function lasting(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

function span(seconds) {
  if (seconds % 3600 === 0) return seconds === 3600 ? "hour" : `${seconds / 3600} hours`;
  return seconds % 60 === 0 ? `${seconds / 60} minutes` : `${seconds} seconds`;
}

function facts(list, rows) {
  const flat = rows.flatMap(([name, value]) => [["dt", name, name], ["dd", name, value]]);
  keyed(list, flat, ([tag, name]) => tag + name, ([tag]) => make(tag), (node, [, , text]) => put(node, text));
}

// ---- How it is

function showOverview({ age, state: view, health, broker }) {
  state.overview = { state: view, health, broker };
  state.heard = Date.now() - age * 1000;
  state.ahead = Date.parse(health.updated_at) - state.heard;
  put($("unit"), `${health.camera.name} on ${health.device}`);
  put($("version"), `maskedge ${health.version}`);
  showStatus();
  showFaults(health.faults);
  if ($("stage").dataset.state !== "live") showCounts(view.people);
  const { rate, persons, window_s: seconds } = view.compliance;
  put($("rate"), rate === null ? "–" : percent(rate));
  const people = persons === 1 ? "1 person" : `${persons} persons`;
  put($("rate-of"), persons ? `of ${people} in the last ${span(seconds)}` : `nobody in the last ${span(seconds)}`);
  $("rate-bar").style.width = `${(rate ?? 0) * 100}%`;
  showStages(health.inference.stage_ms);
  showDelivery(health, broker);
  showMachine(health);
}

function showCounts(people) {
  for (const label of Object.keys(LABELS)) put($(`n-${label}`), people[label] ?? 0);
}

function showStatus() {
  const { health } = state.overview;
  const silent = Date.now() - state.heard > SILENT;
  const faults = health.faults.length;
  const text = silent
    ? `No word for ${lasting(Date.now() - state.heard)}`
    : { ok: "All is well", degraded: `${faults} ${faults === 1 ? "fault" : "faults"}`, failed: "Blind" }[health.status];
  const status = silent ? "failed" : health.status;
  put($("status-text"), text);
  if ($("status").dataset.status !== status) $("status").dataset.status = status;
  const title = `${status === "ok" ? "" : `${text} · `}maskedge ${health.camera.name}`;
  if (document.title !== title) document.title = title;
}

const titleOf = (code) => state.help[code]?.title ?? code.replaceAll("_", " ");
const BLINDING = new Set(["camera_lost", "picture_black", "lens_covered", "picture_frozen"]);

function showFaults(faults) {
  $("faults").hidden = faults.length === 0;
  keyed($("fault-list"), faults, (fault) => fault.code, makeFault, (node, fault) => {
    put(node.querySelector(".message"), fault.message);
    put(node.querySelector("small"), `for ${lasting(now() - Date.parse(fault.since))}`);
  });
  const codes = new Set(faults.map((fault) => fault.code));
  const before = state.codes ?? new Set();
  const raised = faults.filter((fault) => !before.has(fault.code));
  const cleared = [...before].filter((code) => !codes.has(code));
  if (raised.length) {
    put($("announce"), raised.map((fault) => `Fault: ${titleOf(fault.code)}. ${fault.message}`).join(" "));
  } else if (cleared.length) put($("announce"), `Over: ${cleared.map(titleOf).join(", ")}.`);
  state.codes = codes;
}

function makeFault(fault) {
  const help = state.help[fault.code];
  const blind = BLINDING.has(fault.code);
  const node = make("li", { class: blind ? "fault blind" : "fault" },
    make("h3", {}, `${titleOf(fault.code)} `, make("small")), make("p", { class: "message" }));
  if (blind) node.append(make("p", {}, "While this lasts no violation can be seen."));
  if (help) {
    node.append(make("details", {}, make("summary", {}, "What it means, and what helps"),
      make("p", { class: "help" }, help.text.replaceAll("\n", " "))));
  }
  return node;
}

function showStages(stages) {
  const order = ["motion", "detect", "track", "quality", "classify", "decide", "frame"];
  const rows = order.filter((name) => stages[name]).map((name) => ({ name, ...stages[name] }));
  const most = Math.max(...rows.map((row) => row.p95), 0.001);
  $("no-stages").hidden = rows.length > 0;
  keyed($("stage-rows"), rows, (row) => row.name,
    (row) => make("tr", { class: row.name === "frame" ? "total" : "" },
      make("td", {}, row.name === "frame" ? "whole frame" : row.name), make("td", { class: "n" }), make("td", { class: "n" }),
      make("td", { class: "bar", "aria-hidden": "true" }, make("div", {}, make("div"), make("div")))),
    (node, row) => {
      put(node.children[1], `${row.p50.toFixed(1)} ms`);
      put(node.children[2], `${row.p95.toFixed(1)} ms`);
      const [high, median] = node.querySelectorAll(".bar div div");
      high.style.width = `${(row.p95 / most) * 100}%`;
      median.style.width = `${(row.p50 / most) * 100}%`;
    });
}

function showDelivery(health, broker) {
  const { pending, oldest } = health.outbox;
  facts($("delivery-list"), [
    ["Broker", broker.connected ? "connected" : "not connected"],
    ["Waiting in the outbox", pending === 1 ? "1 event" : `${pending} events`],
    ["Oldest of them", oldest && pending ? `${lasting(now() - Date.parse(oldest))} old` : "none"],
    ["Taken by the broker", broker.acknowledged],
    ["Sent again", broker.resent],
  ]);
}

function showMachine(health) {
  const { camera, inference, soc, counters } = health;
  const roles = Object.entries(inference.backends).map(([role, backend]) => [
    role[0].toUpperCase() + role.slice(1), `${backend}, ${inference.models[role] ?? ""}`]);
  facts($("machine-list"), [
    ["Camera", camera.source],
    ["State", `${camera.state} for ${lasting(now() - Date.parse(camera.since))}`],
    ["Picture", camera.width ? `${camera.width} × ${camera.height}, ${camera.fps.toFixed(1)} per s` : "none yet"],
    ["Processed", `${inference.fps.toFixed(1)} per s, ${(counters.frames ?? 0).toLocaleString()} in all`],
    ["Not taken in time", camera.dropped.toLocaleString()],
    ...roles,
    ["Temperature", soc.temperature_c === null ? "not told" : `${soc.temperature_c} °C`],
    ["Clock", health.clock_synced ? "set by the network" : "not set"],
    ["Runs for", lasting(now() - Date.parse(health.started_at))],
  ]);
}

// ---- Violations, the day, the configuration

function showViolations(rows) {
  const first = $("violation-rows").firstElementChild?.dataset.key;
  $("no-violations").hidden = rows.length > 0;
  keyed($("violation-rows"), rows, (row) => row.violation_id,
    (row) => make("tr", {},
      make("td", {}, time(row.decided_at)),
      make("td", {}, make("i", { class: `mark ${row.label}` }), LABELS[row.label],
        make("small", {}, `person ${row.track_id}, ${percent(row.confidence)} sure`)),
      make("td", { class: "n" })),
    (node, row) => {
      node.className = row.ended_at ? "" : "open";
      node.dataset.since = row.ended_at ? "" : row.decided_at;
      if (row.ended_at) put(node.children[2], lasting(Date.parse(row.ended_at) - Date.parse(row.decided_at)));
    });
  tick();
  const newest = rows[0];
  if (newest && state.listed && newest.violation_id !== first) {
    put($("tell"), `Violation at ${clock(newest.decided_at)}: ${LABELS[newest.label]}.`);
  }
  state.listed = true;
}

function showDay({ slots, span: seconds }) {
  const all = slots.map((slot) => slot.good + slot.bad);
  const good = slots.reduce((sum, slot) => sum + slot.good, 0);
  const total = all.reduce((sum, count) => sum + count, 0);
  const top = Math.max(4, ...all);
  const busiest = slots[all.indexOf(Math.max(...all))];
  put($("day-sum"), total
    ? `${total} ${total === 1 ? "person" : "persons"} decided on since the start, ${percent(good / total)} with a mask worn well; busiest from ${hour(busiest.start)}.`
    : "Nobody has been decided on since the start.");
  keyed($("chart"), [{ line: top }, ...slots], (slot) => slot.line ? "line" : slot.start,
    (slot) => slot.line ? make("div", { class: "line" })
      : make("div", { class: "slot" }, make("div", { class: "bad" }), make("div", { class: "good" })),
    (node, slot) => {
      if (slot.line) {
        put(node, slot.line);
        node.style.top = "0";
        return;
      }
      node.title = `${hour(slot.start)}: ${slot.good} with mask, ${slot.bad} violating`;
      node.children[0].style.height = `${(slot.bad / top) * 100}%`;
      node.children[1].style.height = `${(slot.good / top) * 100}%`;
      node.children[0].hidden = slot.bad === 0;
    });
  const quarter = slots.length / 4;
  const marks = [0, 1, 2, 3].map((n) => hour(slots[n * quarter].start));
  keyed($("chart-axis"), [...marks.map((text, n) => ({ n, text })), { n: 4, text: "now" }],
    (mark) => mark.n, () => make("span"), (node, mark) => put(node, mark.text));
  keyed($("day-rows"), slots.filter((slot) => slot.good + slot.bad).reverse(), (slot) => slot.start,
    () => make("tr", {}, make("td"), make("td", { class: "n" }), make("td", { class: "n" })),
    (node, slot) => {
      put(node.children[0], `${hour(slot.start)} to ${hour(slot.start + seconds)}`);
      put(node.children[1], slot.good);
      put(node.children[2], slot.bad);
    });
}

const AGAINST = { site: "at first", shipped: "measured" };
const SVG = "http://www.w3.org/2000/svg";

function showDrift({ state: phase, visits, least, days, learnt_visits: learnt, learnt_days: learning, features }) {
  $("drift").hidden = phase === "off";
  const moved = features.filter((feature) => movedOf(feature).length);
  const names = moved.map((feature) => feature.title).join("; ");
  put($("drift-sum"), [
    moved.length ? `Moved: ${names}.` : visits < least ? `${visits} of the ${least} visits that are needed to compare.` : "Nothing has moved.",
    phase === "learning" ? `What is normal here is being learnt: ${learnt} visits in ${learning.toFixed(1)} of ${days} days.` : "",
  ].join(" "));
  for (const against of Object.keys(AGAINST)) {
    $(`key-${against}`).hidden = !features.some((feature) => feature.references[against]);
  }
  keyed($("drift-list"), features, (feature) => feature.name,
    () => make("li", {}, make("h3"), document.createElementNS(SVG, "svg"), make("p", { class: "now" }), make("p", { class: "was" }), make("p", { class: "verdict" })),
    (node, feature) => {
      const [title, chart, now, was, verdict] = node.children;
      const found = movedOf(feature);
      node.className = found.length ? "moved" : "";
      put(title, feature.title);
      const words = (text) => text.replaceAll("_", " ");
      put(now, feature.now.text ? `now ${words(feature.now.text)}` : "nothing yet");
      const known = Object.entries(feature.references).filter(([, one]) => one.text);
      put(was, known.map(([against, one]) => `${AGAINST[against]} ${words(one.text)}`).join("\n"));
      const apart = known.filter(([, one]) => one.psi !== undefined).map(([against, one]) =>
        `${Math.max(0, one.psi).toFixed(2)} of ${one.limit.toFixed(2)} from ${against === "site" ? "the first days" : "where measured"}`);
      if (found.length) apart.push("Moved");
      else if (feature.ignored) apart.push("Raises no fault");
      put(verdict, apart.join("\n"));
      drawShares(chart, feature);
    });
}

const movedOf = (feature) => Object.values(feature.references).filter((one) => one.moved);

// Bars are the visits now, lines the references; bins that nobody fell into at either end are cut off.
function drawShares(chart, { title, now, references }) {
  const rows = [now.shares, ...Object.values(references).map((one) => one.shares)];
  const used = rows[0].map((_, bin) => rows.some((row) => row[bin] > 0));
  const first = Math.max(0, used.indexOf(true) - 1);
  const end = Math.min(used.length, used.lastIndexOf(true) + 2);
  const top = Math.max(0.01, ...rows.flat());
  const step = (shares) => shares.slice(first, end).map((share, n) => `${n ? "L" : "M"}${n} ${1 - share / top}H${n + 1}`).join("");
  chart.setAttribute("viewBox", `0 0 ${Math.max(1, end - first)} 1`);
  chart.setAttribute("preserveAspectRatio", "none");
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", `Distribution: ${title}`);
  const paths = [["bar-now", `${step(now.shares)}V1H0Z`],
    ...Object.entries(references).map(([against, one]) => [`line-${against}`, step(one.shares)])];
  chart.replaceChildren(...paths.map(([name, path]) => {
    const node = document.createElementNS(SVG, "path");
    node.setAttribute("class", name);
    node.setAttribute("d", path);
    return node;
  }));
}

function showConfig({ file, values, reloads, picture }) {
  state.picture = picture;
  $("view").hidden = !picture;
  put($("config-file"), file ? `From ${file}` : "No file: the built-in defaults");
  keyed($("reloads"), reloads, (reload) => reload.at, (reload) => reload.refused
    ? make("li", { class: "refused" }, make("b", {}, "Refused at ", time(reload.at)),
      "; the configuration below runs on. Why:", make("pre", {}, reload.refused))
    : make("li", {}, "In force since ", time(reload.at)));
  keyed($("config-rows"), values, (row) => row.key, () => make("tr", {}, make("td"), make("td")),
    (node, row) => {
      node.className = row.default ? "default" : "changed";
      put(node.children[0], row.key);
      put(node.children[1], row.value);
    });
  state.plain = values.every((row) => row.default);
  showDefaults($("all").getAttribute("aria-pressed") === "true");
}

function showDefaults(all) {
  $("all").setAttribute("aria-pressed", all);
  $("config").classList.toggle("only-changed", !all);
  $("no-config").hidden = all || !state.plain;
}

// ---- The picture

function showPersons(view) {
  const crowd = view.persons.map((person) => LABELS[person.label]);
  const told = crowd.length ? `${crowd.length === 1 ? "1 person" : `${crowd.length} persons`}: ${crowd.join(", ")}` : "nobody in view";
  $("picture").alt = `Live picture: ${told}`;
  $("nobody").hidden = view.persons.length > 0;
  const counts = {};
  for (const person of view.persons) counts[person.label] = (counts[person.label] ?? 0) + 1;
  showCounts(counts);
  keyed($("persons"), view.persons, (person) => person.id,
    () => make("li", {}, make("span", {}, make("i"), make("b")), make("span"), make("span", { class: "quiet" }), make("span", { class: "told" }, "violation told")),
    (node, person) => {
      const [name, finding, size, badge] = node.children;
      name.firstChild.className = `mark ${person.label}`;
      put(name.lastChild, `Person ${person.id}`);
      put(finding, person.label === "unsure" ? LABELS.unsure : `${LABELS[person.label]}, ${percent(person.confidence)}`);
      put(size, !person.seen ? "not in this picture"
        : person.size < view.min_face ? `face ${person.size} px: too small to judge, ${view.min_face} needed` : `face ${person.size} px`);
      badge.hidden = !person.told;
    });
}

function frameOf(box, classes, label, text, ink = "") {
  const [left, top, right, bottom] = box;
  const high = top < 0.09 ? " high" : "";
  const node = make("div", { class: `box ${classes}${high}${left > 0.5 ? " right" : ""}`, "data-label": label });
  Object.assign(node.style, {
    left: `${left * 100}%`, top: `${top * 100}%`, width: `${(right - left) * 100}%`, height: `${(bottom - top) * 100}%`,
  });
  if (text) node.append(make("span", { class: `tag ${ink}` }, text));
  return node;
}

// What matters most is drawn last, on top of the others.
const WEIGHT = { unsure: 0, with_mask: 1, incorrect_mask: 2, without_mask: 2 };
const weight = (person) => WEIGHT[person.label] + (person.told ? 2 : 0);

function showBoxes(view) {
  const persons = [...view.persons].sort((one, other) => weight(one) - weight(other));
  const boxes = persons.map((person) => {
    const small = person.seen && person.size < view.min_face;
    const text = person.label !== "unsure" ? `${LABELS[person.label]} ${percent(person.confidence)}`
      : small ? `too small: ${person.size} of ${view.min_face} px` : LABELS.unsure;
    const ink = person.label === "incorrect_mask" || person.label === "unsure" ? "dark" : "";
    return frameOf(person.box, person.seen ? "" : "unseen-now", person.label, text, ink);
  });
  if (state.guides) {
    const [x, y] = [view.min_face / view.width, view.min_face / view.height];
    boxes.unshift(
      ...view.ignored.map((area) => frameOf(area, "ignored", null, "ignored")),
      ...view.faces.map((face) => frameOf(face.box, "stranger", null, `face, ${face.size} px`)),
      frameOf([0.015, 0.985 - y, 0.015 + x, 0.985], "guide", null, `smallest face judged: ${view.min_face} px`));
    if (state.area) boxes.push(frameOf(state.area, "area", null, ""));
  }
  $("overlay").replaceChildren(...boxes);
  keepLegible($("overlay").querySelectorAll(".tag"));
  const seen = view.looked ? "looking for faces" : "still scene: networks rest";
  put($("caption"), `${view.width} × ${view.height} from the camera, ${seen}`);
}

// Where people stand close, labels on labels would say nothing: the less important one is hidden; the
// list below the picture names everybody.
function keepLegible(tags) {
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
  const places = [...tags].map((tag) => [tag, tag.getBoundingClientRect()]);
  const shown = [];
  for (const [tag, place] of places.reverse()) {
    if (shown.every((other) => apart(place, other))) shown.push(place);
    else tag.classList.add("under");
  }
}

// Drawn over the picture with the mouse: an area to ignore, to be written into the configuration.
let corner = null;

function pointed(event) {
  const stage = $("stage").getBoundingClientRect();
  const share = (at, start, length) => Math.min(1, Math.max(0, (at - start) / length));
  return [share(event.clientX, stage.left, stage.width), share(event.clientY, stage.top, stage.height)];
}

function beginArea(event) {
  if (event.pointerType === "touch" || event.button !== 0 || !state.guides || !state.view) return;
  event.preventDefault();
  $("stage").setPointerCapture(event.pointerId);
  corner = pointed(event);
  drawArea(event);
}

function drawArea(event) {
  if (!corner) return;
  const other = pointed(event);
  const [left, right] = [corner[0], other[0]].sort((a, b) => a - b);
  const [top, bottom] = [corner[1], other[1]].sort((a, b) => a - b);
  const large = right - left > 0.01 && bottom - top > 0.01;
  state.area = large ? [left, top, right, bottom] : null;
  $("area").hidden = !large;
  if (large) put($("area-text"), `[${state.area.map((edge) => edge.toFixed(3)).join(", ")}]`);
  showBoxes(state.view);
}

function veil(name, text) {
  $("stage").dataset.state = name;
  put($("veil"), text);
}

const noAnswer = () => veil(state.view ? "stale" : "waiting", "No answer from the unit");

async function show(blob, view) {
  const url = URL.createObjectURL(blob);
  const image = $("picture");
  const old = image.src;
  image.src = url;
  try {
    await image.decode();
  } finally {
    if (old.startsWith("blob:")) URL.revokeObjectURL(old);
  }
  if (image.width !== view.width) [image.width, image.height] = [view.width, view.height];
  state.view = view;
  if (!state.paused) veil("live", "");
  showBoxes(view);
  showPersons(view);
}

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const idle = () => document.hidden || state.paused || !state.inside || !state.picture;

async function watch() {
  let last = 0;
  for (;;) {
    if (idle()) {
      await sleep(200);
      continue;
    }
    const patience = new AbortController();
    const end = setTimeout(() => patience.abort(), LOST);
    try {
      const answer = await fetch(`picture?after=${last}`, { cache: "no-store", signal: patience.signal });
      if (answer.status === 200) {
        const view = JSON.parse(answer.headers.get("x-maskedge-view"));
        last = view.number;
        const blob = await answer.blob();
        if (!state.paused) await show(blob, view);
      } else if (answer.status === 204) {
        veil(state.view ? "stale" : "waiting", "No picture comes from the camera");
      } else {
        if (answer.status === 401) enter();
        else noAnswer();
        await sleep(2000);
      }
    } catch {
      noAnswer();
      await sleep(1000);
    } finally {
      clearTimeout(end);
    }
  }
}

// ---- The news, and getting in

function link(name, text) {
  $("link").dataset.state = name;
  put($("link-text"), text);
}

function listen() {
  const source = new EventSource("events");
  state.word = Date.now();
  const hear = (name, shown) => source.addEventListener(name, (event) => {
    state.word = Date.now();
    link("live", "live");
    shown(JSON.parse(event.data));
  });
  hear("help", (help) => { state.help = help; });
  hear("overview", showOverview);
  hear("violations", showViolations);
  hear("day", showDay);
  hear("config", showConfig);
  hear("drift", showDrift);
  source.onerror = () => {
    link("lost", "connection lost, trying again");
    if (source.readyState === EventSource.CLOSED) setTimeout(enter, 2000);
  };
  state.source?.close();
  state.source = source;
}

async function enter() {
  const answer = await fetch("session", { cache: "no-store" }).catch(() => null);
  // A proxy answers for a unit that doesn't: only the unit itself asks for the token.
  if (!answer?.ok && answer?.status !== 401) {
    link("lost", "no answer, trying again");
    setTimeout(enter, 2000);
    return;
  }
  state.inside = answer.ok;
  $("login").hidden = answer.ok;
  $("page").hidden = !answer.ok;
  if (answer.ok) {
    $("logout").hidden = !(await answer.json()).token;
    listen();
  } else {
    state.source?.close();
    $("logout").hidden = true;
    link("waiting", "token needed");
    $("token").focus();
  }
}

async function logOut() {
  put($("logout-error"), "");
  const how = { method: "DELETE", signal: AbortSignal.timeout(LOST) };
  const answer = await fetch("session", how).catch(() => null);
  if (answer?.ok) enter();
  else put($("logout-error"), "Not logged out: no answer from the unit.");
}

async function logIn(event) {
  event.preventDefault();
  put($("login-error"), "");
  try {
    const how = { method: "POST", body: $("token").value, signal: AbortSignal.timeout(LOST) };
    const answer = await fetch("session", how);
    if (answer.ok) {
      $("token").value = "";
      await enter();
      $("main").focus({ preventScroll: true });
      scrollTo(0, 0);
    } else put($("login-error"), answer.status === 401 ? "That isn't the token." : await answer.text());
  } catch {
    put($("login-error"), "No answer from the unit.");
  }
}

// ---- What time alone changes

function tick() {
  for (const row of document.querySelectorAll("#violation-rows tr.open")) {
    put(row.children[2], `${lasting(now() - Date.parse(row.dataset.since))} so far`);
  }
  for (const node of document.querySelectorAll("time")) put(node, clock(node.dateTime));
  if (state.overview) showStatus();
  // Who lost power, or whose network did, doesn't say that the connection is gone.
  if (state.inside && Date.now() - state.word > LOST) {
    link("lost", "no answer, trying again");
    listen();
  }
}

$("login").addEventListener("submit", logIn);
$("logout").addEventListener("click", logOut);
$("pause").addEventListener("click", () => {
  state.paused = !state.paused;
  $("pause").setAttribute("aria-pressed", state.paused);
  if (state.paused) veil("paused", "Paused");
});
$("stage").addEventListener("pointerdown", beginArea);
$("stage").addEventListener("pointermove", drawArea);
for (const end of ["pointerup", "pointercancel"]) $("stage").addEventListener(end, () => { corner = null; });
$("guides").addEventListener("click", () => {
  state.guides = !state.guides;
  if (!state.guides) [state.area, $("area").hidden] = [null, true];
  $("guides").setAttribute("aria-pressed", state.guides);
  if (state.view) showBoxes(state.view);
});
$("all").addEventListener("click", () => showDefaults($("all").getAttribute("aria-pressed") !== "true"));
setInterval(tick, 1000);
enter();
watch();
