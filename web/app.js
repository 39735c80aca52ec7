// The page: a song is sent to this server, its verdict forms window by window, the picture is
// drawn and plays along.

import { TaggramChart, clock, decodeLevels, percent, scale } from "./chart.js";
import { record } from "./record.js";

const at = (id) => document.getElementById(id);
const audio = at("audio");
const chart = new TaggramChart(at("chart"), {
  onSeek: (seconds) => { if (!audio.hidden) audio.currentTime = seconds; },
  onToggle: toggle,
});

/** The song at hand: its file, and the answer of each model by name. */
let song = null;
let models = [];
let running = null;

// ---- asking the server

class Refused extends Error {}

function headers() {
  const secret = at("secret").value;
  return secret ? { Authorization: `Bearer ${secret}` } : {};
}

/** Sends the song; a refusal becomes an error with the server's sentence. */
async function ask(file, query, signal) {
  const form = new FormData();
  form.append("audio", file, file.name);
  const response = await fetch(`v1/classify?${new URLSearchParams(query)}`, {
    method: "POST", body: form, headers: headers(), signal,
  });
  if (response.ok) return response;
  const problem = await response.json().catch(() => null);
  if (response.status === 401) at("key").hidden = false;
  throw new Refused(problem?.detail ?? `the server answered ${response.status}`);
}

/** Server-sent events of a response, one after the other. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      yield { type: field("event"), data: JSON.parse(field("data")) };
    }
  }
}

// ---- one song

async function listen(file) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  song = { file, answers: new Map(), shown: null };
  begin(file.name);
  play(file);
  try {
    await classify(at("model").value || undefined, signal, true);
    say(`Done: ${at("verdict").textContent}.`);
  } catch (error) {
    failed(error);
  }
}

/** Asks one model; `live` draws while the answer forms. */
async function classify(model, signal, live) {
  const query = { stream: true, taggram: true, spectrogram: true, ...(model && { model }) };
  const response = await ask(song.file, query, signal);
  let windows = 0;
  for await (const { type, data } of events(response)) {
    if (type === "start" && live) chart.begin(data);
    if (type === "window" && live) {
      windows += 1;
      chart.append(data);
      if (data.verdict) {
        at("verdict").textContent = headline(data.verdict);
        at("after").textContent = `after ${windows} window${windows > 1 ? "s" : ""}`;
      }
    }
    if (type === "problem") throw new Refused(data.detail);
    if (type === "result") {
      song.answers.set(data.model, data);
      if (live) show(data.model);
    }
  }
}

function begin(name) {
  at("problem").hidden = true;
  at("result").hidden = false;
  at("comparison").hidden = true;
  at("warnings").hidden = true;
  at("compared").replaceChildren();
  at("numbers").replaceChildren();
  at("name").textContent = name;
  at("verdict").textContent = "…";
  at("after").textContent = "";
  for (const id of ["compare", "json", "png", "svg"]) at(id).disabled = true;
  chart.clear();
  say(`Listening to ${name}…`);
}

function play(file) {
  if (audio.src) URL.revokeObjectURL(audio.src);
  audio.hidden = false;
  at("sound").hidden = true;
  audio.src = URL.createObjectURL(file);
}

/** Shows one model's answer. */
function show(model) {
  const answer = song.answers.get(model);
  song.shown = model;
  at("model").value = model;
  at("verdict").textContent = headline(answer);
  at("after").textContent =
    `${runnersUp(answer)} · model ${answer.model} · ${clock(answer.duration_s)} heard in ${Math.round(answer.elapsed_ms)} ms`;
  chart.set(answer.taggram);
  if (answer.spectrogram) {
    chart.setSpectrogram({ ...answer.spectrogram, levels: decodeLevels(answer.spectrogram.levels) });
  }
  chart.setCursor(audio.currentTime || 0);
  const warnings = answer.warnings ?? [];
  at("warnings").hidden = warnings.length === 0;
  at("warnings").replaceChildren(...warnings.map((text) => element("li", text)));
  table(answer.taggram);
  for (const id of ["compare", "json", "png", "svg"]) at(id).disabled = false;
}

/** Whether the model says that it does not know this kind of music. */
function isUnknown({ genre, confidence }) {
  return genre === "unknown" && confidence === 0;
}

