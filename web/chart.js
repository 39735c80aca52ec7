// The picture of a song: its spectrogram, below it each genre's probability over time, and a
// cursor that moves with the music. An ES module without dependencies; colours come from the
// page's style sheet (--ink, --quiet, --grid, --accent, --page), so light and dark need nothing here.
//
//   const chart = new TaggramChart(element, { onSeek: seconds => …, onToggle: () => … });
//   chart.begin({ labels, patch_s });                     // an empty picture
//   chart.append({ start_s, probabilities });             // one window more
//   chart.set({ labels, starts_s, patch_s, probabilities });   // or everything at once
//   chart.setSpectrogram({ frames, bands, seconds, levels });  // levels: Uint8Array [frame, band]
//   chart.setCursor(12.3);
//
// What is drawn where follows `taggram show`: a window is shown around its middle, rows are sorted
// by their mean, the highest on top.

// Evenly spaced points of the colour maps, between which is interpolated: "Blues" after
// ColorBrewer (C. Brewer), "Night" its counterpart on dark pages, "Magma" of matplotlib.
const BLUES = ["f7fbff", "deebf7", "c6dbef", "9ecae1", "6baed6", "4292c6", "2171b5", "08519c", "08306b"];
const NIGHT = ["191d23", "16283c", "143757", "154b78", "20659f", "3a84c4", "63a6dd", "9ccbf0", "d8edfc"];
const MAGMA = ["000004", "140e36", "3b0f70", "641a80", "8c2981", "b73779", "de4968", "f7705c", "fe9f6d", "fecf92", "fcfdbf"];

/** Rows that are drawn at most; of more labels, those with the highest mean. */
const MAX_ROWS = 12;
/** Seconds that PageUp and PageDown move. */
const PAGE_S = 10;

/** A colour map as 256 RGB triples. */
function palette(points) {
  const rgb = points.map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return Array.from({ length: 256 }, (_, step) => {
    const place = (step / 255) * (rgb.length - 1);
    const low = Math.min(Math.floor(place), rgb.length - 2);
    return rgb[low].map((from, i) => Math.round(from + (rgb[low + 1][i] - from) * (place - low)));
  });
}

const PALETTES = { light: palette(BLUES), dark: palette(NIGHT), spectrum: palette(MAGMA) };

/** The colours of probabilities from 0 to 1 as a background of the style sheet, for a legend. */
export function scale(dark) {
  return `linear-gradient(to right, ${(dark ? NIGHT : BLUES).map((hex) => `#${hex}`).join(", ")})`;
}

/** Base64 text to bytes: how levels of a spectrogram travel in JSON. */
export function decodeLevels(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

/** Seconds as a clock: 0:07, 12:30, 1:02:03. */
export function clock(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const [h, m] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}

/** A probability 0…1 as people read it. */
export function percent(p) {
  return `${p > 0 && p < 0.095 ? (100 * p).toFixed(1) : Math.round(100 * p)} %`;
}

/** Evenly spaced times for an axis `seconds` long with room for `most` labels. */
function ticks(seconds, most) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
  const step = steps.find((s) => seconds / s <= most) ?? 14400;
  const times = [];
  for (let t = 0; t <= seconds + 1e-6; t += step) times.push(t);
  return times;
}

