#!/usr/bin/env python3
"""How soon a service above its capacity says no.

    python3 bench/service/refusals.py http://HOST:PORT FILE

64 clients keep the service full (wrk); beside them one song after the other is sent on its own
connection, and the time from the first byte sent to the head of a 429 or 503 is taken. The body goes on being sent until that
head is there: a refusal comes before the body is through.
"""
import os
import pathlib
import re
import select
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

HERE = pathlib.Path(__file__).resolve().parent


def first_answer(connection, request):
    """Sends `request`, and gives what the other end says first, whether all was sent by then or not."""
    connection.setblocking(False)
    left = memoryview(request)
    while True:
        readable, writable, _ = select.select([connection], [connection] if left else [], [], 30)
        if readable:
            return connection.recv(65536)
        if not writable:
            raise TimeoutError("no answer within 30 s")
        left = left[connection.send(left):]


def main():
    address, file = sys.argv[1:3]
    url = urlsplit(address)
    body = pathlib.Path(file).read_bytes()
    head = (f"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode()
    env = dict(os.environ, FILES=file)
    load = subprocess.Popen(["wrk", "-t1", "-c64", "-d8s", "-s", HERE / "song.lua", address + "/v1/classify"],
                            env=env, stdout=subprocess.DEVNULL)
    time.sleep(1)
    refused, answered, retry = [], 0, 0
    while load.poll() is None and time.monotonic():
        with socket.create_connection((url.hostname, url.port), timeout=30) as s:
            before = time.monotonic()
            answer = first_answer(s, head + body)
            taken = 1e3 * (time.monotonic() - before)
        status = int(re.match(rb"HTTP/1.1 (\d+)", answer).group(1))
        if status in (429, 503):
            refused.append(taken)
            retry += b"retry-after" in answer.lower()
        else:
            answered += status == 200
    refused.sort()
    if not refused:
        print("nobody was refused")
        return
    pick = lambda q: refused[min(len(refused) - 1, int(q * len(refused)))]
    within = sum(t <= 50 for t in refused)
    print(f"{len(refused)} refusals ({retry} with Retry-After), {answered} answers; p50 {pick(.5):.1f} ms, "
          f"p99 {pick(.99):.1f} ms, max {refused[-1]:.1f} ms; {100 * within / len(refused):.1f} % within 50 ms")


if __name__ == "__main__":
    main()
