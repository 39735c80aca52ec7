// The page that plays an origin's streams and classifies them in WebAssembly: every byte is fetched
// once, and the verdict is the program's. Takes pictures for people to look at.
//
//   node tests/web/hls-page.mjs ORIGIN FOLDER-FOR-PICTURES      TAGGRAM names the program

import { execFileSync } from "node:child_process";
import path from "node:path";
import { axe, launch, watched } from "./browser.mjs";

const [origin, folder] = process.argv.slice(2);
const browser = await launch();
let failed = 0;
function check(ok, what) {
  console.log(`${ok ? "ok" : "FAILED"}: ${what}`);
  failed += ok ? 0 : 1;
}

/** Plays a stream in the page, `rate` times as fast, until `done` or for `most_s` seconds. */
async function play(page, url, rate, most_s, done) {
  await page.goto(`${origin}?src=${encodeURIComponent(url)}`);
  const start = Date.now();
  let seen;
  do {
    await page.waitForTimeout(200);
    seen = await page.evaluate((rate) => {
      const audio = document.querySelector("audio");
      if (audio.paused && !audio.ended) audio.play().catch(() => {});
      audio.playbackRate = rate;
      return { ...globalThis.taggram, ended: audio.ended, time: audio.currentTime };
    }, rate);
  } while (!done(seen) && Date.now() - start < most_s * 1e3);
  return seen;
}

/** What the program says of a stream: the last line that it writes. */
function program(url) {
  const output = execFileSync(process.env.TAGGRAM, ["hls", "listen", url, "--format", "json"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return JSON.parse(output.trim().split("\n").at(-1));
}

const { page, faults, context } = await watched(browser, origin.replace(/\/$/, ""), { viewport: { width: 1100, height: 800 } });
const index = await (await fetch(`${origin}index.json`)).json();
for (const { name, url } of index.tracks) {
  const asked = [];
  const count = (request) => asked.push(new URL(request.url()).pathname);
  page.on("request", count);
  const seen = await play(page, url, 4, 40, (s) => s.ended && s.finished);
  page.off("request", count);
  check(seen.ended && seen.finished, `${name}: played and heard to its end (${seen.time.toFixed(1)} s)`);
  check(seen.errors.length === 0, `${name}: no error ${seen.errors.join("; ")}`);
  check(seen.simd === true, `${name}: the engine has vector instructions`);
  const segments = asked.filter((p) => /\/\d+\.\w+$/.test(p));
  check(new Set(segments).size === segments.length && segments.length === seen.segments, `${name}: each of ${segments.length} segments was asked for once`);
  const record = program(new URL(url, origin).href);
  const worst = Math.max(...(seen.verdict?.scores ?? []).map(([genre, p]) => Math.abs(p - record.scores[genre])));
  check(worst <= 1e-4 && seen.windows.length === record.windows, `${name}: the verdict is the program's (${seen.verdict?.genre}, differs by ${worst.toExponential(1)}, ${seen.windows.length} windows of ${seen.heard_s} s)`);
  console.log(`    ${((seen.heard_s / seen.busy_ms) * 1e3).toFixed(0)} × real time in the worker`);
}
let begun = null;
const radio = await play(page, index.live, 1, 40, (s) => {
  if (s.time > 0) begun ??= s.time;
  return begun !== null && s.time - begun > 10 && s.windows.length >= 2;
});
check(begun !== null && radio.time - begun > 10, `radio: played ${(radio.time - begun).toFixed(1)} s`);
check(radio.errors.length === 0, `radio: no error ${radio.errors.join("; ")}`);
check(radio.windows.length >= 2 && radio.heard_s > 10, `radio: ${radio.windows.length} windows of ${radio.heard_s} s were classified`);
check(faults.length === 0, `nothing else was asked for or complained of: ${faults.join("; ")}`);
await context.close();

for (const [size, viewport] of Object.entries({ desktop: { width: 1100, height: 800 }, phone: { width: 390, height: 844 } })) {
  for (const colorScheme of ["light", "dark"]) {
    const { page, context } = await watched(browser, origin, { viewport, colorScheme, deviceScaleFactor: 2 });
    await page.goto(origin);
    await page.waitForSelector("#tracks:not([hidden])");
    await page.screenshot({ path: path.join(folder, `hls-${size}-${colorScheme}-empty.png`) });
    await play(page, index.tracks[0].url, 2, 20, (s) => s.finished && s.time > 8);
    await page.evaluate(() => document.querySelector("audio").pause());
    await page.screenshot({ path: path.join(folder, `hls-${size}-${colorScheme}.png`), fullPage: true });
    const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    check(wide <= room, `${size}, ${colorScheme}: ${wide} px in ${room}`);
    const violations = await axe(page);
    check(violations.length === 0, `${size}, ${colorScheme}: everyone can use it ${violations.join("; ")}`);
    await context.close();
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
