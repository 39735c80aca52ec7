#!/usr/bin/env python3
"""What it is worth that the listener's device classifies: one script, every number of
docs/results/client-driven.md.

    cargo build --release --bin taggram
    bench/client-driven/run.py --program target/release/taggram --songs FOLDER --out docs/results/client-driven.md

FOLDER holds songs (any audio files), for early stopping. Needs ffmpeg, curl, Python 3 and Linux (/proc);
for the quota of a tenth of a core a cgroup that may be written, else the client is stopped nine tenths
of the time by signals. Parts: --only listeners,trips,early,device. The file of --out is made from
results.md beside this script if it is not there; its text between <!-- PART --> and <!-- /PART --> is
replaced. Times mean something on an idle machine alone.
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SONG_S = 240


def make_song(path, seconds, *codec):
    """Something like music: chords that change, and noise."""
    source = (
        "aevalsrc=0.3*sin(2*PI*220*t)+0.2*sin(2*PI*(330+55*floor(t/2))*t)+0.1*random(0)"
        f"|0.3*sin(2*PI*221*t)+0.1*random(1):s=44100:d={seconds}"
    )
    command = ["ffmpeg", "-nostdin", "-y", "-loglevel", "error", "-f", "lavfi", "-i", source, *codec, str(path)]
    subprocess.run(command, check=True)


def cpu_s(pid):
    """Seconds of processor time of all threads of a process, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass
    return total / 1e9


