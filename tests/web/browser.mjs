// A headless Chromium for tests: the system's own, without any traffic of its own.

import { createRequire } from "node:module";
import path from "node:path";

// Installed beside this file, or where TAGGRAM_NODE_MODULES says.
export const modules = process.env.TAGGRAM_NODE_MODULES ?? path.join(import.meta.dirname, "node_modules");
export const require = createRequire(path.join(modules, "index.js"));
const { chromium } = require("playwright-core");

/** The browser, with a microphone that beeps. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.TAGGRAM_CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
      "--autoplay-policy=no-user-gesture-required",
      "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    ],
  });
}

/** A page that notes what it should not do: foreign requests, errors, refusals of the content policy. */
export async function watched(browser, origin, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const faults = [];
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !url.startsWith("blob:") && !url.startsWith("data:")) faults.push(`asked for ${url}`);
  });
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("console", (message) => {
    // What the server refuses on purpose is written to the console by the browser.
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) faults.push(`console: ${message.text()}`);
  });
  return { context, page, faults };
}

/** Faults of accessibility that axe finds, in words. */
export async function axe(page) {
  const { source } = require("axe-core");
  await page.evaluate(`${source}; undefined`);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
  }));
  return violations.map((v) => `${v.id}: ${v.help} (${v.nodes.map((n) => n.target.join(" ")).join("; ")})`);
}