/** A verdict in large letters: an unknown genre has no probability. */
function headline(verdict) {
  return isUnknown(verdict) ? "unknown" : `${verdict.genre} ${percent(verdict.confidence)}`;
}

function runnersUp(answer) {
  const rest = Object.entries(answer.scores).filter(([genre]) => genre !== answer.genre).slice(0, 3);
  // Why it is unknown is among the warnings.
  const how = isUnknown(answer) ? "the nearest are" : "then";
  return rest.length ? `${how} ${rest.map(([genre, p]) => `${genre} ${percent(p)}`).join(", ")}` : "";
}

function table({ labels, starts_s, patch_s, probabilities }) {
  const head = element("tr", "");
  for (const name of ["from", "to", ...labels]) head.append(cell("th", name, { scope: "col" }));
  const rows = starts_s.map((start, i) => {
    const row = element("tr", "");
    row.append(cell("td", clock(start)), cell("td", clock(start + patch_s)));
    labels.forEach((_, l) => row.append(cell("td", percent(probabilities[i * labels.length + l]), { className: "number" })));
    return row;
  });
  at("numbers").replaceChildren(head, ...rows);
}

// ---- all models

async function compare() {
  const { signal } = running;
  at("compare").disabled = true;
  try {
    for (const { name } of models) {
      if (song.answers.has(name)) continue;
      say(`Asking ${name}…`);
      await classify(name, signal, false);
    }
    at("comparison").hidden = false;
    drawComparison();
    say(`${models.length} models compared.`);
  } catch (error) {
    failed(error);
  } finally {
    at("compare").disabled = !song?.shown;
  }
}

function drawComparison() {
  at("compared").replaceChildren(...[...song.answers.values()].map((answer, i) => {
    const row = element("tr", "");
    const shown = answer.model === song.shown;
    const button = element("button", shown ? "Shown" : "Show");
    button.type = "button";
    button.setAttribute("aria-pressed", String(shown));
    button.setAttribute("aria-label", `${button.textContent}: ${answer.model}`);
    button.addEventListener("click", () => {
      show(answer.model);
      drawComparison();
      // The table is new; who came by keyboard stays where they were.
      at("compared").querySelectorAll("button")[i].focus();
      say(`The picture is that of ${answer.model}: ${headline(answer)}.`);
    });
    const picture = cell("td", "");
    picture.append(button);
    row.append(
      cell("th", answer.model, { scope: "row" }),
      picture,
      cell("td", answer.genre),
      cell("td", isUnknown(answer) ? "–" : percent(answer.confidence), { className: "number" }),
      cell("td", runnersUp(answer).replace(/^(then|the nearest are) /, "")),
      cell("td", `${Math.round(answer.elapsed_ms)} ms`, { className: "number" }),
    );
    return row;
  }));
}

// ---- downloads