export class TaggramChart {
  /**
   * Draws into `host`, an empty block element.
   * `onSeek(seconds)` is called when a place is chosen, `onToggle()` on the space bar. Without
   * `spectrum` there is no room for a spectrogram.
   */
  constructor(host, { onSeek = () => {}, onToggle = () => {}, spectrum = true } = {}) {
    this.host = host;
    this.spectrum = spectrum;
    this.onSeek = onSeek;
    this.onToggle = onToggle;
    this.base = document.createElement("canvas");
    this.over = document.createElement("canvas");
    this.tip = document.createElement("div");
    this.tip.className = "chart-tip";
    this.tip.hidden = true;
    for (const canvas of [this.base, this.over]) canvas.setAttribute("aria-hidden", "true");
    host.classList.add("chart");
    host.replaceChildren(this.base, this.over, this.tip);
    host.tabIndex = 0;
    host.setAttribute("role", "slider");
    host.setAttribute("aria-label", "Place in the song");
    host.setAttribute("aria-valuemin", "0");
    this.cursor = 0;
    this.hover = null;
    this.clear();
    host.addEventListener("pointermove", (e) => this.#pointed(e));
    host.addEventListener("pointerdown", (e) => this.#chosen(e));
    host.addEventListener("pointerleave", () => this.#left());
    host.addEventListener("keydown", (e) => this.#key(e));
    new ResizeObserver(() => this.#soon()).observe(host);
    this.theme = matchMedia("(prefers-color-scheme: dark)");
    this.theme.addEventListener("change", () => this.#soon());
  }

  /** Forgets the song. */
  clear() {
    this.labels = [];
    this.starts = [];
    this.rows = [];
    this.patch_s = 0;
    this.duration = 0;
    this.spectrogram = null;
    this.setCursor(0);
    this.#soon();
  }

  /** An empty picture for these labels; windows are `patch_s` seconds long. */
  begin({ labels, patch_s }) {
    this.clear();
    this.labels = labels;
    this.patch_s = patch_s;
    this.#soon();
  }

  /** One window more: its start and `[label]` probabilities. Windows come in the order of time. */
  append({ start_s, probabilities }) {
    this.starts.push(start_s);
    this.rows.push(probabilities);
    this.#soon();
  }

  /** The whole taggram: `probabilities` is `[window, label]`, flat. */
  set({ labels, starts_s, patch_s, probabilities }) {
    this.labels = labels;
    this.patch_s = patch_s;
    this.starts = Array.from(starts_s);
    this.rows = this.starts.map((_, i) => probabilities.slice(i * labels.length, (i + 1) * labels.length));
    this.#soon();
  }

  /** Levels `[frame, band]` 0…255, the lowest band first, over `seconds`. */
  setSpectrogram({ frames, bands, seconds, levels }) {
    this.spectrogram = { frames, bands, seconds, image: this.#spectrumImage(frames, bands, levels) };
    this.#soon();
  }

  /** Length of the song, when it is known before all of it is drawn. */
  setDuration(seconds) {
    this.duration = seconds;
    this.#soon();
  }

  /** Moves the cursor to a time in seconds. */
  setCursor(seconds) {
    this.cursor = seconds;
    this.#say();
    this.#drawOver();
  }

  /** Seconds that the picture spans. */
  get end() {
    const heard = this.starts.length ? this.starts.at(-1) + this.patch_s : 0;
    return Math.max(heard, this.duration, this.spectrogram?.seconds ?? 0);
  }

  /** Mean probability of each label over the windows so far, `[label]`. */
  means() {
    const n = Math.max(1, this.rows.length);
    return this.labels.map((_, l) => this.rows.reduce((sum, row) => sum + row[l], 0) / n);
  }

  /** The window that is shown at a time: its number, or -1. */
  windowAt(seconds) {
    if (!this.rows.length) return -1;
    let i = 0;
    while (i + 1 < this.rows.length && this.#border(i + 1) <= seconds) i += 1;
    return i;
  }

  /** What is said of a time, in words. */
  describe(seconds, count = 3) {
    const i = this.windowAt(seconds);
    if (i < 0) return clock(seconds);
    const best = this.labels
      .map((label, l) => [label, this.rows[i][l]])
      .sort((a, b) => b[1] - a[1])
      .slice(0, count);
    return `${clock(seconds)}: ${best.map(([label, p]) => `${label} ${percent(p)}`).join(", ")}`;
  }

  /** Where window `i` begins to be shown: halfway between its middle and the one before. */
  #border(i) {
    if (i === 0) return this.starts[0];
    if (i === this.starts.length) return this.starts.at(-1) + this.patch_s;
    return (this.starts[i - 1] + this.starts[i] + this.patch_s) / 2;
  }

  #soon() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.draw();
    });
  }

  #spectrumImage(frames, bands, levels) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [frames, bands];
    const context = canvas.getContext("2d");
    const image = context.createImageData(frames, bands);
    for (let frame = 0; frame < frames; frame += 1) {
      for (let band = 0; band < bands; band += 1) {
        const at = 4 * ((bands - 1 - band) * frames + frame);
        image.data.set(PALETTES.spectrum[levels[frame * bands + band]], at);
        image.data[at + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  /** Sizes, in CSS pixels. */
  #layout(context) {
    const width = this.host.clientWidth;
    const wide = width >= 620;
    const means = this.means();
    const order = means.map((_, l) => l).sort((a, b) => means[b] - means[a] || a - b).slice(0, MAX_ROWS);
    const row = wide ? 27 : 24;
    const size = wide ? 14 : 12.5;
    context.font = `600 ${size}px ${this.font}`;
    const names = order.map((l) => context.measureText(this.labels[l]).width);
    const left = Math.min(Math.max(40, ...names) + 12, width * 0.32);
    const right = width - (wide ? 150 : 46);
    const spectrum = this.spectrum ? (wide ? 150 : 100) : 0;
    const rows_top = spectrum > 0 ? spectrum + 12 : 0;
    const bottom = rows_top + row * Math.max(order.length, 10);
    return { width, wide, means, order, row, size, left, right, spectrum, rows_top, bottom, height: bottom + 30 };
  }

  /** Draws everything anew; called by itself whenever something changes. */
  draw() {
    const style = getComputedStyle(this.host);
    const tone = (name) => style.getPropertyValue(`--${name}`).trim() || "#888";
    this.font = style.fontFamily;
    const context = this.base.getContext("2d");
    const box = (this.box = this.#layout(context));
    if (box.width === 0) return;
    const ratio = devicePixelRatio || 1;
    for (const canvas of [this.base, this.over]) {
      canvas.width = Math.round(box.width * ratio);
      canvas.height = Math.round(box.height * ratio);
      canvas.style.width = `${box.width}px`;
      canvas.style.height = `${box.height}px`;
      canvas.getContext("2d").scale(ratio, ratio);
    }
    this.host.style.height = `${box.height}px`;
    const colours = { ink: tone("ink"), quiet: tone("quiet"), grid: tone("grid"), accent: tone("accent"), track: tone("track") };
    this.colours = colours;
    this.#drawSpectrum(context, box, colours);
    this.#drawRows(context, box, colours);
    this.#drawAxis(context, box, colours);
    this.#say();
    this.#drawOver();
  }

  #x(seconds) {
    const { left, right } = this.box;
    return left + (this.end > 0 ? seconds / this.end : 0) * (right - left);
  }

  #drawSpectrum(context, box, colours) {
    if (!this.spectrum) return;
    context.fillStyle = colours.track;
    context.fillRect(box.left, 0, box.right - box.left, box.spectrum);
    if (this.spectrogram) {
      const width = this.#x(this.spectrogram.seconds) - box.left;
      context.drawImage(this.spectrogram.image, box.left, 0, width, box.spectrum);
    }
    context.font = `12px ${this.font}`;
    context.fillStyle = colours.quiet;
    context.textAlign = "right";
    context.textBaseline = "alphabetic";
    context.fillText("high", box.left - 10, 11);
    context.fillText("low", box.left - 10, box.spectrum - 2);
  }

  #drawRows(context, box, colours) {
    const shades = this.theme.matches ? PALETTES.dark : PALETTES.light;
    context.textBaseline = "middle";
    box.order.forEach((label, r) => {
      const [top, middle] = [box.rows_top + r * box.row, box.rows_top + (r + 0.5) * box.row];
      context.fillStyle = colours.track;
      context.fillRect(box.left, top, box.right - box.left, box.row - 2);
      this.rows.forEach((row, i) => {
        const [from, to] = [this.#x(this.#border(i)), this.#x(this.#border(i + 1))];
        const shade = shades[Math.round(255 * Math.min(1, Math.max(0, row[label])))];
        context.fillStyle = `rgb(${shade})`;
        context.fillRect(from, top, to - from + 0.4, box.row - 2);
      });
      const strong = r < 3 && this.rows.length > 0;
      context.fillStyle = strong ? colours.ink : colours.quiet;
      context.font = `${strong ? 600 : 400} ${box.size}px ${this.font}`;
      context.textAlign = "right";
      context.fillText(this.labels[label], box.left - 10, middle, box.left - 12);
      if (!this.rows.length) return;
      context.fillText(percent(box.means[label]), box.width - 2, middle);
      if (box.wide) {
        const [x, room] = [box.right + 14, 72];
        context.fillStyle = colours.track;
        context.fillRect(x, middle - 4, room, 8);
        context.fillStyle = colours.accent;
        context.fillRect(x, middle - 4, Math.max(1, room * box.means[label]), 8);
      }
    });
  }

  #drawAxis(context, box, colours) {
    if (!(this.end > 0)) return;
    context.fillStyle = colours.quiet;
    context.textBaseline = "alphabetic";
    context.font = `12px ${this.font}`;
    for (const t of ticks(this.end, (box.right - box.left) / 55)) {
      const x = this.#x(t);
      context.fillRect(x - 0.5, box.bottom + 2, 1, 5);
      context.textAlign = t === 0 ? "left" : x > box.right - 14 ? "right" : "center";
      context.fillText(clock(t), x, box.bottom + 21);
    }
  }

  #drawOver() {
    const box = this.box;
    if (!box || !this.colours) return;
    const context = this.over.getContext("2d");
    context.clearRect(0, 0, box.width, box.height);
    if (!(this.end > 0)) return;
    const line = (seconds, colour, width) => {
      const x = this.#x(Math.min(seconds, this.end));
      // A halo keeps the line visible on the bright and on the dark parts of the picture.
      context.fillStyle = "rgba(0, 0, 0, 0.45)";
      context.fillRect(x - width / 2 - 1, 0, width + 2, box.bottom);
      context.fillStyle = colour;
      context.fillRect(x - width / 2, 0, width, box.bottom);
    };
    if (this.hover !== null) line(this.hover, "rgba(255, 255, 255, 0.6)", 1);
    line(this.cursor, "#fff", 2);
    const x = this.#x(Math.min(this.cursor, this.end));
    context.fillStyle = this.colours.accent;
    context.beginPath();
    context.arc(x, box.bottom + 4, 5, 0, 2 * Math.PI);
    context.fill();
  }

  #say() {
    this.host.setAttribute("aria-valuemax", this.end.toFixed(1));
    this.host.setAttribute("aria-valuenow", this.cursor.toFixed(1));
    this.host.setAttribute("aria-valuetext", this.describe(this.cursor));
  }

  #secondsAt(event) {
    const box = this.box;
    if (!box || !(this.end > 0)) return null;
    const x = event.clientX - this.host.getBoundingClientRect().left;
    if (x < box.left - 6 || x > box.right + 6) return null;
    const share = (x - box.left) / (box.right - box.left);
    return Math.min(1, Math.max(0, share)) * this.end;
  }

  #pointed(event) {
    const seconds = this.#secondsAt(event);
    this.hover = seconds;
    if (event.buttons & 1 && seconds !== null) this.#move(seconds);
    this.tip.hidden = seconds === null || !this.rows.length;
    if (!this.tip.hidden) this.#fillTip(event, seconds);
    this.#drawOver();
  }

