// Plays an HLS stream with hls.js and gives each segment, as it was fetched for playing, to the
// classifier in the worker: no byte is asked for twice, and none is sent.
import { TaggramChart, clock, percent } from "./chart.js";

const Hls = globalThis.Hls;
const byId = (id) => document.getElementById(id);
const audio = byId("audio");
const worker = new Worker(new URL("./hls-worker.js", import.meta.url), { type: "module" });
const chart = new TaggramChart(byId("chart"), {
  spectrum: false,
  onSeek: (seconds) => { audio.currentTime = seconds; },
  onToggle: () => (audio.paused ? audio.play() : audio.pause()),
});

/** What is known of the stream that is heard now; tests read it. */
const state = { segments: 0, bytes: 0, errors: [], windows: [], finished: false };
globalThis.taggram = state;

let hls = null;
let trim = null;
let last = null;
let about = null;
/** Initialisations of segments by their addresses: promises, since they are fetched beside the segments. */
const initialisations = new Map();
/** Segments are decrypted one after the other, in their order. */
let queue = Promise.resolve();
/** Counts streams: what still comes of an earlier one is not heard. */
let turn = 0;

worker.onmessage = ({ data }) => {
  if (data.kind === "ready") {
    about = data;
    state.simd = data.simd;
    chart.begin({ labels: data.labels, patch_s: data.patch_s });
    return;
  }
  if (data.kind === "failed") {
    state.errors.push(data.message);
    say(data.message);
    return;
  }
  state.busy_ms = data.busy_ms;
  state.heard_s = data.heard_s;
  for (const window of data.windows) {
    state.windows.push(window);
    chart.append(window);
  }
  if (data.verdict) show(data.verdict);
  const notes = [data.note, ...(data.warnings ?? [])].filter(Boolean);
  if (notes.length > 0) say(notes.join(" "));
  state.finished ||= data.kind === "finished";
  const speed = data.heard_s / (data.busy_ms / 1e3);
  byId("cost").textContent = `${clock(data.heard_s)} of music heard in ${(data.busy_ms / 1e3).toFixed(1)} s of this machine's time,`
    + ` ${Math.round(speed)} × as fast as it plays · ${state.segments} segments, ${Math.round(state.bytes / 1024)} KiB`;
};

function say(text) {
  byId("note").textContent = text;
  byId("note").hidden = text === "";
}

function show(verdict) {
  state.verdict = verdict;
  const scores = [...verdict.scores].sort((a, b) => b[1] - a[1]).slice(0, 3);
  const [first, ...others] = scores.map(([genre, p]) => `${genre} ${percent(p)}`);
  // A genre that is none of the labels: "unknown", and what is nearest is no verdict.
  const sure = verdict.scores.some(([genre]) => genre === verdict.genre);
  byId("verdict").textContent = sure ? first : verdict.genre;
  byId("others").textContent = (sure ? others : [first, ...others]).join(" · ");
}

/** A copy of a segment that was fetched for playing: each is heard once, in the order of the stream. */
async function take(frag, copy, mine) {
  if (mine !== turn) return;
  if (frag.type === "subtitle" || typeof frag.sn !== "number") return;
  if (last !== null && frag.sn <= last.sn) return;
  const joins = last === null || (frag.sn === last.sn + 1 && frag.cc === last.cc);
  last = { sn: frag.sn, cc: frag.cc };
  const bytes = new Uint8Array(await plain(frag, copy));
  const given = frag.initSegment && new Uint8Array(await initialisation(frag.initSegment.url).promise);
  if (mine !== turn) return;
  state.segments += 1;
  state.bytes += bytes.byteLength;
  worker.postMessage({ kind: "segment", bytes, initialisation: given ?? undefined, discontinuity: !joins, trim }, [bytes.buffer]);
  trim = null;
  if (frag.endList) worker.postMessage({ kind: "finish" });
}

