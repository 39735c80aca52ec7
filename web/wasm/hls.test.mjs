// The origin's streams in a real browser, from start to end: played by hls.js without an error,
// and classified by the page's worker as the program classifies the file.
//
//   node web/wasm/hls.test.mjs        needs: build.sh done, the program built, chromium, ffmpeg
//
// TAGGRAM names the program (default: target/debug/taggram), CHROMIUM the browser.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const program = process.env.TAGGRAM ?? join(here, "../../target/debug/taggram");
const browserPath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const picture = process.env.SCREENSHOT;

for (const [what, path] of [["the page (build.sh)", join(here, "dist")], ["the program", program], ["chromium", browserPath]]) {
  if (!existsSync(path)) {
    console.log(`SKIPPED: ${what} is not there`);
    process.exit(0);
  }
}
const { chromium } = await import("playwright-core");

const library = mkdtempSync(join(tmpdir(), "taggram-hls-test-"));
const chord = "aevalsrc=0.3*sin(2*PI*220*t)+0.2*sin(2*PI*(330+55*floor(t/2))*t)+0.1*random(0)|0.3*sin(2*PI*221*t):s=44100:d=20";
const tracks = { "a.mp3": ["libmp3lame"], "b.aac": ["aac"], "c.m4a": ["aac"], "d.flac": ["flac"], "e.ogg": ["libvorbis"] };
for (const [name, [codec]] of Object.entries(tracks)) {
  execFileSync("ffmpeg", ["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", chord, "-c:a", codec, join(library, name)]);
}

let failures = 0;
function check(ok, what) {
  console.log(`${ok ? "ok" : "FAILED"}  ${what}`);
  failures += ok ? 0 : 1;
}

/** Starts the origin; gives its address and a way to end it. */
async function origin(more = []) {
  const child = spawn(program, ["hls", "origin", library, "--addr", "127.0.0.1:0", "--segment", "4", "--page", join(here, "dist"), ...more]);
  const address = await new Promise((resolve, reject) => {
    child.stdout.once("data", (text) => resolve(String(text).trim()));
    child.once("exit", () => reject(new Error("the origin ended")));
  });
  return { address, end: () => child.kill("SIGINT") };
}

/** Plays a stream in a page, `rate` times as fast, until `done` or for `most_s` seconds. */
async function play(page, address, url, { rate, most_s, done }) {
  await page.goto(`${address}?src=${encodeURIComponent(url)}`);
  const start = Date.now();
  let seen;
  while ((Date.now() - start) / 1e3 < most_s) {
    seen = await page.evaluate((rate) => {
      const audio = document.querySelector("audio");
      if (audio.paused && !audio.ended) audio.play().catch(() => {});
      if (rate > 1) audio.playbackRate = rate;
      const { segments, errors, windows, finished, verdict, simd, heard_s, busy_ms } = globalThis.taggram;
      return { segments, errors, windows, finished, verdict, simd, heard_s, busy_ms, ended: audio.ended, time: audio.currentTime };
    }, rate);
    if (done(seen)) break;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return seen;
}

const browser = await chromium.launch({
  executablePath: browserPath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"],
});
const server = await origin();
try {
  const page = await browser.newPage({ viewport: { width: 1100, height: 760 } });
  const said = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) said.push(message.text()); });
  page.on("pageerror", (error) => said.push(String(error)));
  const index = await (await fetch(`${server.address}index.json`)).json();
  for (const { name, url } of index.tracks) {
    const asked = [];
    const count = (request) => asked.push(new URL(request.url()).pathname);
    page.on("request", count);
    const seen = await play(page, server.address, url, { rate: 4, most_s: 60, done: (s) => s.ended && s.finished });
    page.off("request", count);
    check(seen.ended && seen.time > 19.5, `${name}: played to its end (${seen.time.toFixed(1)} s)`);
    check(seen.errors.length === 0, `${name}: no error of the player ${seen.errors.join("; ")}`);
    check(seen.simd === true, `${name}: the engine has vector instructions`);
    const segments = asked.filter((path) => /\/\d+\.\w+$/.test(path));
    check(new Set(segments).size === segments.length && segments.length === seen.segments,
      `${name}: each of ${segments.length} segments was asked for once`);
    const native = execFileSync(program, ["hls", "listen", new URL(url, server.address).href, "--format", "json"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    const record = JSON.parse(native.trim().split("\n").at(-1));
    const worst = Math.max(...seen.verdict.scores.map(([genre, p]) => Math.abs(p - record.scores[genre])));
    check(worst <= 1e-4 && seen.windows.length === record.windows,
      `${name}: the page's verdict is the program's (${seen.verdict.genre}, differs by ${worst.toExponential(1)}, ${seen.windows.length} windows)`);
    console.log(`    ${(seen.heard_s / seen.busy_ms * 1e3).toFixed(0)} × real time in the worker`);
  }
  const live = await play(page, server.address, index.live, { rate: 1, most_s: 35, done: (s) => s.time > 25 });
  check(live.time > 25, `radio: played ${live.time.toFixed(1)} s`);
  check(live.errors.length === 0, `radio: no error of the player ${live.errors.join("; ")}`);
  check(live.windows.length > 5, `radio: ${live.windows.length} windows were classified`);
  check(said.length === 0, `the console stayed silent ${said.join("; ")}`);
  if (picture) await page.screenshot({ path: picture });
} finally {
  await browser.close();
  server.end();
  rmSync(library, { recursive: true, force: true });
}
console.log(failures === 0 ? "all passed" : `${failures} failed`);
process.exit(failures === 0 ? 0 : 1);
