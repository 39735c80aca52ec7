// The engine in its own thread: segments of a stream in, the taggram as it unfolds out. The music
// is classified here, on the listener's machine; nothing is sent anywhere.
import init, { Classifier } from "./taggram_wasm.js";

let classifier = null;
let busy_ms = 0;

const engine = new URL("./taggram_wasm_bg.wasm", import.meta.url);
const ready = init({ module_or_path: engine }).then(() => begin());

function begin() {
  classifier?.free();
  classifier = new Classifier();
  busy_ms = 0;
  postMessage({ kind: "ready", ...JSON.parse(classifier.about()) });
}

function hear({ bytes, initialisation, discontinuity, trim }) {
  const start = performance.now();
  if (trim) classifier.set_trim(trim.rate, trim.skip, trim.keep);
  if (initialisation) classifier.set_init(initialisation);
  if (discontinuity) classifier.set_discontinuity();
  const answer = JSON.parse(classifier.push(bytes));
  busy_ms += performance.now() - start;
  postMessage({ kind: "heard", busy_ms, ...answer });
}

function finish() {
  const start = performance.now();
  const answer = JSON.parse(classifier.finish());
  busy_ms += performance.now() - start;
  postMessage({ kind: "finished", busy_ms, ...answer });
}

onmessage = async ({ data }) => {
  try {
    await ready;
    if (data.kind === "begin") begin();
    else if (data.kind === "segment") hear(data);
    else if (data.kind === "finish") finish();
  } catch (error) {
    postMessage({ kind: "failed", message: String(error?.message ?? error) });
  }
};
