"""Cuts up to two 30-second clips from each music file below FOLDER/files into FOLDER/clips/music.

    python3 bench/transfer_clips.py FOLDER

Files are taken once, by their content, in the order of their hash, so that the same packages give
the same clips. Short sounds (under 12 s or 250 kB) are effects, not music.
"""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

KINDS = ("ogg", "mp3", "opus", "flac", "oga", "wav", "xm", "mod", "it", "s3m")
RATE, LENGTH_S, SHORTEST_S, SMALLEST = 22_050, 30.2, 12.0, 250_000


def duration(path):
    """Seconds, 0 where nobody can tell."""
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path]
    try:
        return float(subprocess.run(command, capture_output=True, text=True, timeout=20).stdout)
    except (ValueError, subprocess.TimeoutExpired):
        return 0.0


def starts(seconds):
    """Where clips begin: one of a short file, else at a quarter and at three quarters."""
    if seconds < 2 * LENGTH_S:
        return [0.0]
    return [max(0.0, part * seconds - LENGTH_S / 2) for part in (0.25, 0.75)]


def main(folder):
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

    def cut(job):
        number, (path, start) = job
        clip = os.path.join(folder, "clips", "music", f"music.{number:05}.wav")
        command = ["ffmpeg", "-v", "error", "-y", "-ss", f"{start:.2f}", "-t", str(LENGTH_S), "-i", path]
        command += ["-ac", "1", "-ar", str(RATE), clip]
        subprocess.run(command, capture_output=True, timeout=120)
        return f"music.{number:05}\t{start:.2f}\t{os.path.relpath(path, folder)}\n"

    with ThreadPoolExecutor(os.cpu_count()) as pool, open(os.path.join(folder, "clips.txt"), "w") as out:
        out.writelines(pool.map(cut, enumerate(jobs)))
    print(f"{len(files)} files, {len(jobs)} clips")


if __name__ == "__main__":
    main(sys.argv[1])
