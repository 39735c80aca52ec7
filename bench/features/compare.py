#!/usr/bin/env python3
"""Compares every descriptor with librosa on the real clips, and the 57 columns with the published table.

    python bench/features/compare.py [CACHE] > docs/results/features.md

Needs TAGGRAM_DATA and some minutes; librosa's answers are kept in the folder CACHE, if one is named.

`relative` is |found - expected| / |expected| of a clip's mean (or variance, or frame), the worst over
the clips. `scaled` divides by the larger of |expected| and the deviation of the series over the clip: means
that lie near zero (slopes, tonnetz, samples) have no meaningful relative error.
"""
import csv
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import librosa
import numpy as np

from reference import DATA, RATE, clips, spectral, tool


def rows(program, name, paths):
    text = subprocess.run([program, "rows", name, *paths], check=True, capture_output=True, text=True).stdout
    lines = list(csv.reader(text.splitlines()))
    return lines[0], np.array(lines[1:], dtype=float)


def reference(track, y, cache):
    """librosa's frame-level series, moments of the separated samples, tempo and number of beats."""
    kept = cache and Path(cache) / f"{track}.pickle"
    if kept and kept.exists():
        return pickle.loads(kept.read_bytes())
    harmony, perceptr = (part.astype(np.float64) for part in librosa.effects.hpss(y))
    tempo, beats = librosa.beat.beat_track(y=y, sr=RATE)
    answer = {
        "frames": spectral(y),
        "harmony": (harmony.mean(), harmony.var()),
        "perceptr": (perceptr.mean(), perceptr.var()),
        "tempo": float(np.atleast_1d(tempo)[0]),
        "beats": len(beats),
    }
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps(answer))
    return answer


def family(column):
    return column.rstrip("0123456789")


def main():
    program = tool()
    cache = sys.argv[1] if len(sys.argv) > 1 else None
    worst = {}

    def note(name, what, found, expected, scale):
        found, expected = np.float64(found), np.float64(expected)
        error = np.abs(found - expected)
        with np.errstate(divide="ignore", invalid="ignore"):
            plain = np.nan_to_num(error / np.abs(expected), nan=0.0)
            scaled = np.nan_to_num(error / np.maximum(np.abs(expected), scale), nan=0.0)
        entry = worst.setdefault(name, {})
        for kind, value in (("relative", plain), ("scaled", scaled)):
            key = (what, kind)
            entry[key] = max(entry.get(key, 0.0), float(np.max(value)))

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        songs = clips(folder)
        paths = [path for _, _, path in songs]
        subprocess.run([program, "frames", "all", out, *paths], check=True)
        columns, table = rows(program, "gtzan57", paths)
        all_columns, all_table = rows(program, "all", paths)
        same_tempo, same_beats, beat_counts = 0, 0, 0
        for i, (track, y, path) in enumerate(songs):
            answer = reference(track, y, cache)
            expected = answer["frames"]
            frames = np.fromfile(f"{out}/{track}", dtype=np.float32).reshape(len(expected), -1)
            for (name, e), found in zip(expected.items(), frames):
                e = e.astype(np.float64)
                note(family(name), "frame", found, e, e.std())
                note(family(name), "mean", found.mean(dtype=float), e.mean(), e.std())
                note(family(name), "variance", found.var(dtype=float), e.var(), 0)
            for name in ("harmony", "perceptr"):
                at = columns.index(f"{name}_mean")
                mean, variance = answer[name]
                note(name, "mean", table[i, at], mean, np.sqrt(variance))
                note(name, "variance", table[i, at + 1], variance, 0)
            same_tempo += abs(table[i, columns.index("tempo")] - answer["tempo"]) < 1e-6
            same_beats += all_table[i, all_columns.index("beat_count")] == answer["beats"]
            print(f"\r{i + 1}/{len(songs)}", end="", file=sys.stderr)

    print("# Descriptors against librosa\n")
    print("Made by `python bench/features/compare.py > docs/results/features.md`: the real clips of GTZAN that are at hand")
    print(f"({len(songs)} of 30 s, 22,050 Hz), librosa {librosa.__version__}, numpy {np.__version__}.\n")
    print("## Worst deviation over all clips\n")
    print("*relative* is |ours − librosa's| / |librosa's|. *scaled* divides by the larger of |librosa's| and the")
    print("standard deviation of the series over the clip, since a mean near zero has no meaningful relative error.\n")
    print("| descriptor | mean, relative | mean, scaled | variance, relative | frames, scaled |")
    print("|---|---|---|---|---|")
    for name, e in worst.items():
        cells = [("mean", "relative"), ("mean", "scaled"), ("variance", "relative"), ("frame", "scaled")]
        print(f"| {name} | " + " | ".join(f"{e[c]:.1e}" if c in e else "–" for c in cells) + " |")
    print(f"\nTempo: the same value on {same_tempo} of {len(songs)} clips. Number of beats: the same on {same_beats}.\n")

    print("Where the plain relative error of a mean exceeds 1e-4 (tonnetz, slopes, harmony) that mean is thousands of times smaller")
    print("than the values it is the mean of, and librosa's own float32 rounding is as large. A roll-off is a whole bin, 10.8 Hz: on")
    print("single frames rounding decides between two neighbours. Tonnetz is librosa's `tonnetz(chroma=chroma_stft)`, not its")
    print("default over `chroma_cqt`. Decoding and resampling are not part of this comparison: both get the same samples.\n")

    with open(DATA / "features_30_sec.csv") as file:
        published = {row["filename"].removesuffix(".wav"): row for row in csv.DictReader(file)}
    theirs = np.array([[float(published[track][c]) for c in columns] for track, _, _ in songs])
    print("## Correlation with the published table\n")
    print("Pearson's correlation over the clips, column by column, with `features_30_sec.csv`, which others computed with an")
    print("older librosa; and the median of |ours − theirs| / |theirs|. `harmony` and `perceptr` are the samples of `effects.hpss`.\n")
    print("| column | correlation | median relative difference |")
    print("|---|---|---|")
    for k, column in enumerate(columns):
        r = np.corrcoef(table[:, k], theirs[:, k])[0, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = np.nanmedian(np.abs(table[:, k] - theirs[:, k]) / np.abs(theirs[:, k]))
        print(f"| {column} | {r:.4f} | {difference:.1e} |")


if __name__ == "__main__":
    main()
