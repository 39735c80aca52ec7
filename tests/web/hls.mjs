// The streams of origins in a real browser: each track from start to end, and the radio for a while,
// through hls.js without a word of complaint from it. Origins are heard side by side, three at a time.
//
//   node tests/web/hls.mjs ORIGIN…

import path from "node:path";
import { launch, modules } from "./browser.mjs";

/** How long the radio is heard, s. */
const RADIO_S = 14;

const browser = await launch();
let failed = 0;
function check(ok, what) {
  console.log(`${ok ? "ok" : "FAILED"}: ${what}`);
  failed += ok ? 0 : 1;
}

/** Runs in the page: begins to play, and notes everything that hls.js complains of. */
function begin([url, rate]) {
  const audio = document.querySelector("audio");
  const seen = { complaints: [], discontinuities: new Set(), stalls: 0 };
  globalThis.seen = seen;
  const complain = (...words) => {
    const said = words.map(String).join(" ");
    // The event says the same, and how much was at hand.
    if (!said.includes("Playback stalling at")) seen.complaints.push(said);
  };
  const quiet = () => {};
  const debug = { trace: quiet, debug: quiet, log: quiet, info: quiet, warn: complain, error: complain };
  const hls = new Hls({ debug });
  hls.on(Hls.Events.ERROR, (_, { type, details, fatal, error, buffer }) => {
    // With music at hand it is the machine that was busy, not the origin that was late.
    if (details === Hls.ErrorDetails.BUFFER_STALLED_ERROR && !fatal && buffer > 0.5) seen.stalls++;
    else seen.complaints.push(["event", type, details, fatal, error].map(String).join(" "));
  });
  hls.on(Hls.Events.FRAG_CHANGED, (_, { frag }) => seen.discontinuities.add(frag.cc));
  audio.addEventListener("error", () => complain("media", audio.error?.message));
  hls.loadSource(url);
  hls.attachMedia(audio);
  audio.play().then(() => { audio.playbackRate = rate; }, complain);
}

/** Runs in the page: how far it is. */
function look() {
  const audio = document.querySelector("audio");
  const holes = [];
  for (let i = 1; i < audio.buffered.length; i++) holes.push(audio.buffered.start(i) - audio.buffered.end(i - 1));
  const { complaints, discontinuities } = globalThis.seen;
  return { complaints, joins: discontinuities.size - 1, time: audio.currentTime, length: audio.duration, ended: audio.ended, holes };
}

async function play(page, origin, url, rate, most_s, done) {
  // A page of the origin's own, which has none here.
  await page.goto(`${origin}player`);
  await page.addScriptTag({ path: path.join(modules, "hls.js/dist/hls.min.js") });
  await page.evaluate(begin, [url, rate]);
  const start = Date.now();
  let seen;
  do {
    await page.waitForTimeout(200);
    seen = await page.evaluate(look);
  } while (!done(seen) && Date.now() - start < most_s * 1e3);
  return seen;
}

async function hear(origin) {
  const page = await (await browser.newContext()).newPage();
  const html = "<!doctype html><audio></audio>";
  await page.route(`${origin}player`, (route) => route.fulfill({ contentType: "text/html", body: html }));
  const index = await (await fetch(`${origin}index.json`)).json();
  for (const { name, url } of index.tracks) {
    // Twice as fast is still decoded and played, sample by sample. A machine that is busy for a moment may make one
    // attempt stall, not two.
    let seen = await play(page, origin, url, 2, 40, (s) => s.ended);
    if (seen.complaints.length > 0 && seen.complaints.every((said) => said.includes("bufferStalledError"))) {
      console.log(`    ${name}: once more, after ${seen.complaints.join("; ")}`);
      seen = await play(page, origin, url, 2, 40, (s) => s.ended);
    }
    const whole = seen.ended && Math.abs(seen.time - seen.length) < 0.1;
    check(whole, `${origin} ${name}: played to its end, ${seen.time.toFixed(1)} of ${seen.length.toFixed(1)} s`);
    check(seen.complaints.length === 0 && seen.holes.length === 0, `${origin} ${name}: no complaint ${seen.complaints.join("; ")} ${seen.holes}`);
  }
  let first = null;
  const seen = await play(page, origin, index.live, 1, RADIO_S + 20, (s) => {
    if (s.time > 0) first ??= s.time;
    return first !== null && s.time - first >= RADIO_S;
  });
  check(first !== null && seen.time - first >= RADIO_S, `${origin} radio: played ${(seen.time - first).toFixed(1)} s`);
  check(seen.joins >= 2, `${origin} radio: went on over ${seen.joins} ends of tracks`);
  check(seen.complaints.length === 0 && seen.holes.length === 0, `${origin} radio: no complaint ${seen.complaints.join("; ")} ${seen.holes}`);
}

// Three at a time, which two processors can play.
const origins = process.argv.slice(2);
await Promise.all([0, 1, 2].map(async (first) => {
  for (let i = first; i < origins.length; i += 3) await hear(origins[i]);
}));
await browser.close();
process.exit(failed ? 1 : 0);
