"""One worker on one core, two on two, and how fast jobs are submitted.

    python3 bench/fleet/run.py target/release/taggram LIBRARY [400]

LIBRARY is a folder of mp3 files (bench/library/make.py); so many of its tracks are heard twice over. A nats-server and a
folder for the result are started and made for the run. Workers wait before the jobs come; the time is from then to
the last part.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

taggram, library = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
count = int(sys.argv[3]) if len(sys.argv) > 3 else 400
BATCH = 10
CORES = sorted(os.sched_getaffinity(0))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def once(work, queue, workers, listing):
    run, out = f"workers{workers}", work / f"out{workers}"
    common = [str(taggram), "worker", "--queue", queue, "--run", run, "--out", str(out), "--jobs", "1"]
    processes = [
        subprocess.Popen(["taskset", "-c", str(CORES[i]), *common], stderr=subprocess.PIPE, text=True)
        for i in range(workers)
    ]
    for process in processes:
        process.stderr.readline()  # "waiting for jobs"
    begun = time.time()
    submit = [str(taggram), "submit", "--queue", queue, "--run", run, "--batch", str(BATCH), str(listing)]
    subprocess.run(submit, check=True, stderr=subprocess.DEVNULL)
    parts = []
    while len(parts) < -(-count // BATCH):
        time.sleep(0.2)
        parts = list((out / run).glob("*.parquet")) if (out / run).exists() else []
    took = max(part.stat().st_mtime for part in parts) - begun
    cpu = 0.0
    for process in processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        process.terminate()
        process.wait()
    size = sum(part.stat().st_size for part in parts) / count
    print(
        f"{workers} worker{'s' if workers > 1 else ''}: {took:.2f} s, {count / took:.1f} tracks/s, "
        f"{cpu / count * 1e3:.1f} ms of CPU a track, {size:.0f} bytes of result a track",
        flush=True,
    )
    return took


def submitting(work, queue, tracks):
    listing = work / "many.txt"
    with listing.open("w") as lines:
        lines.writelines(f"s3://bucket/catalogue/{i // 1000:06}/{i:09}.mp3\n" for i in range(tracks))
    begun = time.perf_counter()
    subprocess.run([str(taggram), "submit", "--queue", queue, "--run", "many", str(listing)], check=True, stderr=subprocess.DEVNULL)
    took = time.perf_counter() - begun
    stored = sum(f.stat().st_size for f in (work / "broker").rglob("*") if f.is_file())
    print(f"submit: {tracks} tracks in {took:.2f} s, {tracks / took:.0f} tracks/s, {stored / tracks:.0f} bytes a track at the broker")


def main():
    work = Path(tempfile.mkdtemp())
    port = free_port()
    broker = subprocess.Popen(
        ["nats-server", "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", str(work / "broker")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(1)
        queue = f"nats://127.0.0.1:{port}"
        listing = work / "tracks.txt"
        tracks = sorted(library.rglob("*.mp3"))[:: max(1, sum(1 for _ in library.rglob("*.mp3")) // count)][:count]
        assert len(tracks) == count, f"{library} holds {len(tracks)} tracks"
        for track in tracks:  # Into the page cache: the disk is not what is measured.
            track.read_bytes()
        listing.write_text("".join(f"{track.resolve()}\n" for track in tracks))
        one = once(work, queue, 1, listing)
        two = once(work, queue, 2, listing)
        print(f"two on two cores: {one / two:.2f} × one")
        submitting(work, queue, 1_000_000)
        print(json.dumps({"one_s": one, "two_s": two, "ratio": one / two, "tracks": count}))
    finally:
        broker.kill()
        broker.wait()
        shutil.rmtree(work)


main()
