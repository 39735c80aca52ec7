// The picture of the page in the README: node tests/web/screenshot.mjs URL SONG FILE

import { launch, watched } from "./browser.mjs";

const [url, song, file] = process.argv.slice(2);
const browser = await launch();
const { page } = await watched(browser, new URL(url).origin, { viewport: { width: 1000, height: 820 }, colorScheme: "light" });
await page.goto(url);
await page.setInputFiles("#file", song);
await page.waitForFunction(() => document.querySelector("#status").textContent.startsWith("Done"));
await page.evaluate(() => { document.querySelector("#audio").currentTime = 9; });
await page.waitForTimeout(400);
const box = await page.locator("#chart").boundingBox();
await page.mouse.move(box.x + box.width * 0.55, box.y + 175);
await page.screenshot({ path: file, fullPage: true });
await browser.close();
