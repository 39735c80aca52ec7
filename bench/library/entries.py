"""A re-scan, stats and similar over 100,000 entries.

    python bench/library/entries.py target/release/taggram SONG.mp3 FOLDER [100000]

Makes 100,000 names (hard links of copies of SONG, so that it needs no room) in one folder, scans them once —
all but the first are recognised by their audio — and times what follows.
"""

import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

taggram, song, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
count = int(sys.argv[4]) if len(sys.argv) > 4 else 100_000
music, index = folder / "music", folder / "index.sqlite"
music.mkdir(parents=True)
# A file has at most 65,000 names on ext4; short files keep the first scan short.
short = song.read_bytes()[: 500_000]
for i in range(count):
    if i % 50_000 == 0:
        source = folder / f"source-{i}.mp3"
        source.write_bytes(short)
    os.link(source, music / f"{i:06} a song of some length.mp3")


def timed(name, *command):
    before = time.perf_counter()
    done = subprocess.run([taggram, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = (done.stderr.strip().splitlines() or [""])[-1]
    print(f"{name}: {time.perf_counter() - before:.2f} s · {said}", flush=True)


timed("first scan", "scan", str(music), "--db", str(index))
timed("no change", "scan", str(music), "--db", str(index))
timed("no change", "scan", str(music), "--db", str(index))
timed("similar", "similar", str(music / "000000 a song of some length.mp3"), "--db", str(index))
timed("stats", "stats", "--db", str(index))
timed("export csv", "export", "--db", str(index), "--format", "csv")
print(f"index: {index.stat().st_size / count:.0f} bytes an entry")
print(f"memory at most {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")
shutil.rmtree(folder)
