// The microphone as a WAV file: mono, 16 bit, at the sound card's rate.

/** Samples −1…1, in blocks, as a WAV file; the first `skip` samples are left out. */
export function wav(blocks, rate, skip = 0) {
  const count = blocks.reduce((sum, block) => sum + block.length, -skip);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, letters) => [...letters].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const block of blocks) {
    const from = Math.min(skip, block.length);
    skip -= from;
    for (const sample of block.subarray(from)) {
      view.setInt16(at, Math.round(32767 * Math.min(1, Math.max(-1, sample))), true);
      at += 2;
    }
  }
  return new File([view], "recording.wav", { type: "audio/wav" });
}

/**
 * Records until `stop()` is called, which gives the file; `since(seconds)` gives what was recorded from
 * then until now. `onTime(seconds)` tells how long it is, and so does `seconds()`.
 */
export async function record(onTime) {
  const stream = await navigator.mediaDevices.getUserMedia({
    // What telephones do to voices would change the music.
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  const source = context.createMediaStreamSource(stream);
  // An audio worklet would have to be a file of its own for the same few lines.
  const tap = context.createScriptProcessor(4096, 1, 1);
  const blocks = [];
  const seconds = () => (blocks.length * 4096) / context.sampleRate;
  tap.onaudioprocess = (event) => {
    blocks.push(event.inputBuffer.getChannelData(0).slice());
    onTime(seconds());
  };
  source.connect(tap);
  tap.connect(context.destination);
  return {
    seconds,
    since: (from) => wav(blocks, context.sampleRate, Math.round(from * context.sampleRate)),
    async stop() {
      tap.disconnect();
      source.disconnect();
      stream.getTracks().forEach((track) => track.stop());
      const { sampleRate } = context;
      await context.close();
      return wav(blocks, sampleRate);
    },
  };
}
