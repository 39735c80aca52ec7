#!/usr/bin/env python3
"""How long `taggram classify` takes, as a whole process, and how much memory it needs.

    cargo build --release -p taggram-cli
    python3 bench/speed/run.py --data ../shared/data/gtzan/audio [--binary target/release/taggram]

Prints a Markdown table. Nothing else should run meanwhile. Only the standard library is needed.
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import tempfile
import time
import wave
from pathlib import Path


def run(command, affinity=None):
    """Wall seconds, CPU seconds, peak memory in MiB and output of one process."""
    start = time.perf_counter()
    pre = (lambda: os.sched_setaffinity(0, affinity)) if affinity else None
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=pre)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"{command} ended with {status}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output.decode()


def median(command, runs, affinity=None):
    results = [run(command, affinity) for _ in range(runs + 1)][1:]
    return [statistics.median(r[i] for r in results) for i in range(3)] + [results[0][3]]


def long_wav(path, hours, rate=22050):
    """A valid WAV of silence; a sparse file, so that it costs no disk."""
    samples = int(hours * 3600 * rate)
    with open(path, "wb") as f:
        f.write(b"RIFF" + struct.pack("<I", 36 + 2 * samples) + b"WAVEfmt ")
        f.write(struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16))
        f.write(b"data" + struct.pack("<I", 2 * samples))
        f.truncate(44 + 2 * samples)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of genre folders of 30 s clips")
    parser.add_argument("--binary", default="target/release/taggram")
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    clips = sorted(args.data.rglob("*.flac"))
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.wav"
        samples = subprocess.run(
            [args.binary, "convert", str(clips[0]), "--out", folder, "--to", "wav"], capture_output=True
        )
        if samples.returncode == 0:
            os.rename(Path(folder) / (clips[0].stem + ".wav"), clip)
        else:
            raise SystemExit(samples.stderr.decode())
        with wave.open(str(clip)) as w:
            seconds = w.getnframes() / w.getframerate()
        classify = [args.binary, "classify", "--format", "json"]
        one = {0}
        wall, cpu, memory, output = median(classify + [str(clip)], args.runs, one)
        inside = json.loads(output)["elapsed_ms"]
        print("| what | wall | CPU | peak memory |\n|---|---|---|---|")
        print(f"| a wav of {seconds:.0f} s, process start to answer, one core | {wall * 1e3:.0f} ms | {cpu * 1e3:.0f} ms | {memory:.0f} MiB |")
        print(f"| … of which the song itself (decode to verdict) | {inside:.1f} ms | | |")
        wall, cpu, memory, _ = median(classify + [str(args.data), "--jobs", "1"], 3)
        print(f"| {len(clips)} flac clips, one job | {wall:.2f} s | {cpu:.2f} s | {memory:.0f} MiB |")
        single = wall
        wall, cpu, memory, _ = median(classify + [str(args.data)], 3)
        print(f"| {len(clips)} flac clips, {os.cpu_count()} cores ({single / wall:.2f} × as fast) | {wall:.2f} s | {cpu:.2f} s | {memory:.0f} MiB |")
        long_wav(Path(folder) / "long.wav", 10)
        wall, cpu, memory, output = run(classify + [str(Path(folder) / "long.wav")])
        hours = json.loads(output)["duration_s"] / 3600
        print(f"| a wav of {hours:.0f} hours | {wall:.1f} s | {cpu:.1f} s | {memory:.0f} MiB |")


if __name__ == "__main__":
    main()