/** The initialisation at an address, which may not have come yet. */
function initialisation(url) {
  if (!initialisations.has(url)) {
    let resolve;
    const promise = new Promise((done) => { resolve = done; });
    initialisations.set(url, { promise, resolve });
  }
  return initialisations.get(url);
}

/** A segment without its encryption (AES-128 over the whole of it). */
async function plain({ decryptdata }, bytes) {
  if (!decryptdata?.method || decryptdata.method === "NONE") return bytes;
  const key = await crypto.subtle.importKey("raw", decryptdata.key, "AES-CBC", false, ["decrypt"]);
  return crypto.subtle.decrypt({ name: "AES-CBC", iv: decryptdata.iv }, key, bytes);
}

/** The player's own loader of segments, which hands a copy of each to the classifier: the player
 *  gives its buffers away to a worker of its own. */
class Overheard extends Hls.DefaultConfig.loader {
  load(context, config, callbacks) {
    const mine = turn;
    const onSuccess = (response, ...rest) => {
      const whole = context.frag && !context.part && response.data instanceof ArrayBuffer;
      const copy = whole ? response.data.slice(0) : null;
      callbacks.onSuccess(response, ...rest);
      if (copy && context.frag.sn === "initSegment") initialisation(context.frag.url).resolve(plain(context.frag, copy));
      else if (copy) queue = queue.then(() => take(context.frag, copy, mine)).catch((error) => say(String(error)));
    };
    super.load(context, config, { ...callbacks, onSuccess });
  }
}

/** What of the decoded frames is music; players ignore the tag. */
function trimOf(text) {
  const found = /^#EXT-X-TAGGRAM-TRIM:RATE=(\d+),SKIP=(\d+)(?:,KEEP=(\d+))?/m.exec(text ?? "");
  return found && { rate: +found[1], skip: +found[2], keep: found[3] && +found[3] };
}

function play(url) {
  hls?.destroy();
  turn += 1;
  queue = Promise.resolve();
  Object.assign(state, { segments: 0, bytes: 0, errors: [], windows: [], finished: false, verdict: null });
  trim = null;
  last = null;
  say("");
  byId("verdict").textContent = "listening …";
  byId("others").textContent = "";
  initialisations.clear();
  if (about) worker.postMessage({ kind: "begin" });
  if (!Hls.isSupported()) {
    say("This browser has no Media Source Extensions, which playing HLS needs.");
    return;
  }
  hls = new Hls({ enableWorker: true, fLoader: Overheard });
  hls.on(Hls.Events.LEVEL_LOADED, (_, { details }) => { if (last === null) trim = trimOf(details.m3u8); });
  hls.on(Hls.Events.ERROR, (_, { type, details, fatal, error, buffer }) => {
    // With music at hand it is this machine that was busy for a moment, no fault of the stream.
    if (details === Hls.ErrorDetails.BUFFER_STALLED_ERROR && !fatal && buffer > 0.5) return;
    state.errors.push(`${details}: ${error?.message ?? type}`);
    if (fatal) say(`The stream cannot be played: ${details}.`);
  });
  hls.loadSource(new URL(url, location.href).href);
  hls.attachMedia(audio);
  audio.play().catch(() => say("Press play to listen."));
}

audio.addEventListener("timeupdate", () => chart.setCursor(audio.currentTime));

byId("open").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("tracks").value = "";
  play(byId("url").value);
});
byId("tracks").addEventListener("change", ({ target }) => {
  if (target.value) {
    byId("url").value = target.value;
    play(target.value);
  }
});

async function fill() {
  const index = await fetch("index.json").then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
  if (!index) return;
  const options = (index.tracks ?? []).map(({ name, url }) => new Option(name, url));
  if (index.live) options.unshift(new Option("Radio: everything, one after the other", index.live));
  byId("tracks").append(...options);
  byId("tracks").hidden = false;
}

await fill();
const asked = new URLSearchParams(location.search).get("src");
if (asked) {
  byId("url").value = asked;
  byId("tracks").value = [...byId("tracks").options].some((o) => o.value === asked) ? asked : "";
  play(asked);
}
