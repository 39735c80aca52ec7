"""Cuts up to eight 30-second clips from each music file below FOLDER/files into FOLDER/clips/music, and changes
the train songs that DATASET has audio of in twelve ways each into FOLDER/clips/train.

    python3 bench/transfer_clips.py FOLDER DATASET [EVERY]

Files are taken once, by their content, in the order of their hash, so that the same packages give
the same clips. Short sounds (under 12 s or 250 kB) are effects, not music. What is changed is played faster or slower,
through another room or receiver, or under other music; validation and test songs are never touched.
With EVERY, each so many-th clip of music is changed in one way as well, and sent through a codec, into FOLDER/clips/copies: what
docs/results/default-sweep.md tried. The default model was made without.
"""

import hashlib
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

KINDS = ("ogg", "mp3", "opus", "flac", "oga", "wav", "xm", "mod", "it", "s3m")
RATE, LENGTH_S, SHORTEST_S, SMALLEST = 22_050, 30.2, 12.0, 250_000
MOST, CHANGES = 8, 12


def duration(path):
    """Seconds, 0 where nobody can tell."""
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path]
    try:
        return float(subprocess.run(command, capture_output=True, text=True, timeout=20).stdout)
    except (ValueError, subprocess.TimeoutExpired):
        return 0.0


def starts(seconds):
    """Where clips begin: spread over the file, at most MOST of them, none over another."""
    count = max(1, min(MOST, int(seconds / LENGTH_S)))
    return [max(0.0, (i + 0.5) / count * seconds - LENGTH_S / 2) for i in range(count)]


def changed(rng):
    """What ffmpeg does to a train song."""
    filters = [f"asetrate={RATE}*{rng.uniform(0.85, 1.18):.3f},aresample={RATE}"]
    if rng.random() < 0.6:
        filters.append(f"equalizer=f={rng.choice([120, 400, 1500, 4000])}:t=o:w=2:g={rng.uniform(-9, 9):.1f}")
    if rng.random() < 0.4:
        filters.append(f"highpass=f={rng.choice([60, 150, 250])},lowpass=f={rng.choice([3500, 5000, 7000])}")
    if rng.random() < 0.3:
        filters.append("aecho=0.8:0.7:40|70:0.3|0.2")
    return ",".join(filters)


def encoded(path, out, rng):
    """Encodes a clip as somebody's music may be, and decodes it again."""
    # Vorbis twice, so twice as often: of all codecs it moves answers the farthest.
    codec, ending, choices = rng.choice([
        ("libvorbis", "ogg", [["-q:a", str(q)] for q in (0, 2, 3, 4, 6)]),
        ("libvorbis", "ogg", [["-q:a", str(q)] for q in (0, 2, 3, 4, 6)]),
        ("libmp3lame", "mp3", [["-b:a", f"{b}k"] for b in (48, 64, 128)]),
        ("libopus", "opus", [["-b:a", f"{b}k"] for b in (32, 64, 128)]),
    ])
    rate = 48_000 if ending == "opus" else rng.choice([22_050, 44_100, 48_000])
    small = f"{out}.{ending}"
    command = ["ffmpeg", "-v", "error", "-y", "-i", path, "-ac", rng.choice("12"), "-ar", str(rate), "-c:a", codec]
    subprocess.run(command + rng.choice(choices) + [small], capture_output=True, timeout=120)
    command = ["ffmpeg", "-v", "error", "-y", "-i", small, "-ac", "1", "-ar", str(RATE), out]
    subprocess.run(command, capture_output=True, timeout=120)
    for passed in filter(os.path.exists, (path, small)):
        os.remove(passed)


def train_songs(dataset):
    """The audio of train songs, by their ids."""
    with open(os.path.join(dataset, "splits", "fault_filtered_train.txt")) as file:
        ids = file.read().split()
    paths = [os.path.join(dataset, "audio", i.split(".")[0], f"{i}.flac") for i in ids]
    return [p for p in paths if os.path.exists(p)]


def main(folder, dataset, every):
    found = {}
    for place, _, names in os.walk(os.path.join(folder, "files")):
        for name in names:
            path = os.path.join(place, name)
            if name.lower().rsplit(".", 1)[-1] in KINDS and os.path.getsize(path) >= SMALLEST:
                with open(path, "rb") as file:
                    found.setdefault(hashlib.sha256(file.read()).hexdigest(), path)
    files = [found[key] for key in sorted(found)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        lengths = list(pool.map(duration, files))
    jobs = [(f, s) for f, d in zip(files, lengths) if d >= SHORTEST_S for s in starts(d)]

    def music(number):
        return os.path.join(folder, "clips", "music", f"music.{number:05}.wav")

    def cut(job):
        number, (path, start) = job
        clip = music(number)
        command = ["ffmpeg", "-v", "error", "-y", "-ss", f"{start:.2f}", "-t", str(LENGTH_S), "-i", path]
        command += ["-ac", "1", "-ar", str(RATE), clip]
        subprocess.run(command, capture_output=True, timeout=120)
        return f"music.{number:05}\t{start:.2f}\t{os.path.relpath(path, folder)}\n"

    with ThreadPoolExecutor(os.cpu_count()) as pool, open(os.path.join(folder, "clips.txt"), "w") as out:
        out.writelines(pool.map(cut, enumerate(jobs)))
    print(f"{len(files)} files, {len(jobs)} clips")

    def change(path, clip, rng):
        command = ["ffmpeg", "-v", "error", "-y", "-i", path]
        graph = f"[0:a]{changed(rng)}[a]"
        if rng.random() < 0.5:
            command += ["-i", music(rng.randrange(len(jobs)))]
            graph += f";[1:a]volume={rng.uniform(-14, -3):.1f}dB[b];[a][b]amix=duration=first:normalize=0,volume=-3dB[a]"
        command += ["-filter_complex", graph, "-map", "[a]", "-ac", "1", "-ar", str(RATE), "-t", str(LENGTH_S), clip]
        subprocess.run(command, capture_output=True, timeout=120)

    def change_song(job):
        number, path = job
        change(path, os.path.join(folder, "clips", "train", f"train.{number:05}.wav"), random.Random(number))

    def change_clip(number):
        rng = random.Random(f"copy {number}")
        clip = os.path.join(folder, "clips", "copies", f"copies.{number:05}.wav")
        change(music(number), f"{clip}.wav", rng)
        encoded(f"{clip}.wav", clip, rng)

    songs = [path for path in train_songs(dataset) for _ in range(CHANGES)]
    copies = range(0, len(jobs), every) if every else []
    if every:
        os.makedirs(os.path.join(folder, "clips", "copies"), exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(change_song, enumerate(songs)))
        list(pool.map(change_clip, copies))
    print(f"{len(songs)} changed train songs, {len(copies)} changed clips")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
