// The page in a real browser: node tests/web/page.mjs URL SONG FOLDER
//   URL     of a service with two models, `default` and another
//   SONG    a WAV file that the browser can play
//   FOLDER  for pictures of the page, to be looked at

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { axe, launch, watched } from "./browser.mjs";

const [url, song, folder] = process.argv.slice(2);
const origin = new URL(url).origin;
const browser = await launch();
const DESKTOP = { width: 1200, height: 900 };
const PHONE = { width: 360, height: 740 };

async function open(options) {
  const watching = await watched(browser, origin, options);
  await watching.page.goto(url);
  return watching;
}

async function listen(page) {
  await page.setInputFiles("#file", song);
  await page.waitForFunction(() => document.querySelector("#status").textContent.startsWith("Done"), null, { timeout: 30_000 });
}

async function download(page, button) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.click(button)]);
  return { name: file.suggestedFilename(), bytes: readFileSync(await file.path()) };
}

const number = (page, name) => page.getAttribute("#chart", name).then(Number);

const tests = {
  async "a song is picked, its verdict is that of the API, and everything can be saved"() {
    const { page, faults, context } = await open({ viewport: DESKTOP });
    await listen(page);
    const form = new FormData();
    form.append("audio", new Blob([readFileSync(song)]), "song.wav");
    const truth = await (await fetch(`${url}v1/classify?taggram=true`, { method: "POST", body: form })).json();
    const genre = truth.genre === "unknown" ? /^unknown$/ : new RegExp(`^${truth.genre} \\d+(\\.\\d)? %$`);
    assert.match(await page.textContent("#verdict"), genre);
    assert.match(await page.textContent("#after"), /model default/);

    const json = await download(page, "#json");
    assert.equal(json.name, "song.taggram.json");
    const saved = JSON.parse(json.bytes);
    assert.deepEqual([saved.genre, saved.scores, saved.taggram], [truth.genre, truth.scores, truth.taggram]);
    // Pictures are such as a browser shows (elsewhere: this page's policy forbids it data: pictures), and the text in them is
    // the verdict's.
    const elsewhere = await context.newPage();
    const size = (bytes, type) => elsewhere.evaluate(async ([data, type]) => {
      const image = new Image();
      image.src = `data:${type};base64,${data}`;
      await image.decode();
      return [image.naturalWidth, image.naturalHeight];
    }, [bytes.toString("base64"), type]);
    const png = await download(page, "#png");
    assert.equal(png.name, "song.taggram.png");
    const [width, height] = await size(png.bytes, "image/png");
    assert.ok(width > 600 && height > 300, `${width} × ${height}`);
    const svg = await download(page, "#svg");
    assert.equal(svg.name, "song.taggram.svg");
    assert.ok((await size(svg.bytes, "image/svg+xml")).every((side) => side > 300));
    for (const label of truth.taggram.labels) assert.ok(svg.bytes.toString().includes(label), `${label} is not in the SVG`);
    assert.equal(await page.textContent("#status"), "The SVG is saved.");

    await page.click("summary");
    const rows = await page.locator("#numbers tr").count();
    assert.equal(rows, truth.taggram.starts_s.length + 1);
    assert.deepEqual(faults, []);
    await context.close();
  },

  async "the picture tells values under the pointer and follows the keyboard and the sound"() {
    const { page, faults, context } = await open({ viewport: DESKTOP });
    await listen(page);
    const box = await page.locator("#chart").boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + 180);
    const tip = await page.textContent(".chart-tip");
    assert.match(tip, /window \d:\d\d–\d:\d\d/);
    assert.match(tip, /[a-z]+ {2}\d+(\.\d)? %/);
    // The picture is not blank: the spectrogram has many colours.
    const colours = await page.evaluate(() => {
      const canvas = document.querySelector("#chart canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return new Set(new Uint32Array(data.buffer)).size;
    });
    assert.ok(colours > 100, `${colours} colours`);

    await page.focus("#chart");
    assert.equal(await number(page, "aria-valuenow"), 0);
    await page.keyboard.press("ArrowRight");
    const step = await number(page, "aria-valuenow");
    assert.ok(step > 0);
    assert.ok(Math.abs(await page.evaluate(() => document.querySelector("#audio").currentTime) - step) < 0.2);
    assert.match(await page.getAttribute("#chart", "aria-valuetext"), /^\d:\d\d: [a-z]+ [\d.]+ %/);
    await page.keyboard.press(" ");
    await page.waitForFunction((from) => Number(document.querySelector("#chart").getAttribute("aria-valuenow")) > from + 0.4, step, { timeout: 10_000 });
    await page.keyboard.press(" ");
    assert.ok(await page.evaluate(() => document.querySelector("#audio").paused));
    await page.keyboard.press("End");
    assert.ok(await number(page, "aria-valuenow") > 20);
    await page.mouse.click(box.x + box.width * 0.3, box.y + 60);
    assert.ok(await number(page, "aria-valuenow") < 15);
    assert.deepEqual(faults, []);
    await context.close();
  },

  async "everything can be reached by Tab, and axe finds nothing"() {
    for (const colorScheme of ["light", "dark"]) {
      const { page, context } = await open({ viewport: DESKTOP, colorScheme });
      assert.deepEqual(await axe(page), []);
      await listen(page);
      const reached = new Set();
      await page.evaluate(() => document.activeElement?.blur());
      for (let i = 0; i < 25; i += 1) {
        await page.keyboard.press("Tab");
        reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.tagName));
      }
      for (const id of ["pick", "record", "model", "compare", "chart", "audio", "json", "png", "svg", "SUMMARY"]) {
        assert.ok(reached.has(id), `${id} is not among ${[...reached]}`);
      }
      await page.click("#compare");
      await page.waitForSelector("#compared tr");
      await page.click("summary");
      assert.deepEqual(await axe(page), []);
      await context.close();
    }
  },

  async "models are compared"() {
    const { page, faults, context } = await open({ viewport: DESKTOP });
    assert.equal(await page.locator("#model option").count(), 2);
    assert.ok(await page.locator("#compare").isDisabled());
    await listen(page);
    await page.click("#compare");
    await page.waitForFunction(() => document.querySelectorAll("#compared tr").length === 2);
    const names = await page.locator("#compared th").allTextContents();
    const body = new FormData();
    body.append("audio", new Blob([readFileSync(song)]), "song.wav");
    const [, other] = names;
    const truth = await (await fetch(`${url}v1/classify?model=${other}`, { method: "POST", body })).json();
    const row = await page.locator("#compared tr").nth(1).textContent();
    assert.ok(names[0] === "default" && other !== "default" && row.includes(truth.genre), row);
    // By keyboard; the focus stays on the button, and what is shown and saved is the other model's.
    await page.focus("#compared button[aria-pressed=false]");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), `Shown: ${other}`);
    assert.match(await page.textContent("#status"), new RegExp(`^The picture is that of ${other}: `));
    assert.match(await page.textContent("#after"), new RegExp(`model ${other}`));
    assert.equal(JSON.parse((await download(page, "#json")).bytes).model, other);
    assert.deepEqual(faults, []);
    await context.close();
  },

  async "a song is dropped, and what is no song is refused in a sentence"() {
    const { page, context } = await open({ viewport: DESKTOP });
    const drop = (name, base64) => page.evaluate(([name, base64]) => {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], name));
      document.querySelector("#drop").dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
    }, [name, base64]);
    await drop("poem.txt", Buffer.from("Shall I compare thee to a summer's day?").toString("base64"));
    await page.waitForSelector("#problem:not([hidden])");
    assert.match(await page.textContent("#problem"), /text, not an audio file/);
    await drop("<img src=x onerror=alert(1)>.wav", readFileSync(song).toString("base64"));
    await page.waitForFunction(() => document.querySelector("#status").textContent.startsWith("Done"));
    assert.ok(await page.locator("#problem").isHidden());
    assert.equal(await page.textContent("#name"), "<img src=x onerror=alert(1)>.wav");
    await context.close();
  },

  async "what the model does not know is called unknown, without a percentage"() {
    const { page, faults, context } = await open({ viewport: DESKTOP });
    // Ten seconds of silence.
    const rate = 8000;
    const wav = Buffer.alloc(44 + 2 * 10 * rate);
    wav.write("RIFF", 0);
    wav.writeUInt32LE(wav.length - 8, 4);
    wav.write("WAVEfmt ", 8);
    wav.writeUInt32LE(16, 16);
    for (const [at, value] of [[20, 1], [22, 1], [32, 2], [34, 16]]) wav.writeUInt16LE(value, at);
    wav.writeUInt32LE(rate, 24);
    wav.writeUInt32LE(2 * rate, 28);
    wav.write("data", 36);
    wav.writeUInt32LE(wav.length - 44, 40);
    await page.setInputFiles("#file", { name: "silence.wav", mimeType: "audio/wav", buffer: wav });
    await page.waitForFunction(() => document.querySelector("#status").textContent.startsWith("Done"), null, { timeout: 30_000 });
    assert.equal(await page.textContent("#verdict"), "unknown");
    assert.match(await page.textContent("#after"), /^the nearest are [a-z]+ \d/);
    await page.screenshot({ path: path.join(folder, "unknown.png"), fullPage: true });
    assert.deepEqual(faults, []);
    await context.close();
  },

  async "the microphone is heard while it records"() {
    const { page, faults, context } = await open({ viewport: DESKTOP, permissions: ["microphone"] });
    await page.click("#record");
    await page.waitForFunction(() => /still recording/.test(document.querySelector("#after").textContent), null, { timeout: 30_000 });
    assert.match(await page.textContent("#record"), /^Stop at 0:/);
    assert.match(await page.textContent("#status"), /so far: [a-z]+\.$/);
    const first = await page.textContent("#after");
    assert.match(await page.textContent("#verdict"), /^[a-z]+ \d+(\.\d)? %$/);
    await page.waitForFunction((first) => document.querySelector("#after").textContent !== first, first, { timeout: 15_000 });
    await page.click("#record");
    await page.waitForFunction(() => document.querySelector("#status").textContent.startsWith("Done"), null, { timeout: 15_000 });
    assert.equal(await page.textContent("#name"), "recording.wav");
    assert.match(await page.textContent("#after"), /model default/);
    assert.deepEqual(faults, []);
    await context.close();
  },

  async "pictures for people to look at; nothing is wider than a phone"() {
    for (const [size, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
      for (const colorScheme of ["light", "dark"]) {
        const { page, context } = await open({ viewport, colorScheme, deviceScaleFactor: 2 });
        await page.screenshot({ path: path.join(folder, `${size}-${colorScheme}-empty.png`) });
        await listen(page);
        await page.click("#compare");
        await page.waitForSelector("#compared tr");
        await page.evaluate(() => { document.querySelector("#audio").currentTime = 9; });
        await page.waitForTimeout(300);
        const box = await page.locator("#chart").boundingBox();
        await page.mouse.move(box.x + box.width * 0.6, box.y + (size === "phone" ? 130 : 190));
        await page.screenshot({ path: path.join(folder, `${size}-${colorScheme}.png`), fullPage: true });
        const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(wide <= room, `${size}: ${wide} px in ${room}`);
        await context.close();
      }
    }
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED: ${name}\n${error.stack}`);
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
