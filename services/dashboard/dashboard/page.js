"use strict";
const STATE_MS = 3000, HISTORY_MS = 10000, LOG_MS = 2000, MOST_LINES = 200000;
const $ = id => document.getElementById(id);
const make = (name, parent, properties = {}) =>
  Object.assign(parent.appendChild(document.createElement(name)), properties);
const known = (value, form) => (value === null || value === undefined ? "–" : form(value));
const bytes = value => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let n = value, unit = 0;
  while (n >= 1000 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return `${n.toFixed(n < 10 && unit ? 1 : 0)} ${units[unit]}`;
};
const span = seconds => {
  const s = Math.floor(seconds), days = Math.floor(s / 86400), hours = Math.floor(s / 3600) % 24;
  const minutes = Math.floor(s / 60) % 60;
  return days ? `${days} d ${hours} h` : hours ? `${hours} h ${minutes} min` : `${minutes} min ${s % 60} s`;
};

// --- requests

async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || `status ${answer.status}`);
  return body;
}
let token = sessionStorage.getItem("token") || "";
const post = path => ask(path, { method: "POST", headers: { Authorization: `Bearer ${token}` } });

// --- the Pi

function verdict(state) {
  const failing = state.services.filter(s => !s.is_up && !["waiting", "stopped"].includes(s.state) && s.health !== "starting");
  const troubles = failing.map(s => `${s.name} ${s.health === "unhealthy" ? "is unhealthy" : `is in ${s.state}`}`);
  if (state.host.low_voltage) troubles.push("the supply voltage is too low");
  if (state.host.throttled) troubles.push("the processors are throttled");
  if (state.host.data_is_temporary) troubles.push("/data is lost at a restart");
  const text = troubles.length ? troubles.join("; ") : "everything runs";
  if ($("health").textContent !== text) $("health").textContent = text;
  $("health").className = troubles.length ? "bad" : "good";
}
function facts(host) {
  const used = host.memory_bytes - host.available_bytes, taken = host.disk_bytes - host.disk_free_bytes;
  const power = host.low_voltage === null ? "–"
    : [host.low_voltage ? "voltage too low" : "voltage good", ...(host.throttled ? ["throttled"] : [])].join(", ");
  const rows = [
    ["Board", host.board], ["Up for", span(host.uptime_seconds)], ["Load", host.load.toFixed(2)],
    ["Memory", `${bytes(used)} of ${bytes(host.memory_bytes)}`],
    ["Data", host.disk_bytes ? `${bytes(taken)} of ${bytes(host.disk_bytes)}` : "–"],
    ["Temperature", known(host.celsius, c => `${c.toFixed(1)} °C`)], ["Power", power],
    ["Containers", host.version ? `${host.version.slice(0, 12)} (at boot: ${host.version_from || "–"})` : "–"],
    ["Slot", host.slot], ["Kernel", host.kernel],
  ];
  const list = $("facts");
  rows.forEach(([name, value], index) => {
    const place = list.children[index] || make("div", list);
    if (!place.children.length) { make("dt", place, { textContent: name }); make("dd", place); }
    if (place.lastChild.textContent !== value) place.lastChild.textContent = value;
  });
}

// --- services

