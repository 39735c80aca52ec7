#!/usr/bin/env python3
"""How long musicnn takes for 30 s of music: the Python package, ONNX Runtime and taggram.

    pip install musicnn==0.1.0 tensorflow-cpu==2.15.1 librosa==0.10.2 numpy==1.26.4 onnxruntime
    pip download --no-deps musicnn==0.1.0
    python bench/musicnn/run.py --wheel musicnn-0.1.0-py3-none-any.whl [AUDIO]

Everything from the same log-mel map to the tag probabilities of its 28 patches (187 frames
every 61), in one run, on the same number of threads, each after a warm-up:

- `package`: the package's own loop — one patch at a time, its graph and session kept, which is
  kinder than the package, which builds both for every song;
- `package, one batch`: the same graph given all patches at once;
- `extractor()`: the package's own function from the audio file on, once (for scale only);
- `onnxruntime`: taggram's ONNX export of the network, one patch at a time, and all at once;
- `taggram`: the whole song at once, and patch by patch through the engine.

The rounds of all go in turns, so that a busy machine is busy for all; the fastest of each counts,
the median is shown beside it.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATCH, HOP, BANDS = 187, 61, 96


def log_mel(audio):
    """The package's input: of a file, or of 30 s of noise with chords."""
    import librosa
    import numpy as np

    if audio:
        samples, _ = librosa.load(audio, sr=16_000, duration=30)
    else:
        t = np.arange(30 * 16_000) / 16_000
        samples = 0.1 * np.random.default_rng(1).standard_normal(len(t)) * np.exp(-4 * (t % 0.5))
        for i, f in enumerate([220, 277, 330, 440]):
            samples = samples + 0.1 * np.sin(2 * np.pi * f * 2 ** (np.floor(t) % 5 / 12) * t + i)
    mel = librosa.feature.melspectrogram(
        y=samples.astype(np.float32), sr=16_000, hop_length=256, n_fft=512, n_mels=BANDS
    )
    power = mel.T.astype(np.float16).astype(np.float32)
    return np.log10(10_000 * power + 1).astype(np.float32)


def package(patches, threads):
    """Functions that run the package's graph, by name."""
    import musicnn
    import tensorflow as tf
    from musicnn import models

    tf.compat.v1.disable_eager_execution()
    tf.compat.v1.reset_default_graph()
    with tf.name_scope("model"):
        x = tf.compat.v1.placeholder(tf.float32, [None, PATCH, BANDS])
        training = tf.compat.v1.placeholder(tf.bool)
        tags = tf.nn.sigmoid(models.define_model(x, training, "MSD_musicnn", 50)[0])
    session = tf.compat.v1.Session(
        config=tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1
        )
    )
    tf.compat.v1.train.Saver().restore(
        session, f"{os.path.dirname(musicnn.__file__)}/MSD_musicnn/"
    )

    def run(batch):
        return session.run(tags, {x: batch, training: False})

    return {
        "package": lambda: [run(patches[i : i + 1])[0] for i in range(len(patches))],
        "package, one batch": lambda: run(patches),
    }


def onnx(path, patches, threads):
    """Functions that run the exported network in ONNX Runtime, by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would take time from whoever runs next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = patches[:, None]

    def run(batch):
        return session.run(None, {"input": batch})[0]

    return {
        "onnxruntime": lambda: [run(images[i : i + 1])[0] for i in range(len(images))],
        "onnxruntime, one batch": lambda: run(images),
    }


class Taggram:
    """The example program, told over its standard input when to run what."""

    def __init__(self, program, wheel, mel, folder):
        self.process = subprocess.Popen(
            [program, wheel, mel, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def milliseconds(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def extractor(audio):
    """Seconds of the package's own function, from an audio file to tags and features."""
    import contextlib
    import io

    from musicnn.extractor import extractor

    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        extractor(audio, model="MSD_musicnn", input_overlap=1, extract_features=True)
    return time.perf_counter() - start


def main():
    import numpy as np

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wheel", required=True, type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--program", help="a built musicnn_speed, instead of building it")
    parser.add_argument("audio", nargs="?")
    arguments = parser.parse_args()

    program = arguments.program
    if not program:
        build = ["cargo", "build", "--release", "-p", "taggram-import", "--example", "musicnn_speed"]
        subprocess.run(build, cwd=ROOT, check=True)
        target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
        program = pathlib.Path(target) / "release/examples/musicnn_speed"

    mel = log_mel(arguments.audio)
    patches = np.stack([mel[s : s + PATCH] for s in range(0, len(mel) - PATCH + 1, HOP)])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "log_mel.f32"
        mel.tofile(path)
        taggram = Taggram(program, arguments.wheel, path, folder)
        for threads in arguments.threads:
            runs = package(patches, threads)
            runs |= onnx(pathlib.Path(folder) / "model.onnx", patches, threads)
            answers = {name: np.array(run()) for name, run in runs.items()}
            times = {name: [] for name in [*runs, "taggram", "taggram, patch by patch"]}
            for _ in range(arguments.rounds):
                for name, run in runs.items():
                    start = time.perf_counter()
                    run()
                    times[name].append(1e3 * (time.perf_counter() - start))
                times["taggram"].append(taggram.milliseconds(f"song {threads}"))
                if threads == 1:
                    times["taggram, patch by patch"].append(taggram.milliseconds("patches"))
            ours = np.fromfile(pathlib.Path(folder) / "tags.f32", np.float32).reshape(-1, 50)
            worst = {name: float(abs(ours - a).max()) for name, a in answers.items()}
            best = {name: min(t) for name, t in times.items() if t}
            print(f"\n{len(patches)} patches, {threads} thread(s), {arguments.rounds} rounds\n")
            print("| | fastest, ms | median, ms | × taggram | tags differ by |\n|---|---|---|---|---|")
            for name, value in best.items():
                differ = f"{worst[name]:.1e}" if name in worst else ""
                print(
                    f"| {name} | {value:.1f} | {statistics.median(times[name]):.1f} "
                    f"| {value / best['taggram']:.1f} | {differ} |"
                )
    if arguments.audio:
        print(f"\nextractor(), audio to tags: {1e3 * extractor(arguments.audio):.0f} ms")


if __name__ == "__main__":
    main()