function save(blob, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${song.file.name.replace(/\.[^.]*$/, "")}.taggram.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function saveJson() {
  const { spectrogram, ...answer } = song.answers.get(song.shown);
  save(new Blob([JSON.stringify(answer, null, 2)], { type: "application/json" }), "json");
}

/** The picture of `taggram show`, drawn by the server. */
async function savePicture(format) {
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  say(`Drawing the ${format.toUpperCase()}…`);
  try {
    const response = await ask(song.file, { format, theme, model: song.shown });
    save(await response.blob(), format);
    say(`The ${format.toUpperCase()} is saved.`);
  } catch (error) {
    failed(error);
  }
}

// ---- sound

function toggle() {
  if (audio.hidden) return;
  if (audio.paused) audio.play().catch(() => {});
  else audio.pause();
}

/** The cursor follows the sound, as often as the screen is drawn. */
function follow() {
  if (!audio.hidden) chart.setCursor(audio.currentTime);
  if (!audio.paused) requestAnimationFrame(follow);
}

// ---- helpers

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function cell(tag, text, properties = {}) {
  return Object.assign(element(tag, text), properties);
}

function say(text) {
  at("status").textContent = text;
}

function failed(error) {
  if (error.name === "AbortError") return;
  const why = error instanceof Refused ? error.message : `the server could not be reached (${error.message})`;
  at("problem").replaceChildren(element("b", "No answer: "), document.createTextNode(why));
  at("problem").hidden = false;
  if (!song?.answers.size) at("result").hidden = true;
  say("");
}

// ---- beginning

async function loadModels() {
  const response = await fetch("v1/models", { headers: headers() }).catch(() => null);
  if (response?.status === 401) at("key").hidden = false;
  if (!response?.ok) return;
  models = await response.json();
  at("model").replaceChildren(...models.map(({ name, about }) => cell("option", name, { value: name, title: about })));
  at("models").hidden = models.length < 2;
  at("compare").hidden = models.length < 2;
}

let recording = null;

/**
 * Hears the microphone while it records: what may hold a window that was not heard yet is sent again
 * and again, and the picture grows. In the end the whole recording is sent, and that answer counts.
 */
async function hear(current) {
  const model = models.find(({ name }) => name === at("model").value) ?? models[0];
  if (!model) return;
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  song = null;
  begin("microphone");
  audio.hidden = true;
  chart.begin(model);
  say("Recording from the microphone; press Stop to hear the final verdict.");
  let windows = 0;
  let said = null;
  const refresh = ({ starts_s, probabilities }, from) => {
    const width = model.labels.length;
    starts_s.forEach((start, i) => {
      // A window that ends with the stretch, and not a whole number of hops after its start, comes later.
      if (Math.abs(start - i * model.hop_s) > 0.01) return;
      chart.append({ start_s: from + start, probabilities: probabilities.slice(i * width, (i + 1) * width) });
      windows += 1;
    });
    const means = chart.means();
    const best = means.indexOf(Math.max(...means));
    at("verdict").textContent = `${model.labels[best]} ${percent(means[best])}`;
    at("after").textContent = `after ${windows} window${windows > 1 ? "s" : ""} · still recording`;
    // Who does not see the page hears of every change, not of every window.
    if (best !== said) say(`Recording from the microphone; so far: ${model.labels[best]}.`);
    said = best;
  };
  while (recording === current) {
    const from = windows * model.hop_s;
    if (current.seconds() < from + model.patch_s + 0.1) {
      await new Promise((done) => setTimeout(done, 250));
      continue;
    }
    try {
      const response = await ask(current.since(from), { taggram: true, model: model.name }, signal);
      const { taggram } = await response.json();
      if (recording === current) refresh(taggram, from);
    } catch (error) {
      if (error.name === "AbortError") return;
      // Too many songs at once, perhaps: what was recorded is kept and heard later.
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}

async function toggleRecording() {
  const button = at("record");
  if (recording) {
    const current = recording;
    recording = null;
    button.textContent = "Record";
    button.removeAttribute("aria-label");
    button.classList.remove("on");
    listen(await current.stop());
    return;
  }
  try {
    recording = await record((seconds) => { if (recording) button.textContent = `Stop at ${clock(seconds)}`; });
    button.textContent = "Stop";
    // The time on it changes every second, which nobody wants read out.
    button.setAttribute("aria-label", "Stop recording");
    button.classList.add("on");
    hear(recording);
  } catch (error) {
    failed(new Refused(`the microphone cannot be used (${error.message})`));
  }
}

for (const theme of ["light", "dark"]) {
  document.documentElement.style.setProperty(`--scale-${theme}`, scale(theme === "dark"));
}
at("pick").addEventListener("click", () => at("file").click());
at("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) listen(file);
  event.target.value = "";
});
at("record").hidden = !navigator.mediaDevices?.getUserMedia;
at("record").addEventListener("click", toggleRecording);
at("compare").addEventListener("click", () => { if (song) compare(); });
at("model").addEventListener("change", () => {
  if (!song) return;
  const name = at("model").value;
  if (song.answers.has(name)) show(name);
  else listen(song.file);
});
at("secret").addEventListener("change", loadModels);
at("json").addEventListener("click", saveJson);
at("png").addEventListener("click", () => savePicture("png"));
at("svg").addEventListener("click", () => savePicture("svg"));
audio.addEventListener("play", follow);
audio.addEventListener("seeked", follow);
audio.addEventListener("error", () => {
  if (!audio.getAttribute("src")) return;
  audio.hidden = true;
  at("sound").hidden = false;
  at("sound").textContent = "This browser cannot play this format; the picture is true all the same.";
});
for (const type of ["dragover", "drop"]) document.addEventListener(type, (event) => event.preventDefault());
document.addEventListener("dragover", () => at("drop").classList.add("over"));
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) at("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => {
  at("drop").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) listen(file);
});
loadModels();