  #fillTip(event, seconds) {
    const i = this.windowAt(seconds);
    const bounds = this.host.getBoundingClientRect();
    const y = event.clientY - bounds.top;
    const r = Math.floor((y - this.box.rows_top) / this.box.row);
    const head = document.createElement("b");
    const from = this.starts[i];
    head.textContent = `${clock(seconds)}  (window ${clock(from)}–${clock(from + this.patch_s)})`;
    const pointed = this.box.order[r];
    const shown = this.labels
      .map((label, l) => [label, this.rows[i][l], l])
      .sort((a, b) => b[1] - a[1])
      .filter(([, , l], place) => place < 3 || l === pointed);
    const lines = shown.map(([label, p, l]) => {
      const line = document.createElement("div");
      line.className = l === pointed ? "pointed" : "";
      line.textContent = `${label}  ${percent(p)}`;
      return line;
    });
    this.tip.replaceChildren(head, ...lines);
    const x = event.clientX - bounds.left;
    const width = this.tip.offsetWidth;
    const place = x + 16 + width > bounds.width ? x - 16 - width : x + 16;
    this.tip.style.left = `${Math.max(0, place)}px`;
    this.tip.style.top = `${Math.max(0, y - 20)}px`;
  }

  #chosen(event) {
    const seconds = this.#secondsAt(event);
    if (seconds === null || event.button !== 0) return;
    this.host.setPointerCapture?.(event.pointerId);
    this.#move(seconds);
  }

  #left() {
    this.hover = null;
    this.tip.hidden = true;
    this.#drawOver();
  }

  #move(seconds) {
    const to = Math.min(this.end, Math.max(0, seconds));
    this.setCursor(to);
    this.onSeek(to);
  }

  #key(event) {
    const step = Math.max(1, this.starts.length > 1 ? this.starts[1] - this.starts[0] : 1);
    const moves = {
      ArrowRight: this.cursor + step,
      ArrowUp: this.cursor + step,
      ArrowLeft: this.cursor - step,
      ArrowDown: this.cursor - step,
      PageUp: this.cursor + PAGE_S,
      PageDown: this.cursor - PAGE_S,
      Home: 0,
      End: this.end,
    };
    if (event.key in moves && this.end > 0) this.#move(moves[event.key]);
    else if (event.key === " ") this.onToggle();
    else return;
    event.preventDefault();
  }
}