const rows = new Map();
function row(service) {
  if (rows.has(service.name)) return rows.get(service.name);
  const tr = make("tr", $("services").tBodies[0]);
  make("th", tr, { scope: "row", textContent: service.name });
  const cells = { state: make("td", tr, { className: "state" }) };
  for (const [key, label] of [["restarts", "Restarts"], ["cpu", "CPU"], ["memory", "Memory"]]) {
    cells[key] = make("td", tr, { className: "number" });
    cells[key].dataset.label = label;
  }
  const actions = make("td", tr, { className: "actions" });
  button(actions, "Log", service.name, () => openLog(service.name));
  cells.changes = ["Restart", "Stop", "Start"].map(word => button(actions, word, service.name, () => change(word, service.name)));
  cells.tr = tr;
  rows.set(service.name, cells);
  return cells;
}
function button(parent, word, name, onclick) {
  const made = make("button", parent, { type: "button", textContent: word, onclick });
  make("span", made, { className: "hidden", textContent: ` ${name}` });
  return made;
}
function show(service) {
  const cells = row(service), { state, health, exit_code: code } = service;
  const text = state === "running" && health ? health : state === "exited" ? `exited with ${code}` : state;
  if (cells.state.textContent !== text) cells.state.textContent = text;
  const waits = ["waiting", "stopped"].includes(state) || health === "starting";
  cells.state.className = `state ${service.is_up ? "good" : waits ? "wait" : "bad"}`;
  cells.restarts.textContent = service.restarts + (service.oom_kills ? ` (${service.oom_kills} out of memory)` : "");
  cells.cpu.textContent = known(service.cpu_percent, c => `${c.toFixed(1)} %`);
  cells.memory.textContent = known(service.memory_bytes, bytes);
  const isDown = ["stopped", "exited"].includes(state), [restart, stop, start] = cells.changes;
  for (const b of cells.changes) b.hidden = !token;
  if (token) { restart.hidden = stop.hidden = isDown; start.hidden = !isDown; }
}
async function change(word, name) {
  if (word !== "Start" && !confirm(`${word} ${name}?`)) return;
  try { await post(`api/services/${encodeURIComponent(name)}/${word.toLowerCase()}`); $("done").textContent = `${word} of ${name} requested.`; }
  catch (error) { $("done").textContent = `${word} of ${name}: ${error.message}.`; }
}
async function state() {
  try {
    const now = await ask("api/state");
    document.title = $("name").textContent = now.host.name || "Pi";
    verdict(now);
    facts(now.host);
    now.services.forEach(show);
    for (const [name, cells] of rows) if (!now.services.some(s => s.name === name)) { cells.tr.remove(); rows.delete(name); }
    $("unlock").hidden = !now.control || Boolean(token);
    now.sensors.forEach(sensor);
  } catch { $("health").className = "bad"; $("health").textContent = "no answer from the Pi"; }
}
$("unlock").addEventListener("submit", async event => {
  event.preventDefault();
  token = $("token").value;
  try { await post("api/token"); sessionStorage.setItem("token", token); $("unlocked").textContent = ""; }
  catch (error) { token = ""; $("unlocked").textContent = error.message; }
  state();
});

// --- logs

let shown = "", cursor = "";
function openLog(name) {
  shown = name; cursor = "";
  $("log").hidden = false; $("log-title").textContent = `Log of ${name}`; $("lines").textContent = "";
  $("lines").focus();
  log();
}
$("close").addEventListener("click", () => { shown = ""; $("log").hidden = true; });
async function log() {
  if (!shown) return;
  const name = shown, lines = $("lines");
  try {
    const part = await ask(`api/logs/${encodeURIComponent(name)}${cursor && `?after=${cursor}`}`);
    if (shown !== name) return;
    cursor = part.cursor;
    if (part.text) lines.textContent = (lines.textContent + part.text).slice(-MOST_LINES);
  } catch (error) { if (!lines.textContent) lines.textContent = error.message; }
  if ($("follow").checked) lines.scrollTop = lines.scrollHeight;
}

// --- plots