class Server:
    """A server of the program's, and what it costs."""

    def __init__(self, program, *arguments):
        self.process = subprocess.Popen(
            [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        # Each server says where it is, one way or another; what it says later is not read.
        said = ""
        while "http://" not in said:
            said = self.process.stdout.readline()
            if not said:
                raise SystemExit(f"{arguments}: the server did not start")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        self.url = said[said.find("http://"):].split()[0].rstrip("/")

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def stats(self):
        return json.loads(self.get("/stats.json"))

    def cpu_s(self):
        return cpu_s(self.process.pid)

    def close(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)


def origin(program, folder):
    server = Server(program, "hls", "origin", str(folder), "--addr", "127.0.0.1:0", "--no-live")
    tracks = json.loads(server.get("/index.json"))["tracks"]
    return server, {t["name"]: t["url"] for t in tracks}


def listen(program, url, *more):
    """Hears a stream; gives the record, processor seconds, peak memory in MiB, seconds."""
    start = time.monotonic()
    process = subprocess.Popen(
        [program, "hls", "listen", url, "--format", "json", *more],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    lines = process.stdout.read().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or not lines:
        raise SystemExit(f"listening to {url} failed: {lines[-1:]}")
    return {
        "record": json.loads(lines[-1]),
        "windows": [json.loads(line) for line in lines[:-1]],
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "rss_mib": usage.ru_maxrss / 1024,
        "wall_s": time.monotonic() - start,
    }


def listeners(program, folder, most):
    """Cost to the server per listener: clients that classify, and uploads that it classifies."""
    rows = []
    song = folder / "song.mp3"
    counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= most]
    server, tracks = origin(program, folder)
    url = server.url + tracks["song.mp3"]
    before = server.cpu_s()
    listen(program, url)
    cut_s = server.cpu_s() - before
    hls = {}
    for n in counts:
        cpu, stats = server.cpu_s(), server.stats()
        start = time.monotonic()
        with ThreadPoolExecutor(n) as pool:
            list(pool.map(lambda _: listen(program, url), range(n)))
        wall = time.monotonic() - start
        after = server.stats()
        hls[n] = {
            "cpu_ms": (server.cpu_s() - cpu) / n * 1e3,
            # The question for these numbers is a request on a connection of its own.
            "connections": (after["connections"] - stats["connections"] - 1) / n,
            "requests": (after["requests"] - stats["requests"] - 1) / n,
            "out_kib": (after["bytes_sent"] - stats["bytes_sent"]) / n / 1024,
            "in_kib": (after["bytes_received"] - stats["bytes_received"]) / n / 1024,
            "wall_s": wall,
        }
    server.close()
    upload, how = uploads(program, song, counts)
    size = song.stat().st_size
    rows.append(f"A song of {SONG_S} s, MP3 at 128 kbit/s, {size / 1024:.0f} KiB. Cutting it, once for all listeners: {cut_s * 1e3:.0f} ms of processor time with the first listener.\n")
    rows.append(how + "\n")
    rows.append("| listeners | origin CPU, ms each | connections each | requests each | KiB out each | KiB in each | classifying server: CPU, ms each | KiB in each | server CPU ratio |")
    rows.append("|---|---|---|---|---|---|---|---|---|")
    for n in counts:
        h, u = hls[n], upload[n]
        rows.append(
            f"| {n} | {h['cpu_ms']:.1f} | {h['connections']:.2f} | {h['requests']:.0f} | {h['out_kib']:.0f} | {h['in_kib']:.1f} "
            f"| {u['cpu_ms']:.0f} | {u['in_kib']:.0f} | {u['cpu_ms'] / h['cpu_ms']:.0f} × |"
        )
    return rows


def uploads(program, song, counts):
    """Cost to a server that classifies each upload, per listener; and how that was had."""
    size = song.stat().st_size / 1024
    result = {}
    if subprocess.run([program, "serve", "--help"], capture_output=True).returncode != 0:
        # A program without the service: what the same engine takes for the file, process and all.
        for n in counts:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            for _ in range(n):
                subprocess.run([program, "classify", str(song)], check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            result[n] = {"cpu_ms": cpu / n * 1e3, "in_kib": size}
        return result, "The classifying server stands for `taggram classify` of the upload, without any HTTP."
    server = Server(program, "serve", "--addr", "127.0.0.1:0")

    def send(_):
        answer = subprocess.run(
            ["curl", "-sS", "-F", f"audio=@{song}", server.url + "/"], capture_output=True, text=True
        )
        if "success" not in answer.stdout:
            raise SystemExit(f"an upload failed: {answer.stdout} {answer.stderr}")

    send(0)
    for n in counts:
        cpu = server.cpu_s()
        # No more at once than a server lets wait; each is one listener.
        with ThreadPoolExecutor(min(n, 4)) as pool:
            list(pool.map(send, range(n)))
        result[n] = {"cpu_ms": (server.cpu_s() - cpu) / n * 1e3, "in_kib": size}
    server.close()
    return result, "The classifying server is `taggram serve`, asked with `curl -F audio=@song.mp3`."


async def delaying(port, delay_s, ready, stop):
    """A proxy that adds `delay_s` to every round trip: half of it to each direction, and a whole
    one to the making of a connection, as a distant server would."""
    connections = 0

    async def pump(reader, writer):
        queue = asyncio.Queue()
        loop = asyncio.get_running_loop()

        async def send():
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0, due - loop.time()))
                if not data:
                    if writer.can_write_eof():
                        writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        sender = asyncio.create_task(send())
        while True:
            data = await reader.read(1 << 16)
            queue.put_nowait((loop.time() + delay_s / 2, data))
            if not data:
                break
        await sender

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        await asyncio.sleep(delay_s)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # The client went, or the proxy is being closed.
        up_writer.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    ready.append(server.sockets[0].getsockname()[1])
    ready.append(lambda: connections)
    while not stop.is_set():
        await asyncio.sleep(0.02)
    server.close()


class Proxy:
    def __init__(self, port, delay_s):
        self.ready, self.stop = [], threading.Event()
        work = delaying(port, delay_s, self.ready, self.stop)
        self.thread = threading.Thread(target=lambda: asyncio.run(work), daemon=True)
        self.thread.start()
        while len(self.ready) < 2:
            time.sleep(0.01)
        self.port, self.connections = self.ready

    def close(self):
        self.stop.set()
        self.thread.join(2)


def trips(program, folder):
    """Requests, round trips and time to the first verdict: one connection, or one a segment."""
    rows = [
        "| added delay a round trip | connection | connections | requests | round trips | first verdict, ms | whole song, s |",
        "|---|---|---|---|---|---|---|",
    ]
    server, tracks = origin(program, folder)
    port = int(server.url.rsplit(":", 1)[1])
    server.get(tracks["short.mp3"])
    for delay_ms in (0, 20, 100):
        proxy = Proxy(port, delay_ms / 1e3)
        for kind in ("persistent", "each"):
            url = f"http://127.0.0.1:{proxy.port}{tracks['short.mp3']}"
            before = proxy.connections()
            runs = [listen(program, url, "--connection", kind) for _ in range(3)]
            connections = (proxy.connections() - before) / len(runs)
            stream = [r["record"]["stream"] for r in runs]
            requests = stream[0]["requests"]
            first = statistics.median(s["first_verdict_ms"] for s in stream)
            wall = statistics.median(r["wall_s"] for r in runs)
            rows.append(
                f"| {delay_ms} ms | {'one for all' if kind == 'persistent' else 'one a request'} | {connections:.0f} "
                f"| {requests} | {requests + connections:.0f} | {first:.0f} | {wall:.2f} |"
            )
        proxy.close()
    server.close()
    return rows


def early(program, songs):
    """Bytes saved by stopping when sure, and how long it takes to be sure."""
    server, tracks = origin(program, songs)
    rows = [
        "| stop at | songs that were sure | music heard, s: median, 90 % | time to it, ms: median, 90 % | bytes of all songs | same genre as in the end |",
        "|---|---|---|---|---|---|",
    ]
    urls = [server.url + url for url in tracks.values()]
    full = [listen(program, url) for url in urls]
    total = sum(r["record"]["stream"]["bytes"] for r in full)
    for p in (0.5, 0.7, 0.9):
        runs = [listen(program, url, "--until", f"confident:{p}") for url in urls]
        sure = [r for r in runs if r["record"]["stream"]["stopped_early"]]
        bytes_ = sum(r["record"]["stream"]["bytes"] for r in runs)
        same = sum(a["record"]["genre"] == b["record"]["genre"] for a, b in zip(runs, full))
        heard = sorted(r["record"]["duration_s"] for r in sure) or [0]
        wall = sorted(r["record"]["elapsed_ms"] for r in sure) or [0]
        tenth = int(0.9 * (len(heard) - 1))
        rows.append(
            f"| {p:.0%} | {len(sure)} of {len(urls)} | {statistics.median(heard):.1f}, {heard[tenth]:.1f} "
            f"| {statistics.median(wall):.0f}, {wall[tenth]:.0f} | {bytes_ / total:.0%} | {same} of {len(urls)} |"
        )
    server.close()
    length = statistics.median(r["record"]["duration_s"] for r in full)
    rows.append("")
    rows.append(f"{len(urls)} songs of {length:.0f} s; heard whole: {total / 2**20:.1f} MiB.")
    return rows


def cgroup(quota):
    """A cgroup with a share of one core, if this system lets one be made; gives its task file."""
    name = f"taggram-bench-{os.getpid()}"
    one = Path("/sys/fs/cgroup/cpu") / name
    two = Path("/sys/fs/cgroup") / name
    try:
        one.mkdir()
        (one / "cpu.cfs_period_us").write_text("100000")
        (one / "cpu.cfs_quota_us").write_text(str(int(100000 * quota)))
        return one, one / "tasks", "cgroup cpu.cfs_quota_us"
    except OSError:
        pass
    try:
        two.mkdir()
        (two / "cpu.max").write_text(f"{int(100000 * quota)} 100000")
        return two, two / "cgroup.procs", "cgroup cpu.max"
    except OSError:
        return None, None, "SIGSTOP nine tenths of the time"


def device(program, folder):
    """Processor time and memory of the client; and under a tenth of a core."""
    server, tracks = origin(program, folder)
    rows = [
        "| stream | model | client CPU, s | × real time on one core | peak memory, MiB |",
        "|---|---|---|---|---|",
    ]
    for name in ("song.mp3", "song.m4a", "song.flac"):
        url = server.url + tracks[name]
        listen(program, url)
        runs = [listen(program, url) for _ in range(3)]
        cpu = statistics.median(r["cpu_s"] for r in runs)
        rss = max(r["rss_mib"] for r in runs)
        rows.append(f"| {name}, {SONG_S} s | default | {cpu:.2f} | {SONG_S / cpu:.0f} | {rss:.0f} |")
    group, tasks, how = cgroup(0.1)
    url = server.url + tracks["song.mp3"]
    start = time.monotonic()
    process = subprocess.Popen(
        [program, "hls", "listen", url, "--format", "json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        preexec_fn=(lambda: tasks.write_text(str(os.getpid()))) if tasks else None,
    )
    stop = threading.Event()

    def throttle():
        while not stop.is_set():
            process.send_signal(signal.SIGCONT)
            time.sleep(0.01)
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.09)
        process.send_signal(signal.SIGCONT)

    if tasks is None:
        threading.Thread(target=throttle, daemon=True).start()
    lines = process.stdout.read().splitlines()
    stop.set()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    wall = time.monotonic() - start
    record = json.loads(lines[-1])
    if group:
        time.sleep(0.2)
        group.rmdir()
    rows.append("")
    rows.append(
        f"Under a quota of a tenth of a core ({how}): {SONG_S} s of MP3 in {wall:.1f} s, {SONG_S / wall:.0f} × real time; "
        f"first verdict after {record['stream']['first_verdict_ms']:.0f} ms; {usage.ru_maxrss / 1024:.0f} MiB."
    )
    server.close()
    return rows


def machine():
    """The processor and how many of it, in a sentence."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
    return f"Measured on {os.cpu_count()} cores of an {name}, with nothing else running."


def replace(path, part, rows):
    """Puts the rows between the marks of a part, and the machine where it is asked for."""
    template = Path(__file__).with_name("results.md")
    text = (path if path.exists() else template).read_text().replace("MACHINE", machine())
    begin, end = f"<!-- {part} -->", f"<!-- /{part} -->"
    before, rest = text.split(begin)
    path.write_text("\n".join([before + begin, *rows, end]) + rest.split(end)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/taggram")
    parser.add_argument("--songs", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="listeners,trips,early,device")
    parser.add_argument("--listeners", type=int, default=64)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    parts = arguments.only.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_song(folder / "song.mp3", SONG_S, "-c:a", "libmp3lame", "-b:a", "128k")
        make_song(folder / "short.mp3", 30, "-c:a", "libmp3lame", "-b:a", "128k")
        if "device" in parts:
            make_song(folder / "song.m4a", SONG_S, "-c:a", "aac", "-b:a", "128k")
            make_song(folder / "song.flac", SONG_S)
        work = {
            "listeners": lambda: listeners(arguments.program, folder, arguments.listeners),
            "trips": lambda: trips(arguments.program, folder),
            "early": lambda: early(arguments.program, arguments.songs),
            "device": lambda: device(arguments.program, folder),
        }
        for part in parts:
            rows = work[part]()
            print(f"### {part}", *rows, "", sep="\n", flush=True)
            if arguments.out:
                replace(arguments.out, part, rows)


if __name__ == "__main__":
    sys.exit(main())
