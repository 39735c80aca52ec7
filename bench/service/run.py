#!/usr/bin/env python3
"""Load on `taggram serve`, made by wrk.

    cargo build --release -p taggram-cli
    python3 bench/service/run.py --data ../shared/data/gtzan/audio [--minutes 10]

Prints a Markdown table: the folder through `taggram classify`, 64 clients, 70 % load, above capacity, and how memory
went. wrk runs on the same processors as the service. `--minutes` is the length of the memory run (0: none).
"""
import argparse
import heapq
import os
import pathlib
import random
import re
import signal
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent


def start(binary, *options):
    """A service on a free port; gives the process and its address."""
    process = subprocess.Popen(
        [binary, "serve", "--addr", "127.0.0.1:0", *options], stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    return process, re.search(r"http://\S+", line).group(0)


def wrk(address, files, clients, seconds, think_ms=0, obey=False, path="/v1/classify"):
    """Runs wrk; gives throughput (answers of status 200 a second), latencies, statuses."""
    env = dict(os.environ, FILES=" ".join(map(str, files)), THINK_MS=str(think_ms), OBEY=str(int(obey)))
    out = subprocess.run(
        ["wrk", f"-t{min(2, clients)}", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", HERE / "song.lua", address + path],
        env=env, check=True, capture_output=True, text=True).stdout
    statuses = {int(s): int(n) for s, n in re.findall(r"status (\d+): (\d+)", out)}
    taken = float(re.search(r"seconds ([\d.]+)", out).group(1))
    latency = {k: float(v) for k, v in re.findall(r"(mean|p50|p90|p99|max) ([\d.]+)", out)}
    errors = int(re.search(r"errors (\d+)", out).group(1))
    return statuses.get(200, 0) / taken, latency, statuses, errors


def ideal(clients, think, service, cores, songs=200_000):
    """The p99 that a perfect service would show the clients of `song.lua`: every song takes `service`, first come first served
    on `cores` processors that do nothing else."""
    rng = random.Random(0)
    wakes = [rng.expovariate(1 / think) for _ in range(clients)]
    heapq.heapify(wakes)
    free, taken = [0.0] * cores, []
    for _ in range(songs):
        now = heapq.heappop(wakes)
        end = max(now, heapq.heappop(free)) + service
        heapq.heappush(free, end)
        heapq.heappush(wakes, end + rng.expovariate(1 / think))
        taken.append(end - now)
    return sorted(taken)[int(0.99 * songs)]


def rss_mib(process, peak=False):
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"%s:\s+(\d+)" % ("VmHWM" if peak else "VmRSS"), text).group(1)) / 1024


def stop(process):
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=60)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--binary", default=os.environ.get("CARGO_TARGET_DIR", "target") + "/release/taggram")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seconds", type=int, default=15)
    a = parser.parse_args()
    files = sorted(a.data.rglob("*.flac"))[:100]

    def folder():
        before = time.monotonic()
        subprocess.run([a.binary, "classify", "--format", "json", *files], check=True, stdout=subprocess.DEVNULL)
        return len(files) / (time.monotonic() - before)

    folder()
    by_folder = sorted(folder() for _ in range(5))[2]
    print(f"| `taggram classify` on a folder of {len(files)} clips | {by_folder:.1f} songs/s |")

    process, address = start(a.binary)
    wrk(address, files, 8, 2)
    rate, latency, statuses, errors = wrk(address, files, 64, a.seconds)
    print(f"| 64 clients | {rate:.1f} songs/s, {100 * rate / by_folder:.0f} % of that; p50 {latency['p50']:.0f} ms, "
          f"p99 {latency['p99']:.0f} ms; {statuses}, {errors} errors |")
    print(f"| times the original's rate (1.96 s a request) | {rate * 1.96:.0f} |")
    _, alone, _, _ = wrk(address, files, 1, 5)
    # With c clients that think t on average, the load is c · s / (cores · (t + latency)).
    cores = os.cpu_count()
    service_ms = 1e3 * cores / rate
    think = 32 * service_ms / (0.7 * cores) - 1.5 * service_ms
    # Thrice as long as the others: the p99 of 12 s scatters by a tenth of it even where the service is perfect.
    rate70, latency70, statuses70, _ = wrk(address, files, 32, 3 * a.seconds, think)
    print(f"| one client | mean {alone['mean']:.1f} ms, p99 {alone['p99']:.1f} ms |")
    print(f"| {100 * rate70 / rate:.0f} % load ({rate70:.1f} songs/s; processor time of a song {service_ms:.1f} ms) | p50 "
          f"{latency70['p50']:.1f} ms, p99 {latency70['p99']:.1f} ms: {latency70['p99'] / service_ms:.1f} × the mean service time; {statuses70} |")
    print(f"| the p99 of a perfect service at that load | {ideal(32, think, service_ms, cores) / service_ms:.1f} × the service time |")
    print(f"| memory after that | {rss_mib(process):.0f} MiB, peak {rss_mib(process, True):.0f} MiB |")
    stop(process)

    process, address = start(a.binary, "--queue", "8")
    for obey in (True, False):
        rate_full, latency_full, statuses_full, errors = wrk(address, files[:1], 64, a.seconds, obey=obey)
        print(f"| above capacity: 64 clients, `--queue 8`, who come again {'after `Retry-After`' if obey else 'at once'} | "
              f"{rate_full:.1f} songs/s accepted and answered; {statuses_full}, {errors} errors |")
    refused = subprocess.run(["python3", HERE / "refusals.py", address, files[0]], capture_output=True, text=True).stdout
    print(f"| refusals, measured beside 64 such clients | {refused.strip()} |")
    stop(process)

    if a.minutes > 0:
        process, address = start(a.binary)
        marks, end = [], time.monotonic() + 60 * a.minutes
        while time.monotonic() < end:
            wrk(address, files, 64, max(1, int(6 * a.minutes)))
            marks.append(rss_mib(process))
        print(f"| memory in {a.minutes:g} minutes of 64 clients | {' '.join(f'{m:.0f}' for m in marks)} MiB; peak {rss_mib(process, True):.0f} |")
        stop(process)


if __name__ == "__main__":
    main()