const plots = new Map();
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function plot(parent, key, title, unit, points, form = v => v.toFixed(1)) {
  let place = plots.get(key);
  if (!place) {
    const figure = make("figure", parent), caption = make("figcaption", figure);
    make("h3", caption, { textContent: title });
    place = { now: make("span", caption, { className: "now" }), box: make("div", figure, { className: "plot" }) };
    place.box.setAttribute("role", "img");
    plots.set(key, place);
  }
  const values = points.map(p => p[1]).filter(v => v !== null), last = values.at(-1);
  place.now.textContent = last === undefined ? "–" : `${form(last)} ${unit}`;
  place.box.setAttribute("aria-label", values.length
    ? `${title}: ${form(Math.min(...values))} to ${form(Math.max(...values))} ${unit}, now ${form(last)}` : `${title}: no values`);
  if (values.length < 2) return;
  const file = points.map(([t, v]) => [new Date(t * 1000), v]), spread = Math.max(...values) - Math.min(...values);
  const digits = spread === 0 ? 0 : spread < 0.5 ? 2 : spread < 5 ? 1 : 0;
  const options = {
    file, labels: ["time", title], colors: [style("--line")], axisLineColor: style("--edge"), gridLineColor: style("--edge"),
    axes: { y: { axisLabelFormatter: v => v.toFixed(digits), axisLabelWidth: 48, pixelsPerLabel: 30 }, x: { pixelsPerLabel: 70 } },
  };
  if (place.graph) place.graph.updateOptions(options);
  else {
    const { file: data, ...rest } = options;
    place.graph = new Dygraph(place.box, data, { ...rest, legend: "never", strokeWidth: 1.6, yRangePad: 8, connectSeparatedPoints: false, interactionModel: {} });
  }
}
async function history() {
  const parts = { cpu_percent: ["Processors", "%"], memory_percent: ["Memory", "%"], celsius: ["Temperature", "°C"] };
  try {
    const series = await ask("api/history");
    for (const [key, [title, unit]] of Object.entries(parts))
      if (series[key].some(p => p[1] !== null)) plot($("plots"), key, title, unit, series[key]);
  } catch { /* the next state says so */ }
  for (const name of sensors.keys()) measure(name);
}

// --- sensors

const sensors = new Map();
// Units that people read: sensor services speak SI.
const read = { Pa: ["hPa", 0.01], T: ["µT", 1e6], 1: ["%", 100] };
function sensor(name) {
  if (sensors.has(name)) return;
  const section = make("section", $("sensors"));
  const title = make("h2", section, { textContent: name, id: `sensor-${name}` });
  section.setAttribute("aria-labelledby", title.id);
  const status = make("p", section);
  sensors.set(name, { title, status, box: make("div", section, { className: "plots" }) });
  measure(name);
}
// Times without values are a gap in the line.
const withGaps = (points, gap) => points.flatMap((p, i) =>
  i && p[0] - points[i - 1][0] > 2.5 * gap ? [[p[0] - gap, null], p] : [p]);
async function measure(name) {
  const { title, status, box } = sensors.get(name);
  try {
    const current = await ask(`api/sensors/${encodeURIComponent(name)}/current`);
    const past = await ask(`api/sensors/${encodeURIComponent(name)}/history`);
    title.textContent = current.title;
    const failing = Object.entries(current.sensors).filter(([, s]) => !s.healthy);
    status.className = failing.length ? "bad" : "hidden";
    status.textContent = failing.map(([chip, s]) => `${chip}: ${s.reason}`).join("; ");
    const values = new Map(current.measurements.map(m => [m.key, m]));
    for (const series of past.series) {
      const [unit, factor] = read[series.unit] || [series.unit, 1], now = values.get(series.key);
      const points = withGaps(series.points, past.slot_seconds).map(([t, v]) => [t, v === null ? v : v * factor]);
      plot(box, `${name}/${series.key}`, series.title, unit, now ? [...points, [current.time, now.value * factor]] : points, v => v.toFixed(2));
    }
  } catch (error) { status.className = "bad"; status.textContent = error.message; }
}

// --- the clockwork: a page that nobody sees asks nothing

const unlessHidden = work => () => { if (!document.hidden) work(); };
(async () => { await state(); await history(); document.body.dataset.ready = "yes"; })();
setInterval(unlessHidden(state), STATE_MS);
setInterval(unlessHidden(history), HISTORY_MS);
setInterval(unlessHidden(log), LOG_MS);
document.addEventListener("visibilitychange", unlessHidden(() => { state(); history(); }));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { history(); });
