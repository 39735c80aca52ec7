#!/usr/bin/env python3
"""Hostile requests mixed with good ones against a running service.

    target/release/taggram serve --addr 127.0.0.1:5000 --timeout 12 &
    python3 bench/service/hostile.py http://127.0.0.1:5000 [--requests 10000] [--song FILE …]

Kinds: truncated files, random bytes, other formats, flipped bytes, headers that claim hours or gigahertz, files that
decode to hours, wrong Content-Length (too short, too long), bodies that stop or drip, forms with thousands of parts,
paths as file names, samples 8,000 times full scale, NaN, broken chunks, smuggled headers, wrong methods and options.
Ends with 1 when an answer is a 5xx other than 503, when a good request is answered otherwise than it is alone, when a
hostile one gets a status it should not, or when the service counts a panic. Without --song, songs are made up.
"""
import argparse
import collections
import json
import math
import pathlib
import random
import re
import socket
import struct
import sys
import threading
from urllib.parse import urlsplit

BOUNDARY = b"hostile-boundary"


def wav(samples, rate=22050, kind=1, bits=16, claimed=None, channels=1):
    data = samples
    size = len(data) if claimed is None else claimed
    frame = (channels * bits // 8) & 0xFFFF
    return (b"RIFF" + struct.pack("<I", (36 + size) & 0xFFFFFFFF) + b"WAVEfmt " + struct.pack(
        "<IHHIIHH", 16, kind, channels, rate, (rate * frame) & 0xFFFFFFFF, frame, bits) + b"data"
        + struct.pack("<I", size & 0xFFFFFFFF) + data)


def tune(seconds, seed, gain=1.0, float32=False):
    """Two tones with a beat, made up from a seed."""
    rng = random.Random(seed)
    low, high = rng.uniform(80, 300), rng.uniform(400, 2000)
    values = []
    for i in range(int(seconds * 22050)):
        t = i / 22050
        beat = 0.3 + 0.7 * math.exp(-8 * (t * 2 % 1))
        values.append(gain * beat * (0.5 * math.sin(2 * math.pi * low * t) + 0.3 * math.sin(2 * math.pi * high * t)))
    if float32:
        return wav(struct.pack(f"<{len(values)}f", *values), kind=3, bits=32)
    return wav(struct.pack(f"<{len(values)}h", *(int(12000 * v) for v in values)))


def crc(data, polynomial, bits):
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1) ^ (polynomial if value >> (bits - 1) & 1 else 0)
            value &= (1 << bits) - 1
    return value


def flac_bomb(hours):
    """A FLAC whose frames of 65,535 equal samples take some 16 bytes each (RFC 9639): hours in a few hundred KB."""
    info = struct.pack(">HH", 65535, 65535) + bytes(6) + struct.pack(">Q", 44100 << 44 | 15 << 36) + bytes(16)
    out = b"fLaC\x80" + len(info).to_bytes(3, "big") + info
    for number in range(int(hours * 3600 * 44100 / 65535)):
        coded = chr(number).encode("utf-8", "surrogatepass")
        head = b"\xff\xf8\x79\x08" + coded + struct.pack(">H", 65534)
        frame = head + bytes([crc(head, 0x07, 8)]) + b"\0" + struct.pack(">H", number * 7919 & 0x7FFF)
        out += frame + struct.pack(">H", crc(frame, 0x8005, 16))
    return out


def form(body, name=b"song.wav", field=b"audio"):
    return (b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="' + field + b'"; filename="' + name
            + b'"\r\nContent-Type: audio/wav\r\n\r\n' + body + b"\r\n--" + BOUNDARY + b"--\r\n")


def request(body, kind=b"audio/wav", path=b"/v1/classify", method=b"POST", length=None, extra=b""):
    length = len(body) if length is None else length
    return (method + b" " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Type: " + kind + b"\r\nContent-Length: "
            + str(length).encode() + b"\r\nConnection: close\r\n" + extra + b"\r\n" + body)


MULTIPART = b"multipart/form-data; boundary=" + BOUNDARY


class Hostile:
    """Makes requests. Each kind gives (bytes, allowed statuses, how to send them)."""

    def __init__(self, songs):
        self.songs = songs
        self.float_song = tune(11, 99, gain=8000, float32=True)
        values = [float("nan"), float("inf"), -float("inf"), 1e38] * 60000
        self.absurd = wav(struct.pack(f"<{len(values)}f", *values), kind=3, bits=32)
        self.silence_hours = bytes(1 << 18)
        self.bomb = flac_bomb(6)

    def kinds(self):
        return [getattr(self, name) for name in sorted(dir(self)) if name.startswith("k_")]

    def song(self, rng):
        return rng.choice(self.songs)

    def k_truncated(self, rng):
        song = self.song(rng)
        cut = song[: int(len(song) * rng.random() ** 3)]
        return request(cut), {200, 415, 422}, "whole"

    def k_random(self, rng):
        return request(rng.randbytes(rng.randrange(1, 60000))), {200, 413, 415, 422}, "whole"

    def k_flipped(self, rng):
        song = bytearray(self.song(rng))
        for _ in range(rng.randrange(1, 200)):
            song[rng.randrange(min(len(song), rng.choice([64, 4000, len(song)])))] = rng.randrange(256)
        return request(form(bytes(song)), MULTIPART), {200, 413, 415, 422}, "whole"

    def k_magic(self, rng):
        magic = rng.choice([b"fLaC", b"OggS", b"ID3\x04", b"RIFF\xff\xff\xff\xffWAVE", b"FORM\0\0\0\1AIFF", b".snd",
                            b"\0\0\0\x20ftypM4A ", b"\xff\xfb\x90\x44", b"caff", b"\x1aE\xdf\xa3", b"PK\3\4", b"%PDF-"])
        return request(magic + rng.randbytes(rng.randrange(0, 20000))), {200, 413, 415, 422}, "whole"

    def k_claims_hours(self, rng):
        rate = rng.choice([1, 100, 1000, 8000, 4294967295, 384000])
        channels = rng.choice([1, 2, 255, 65535])
        body = wav(self.silence_hours[: rng.randrange(50000)], rate=rate, claimed=0xFFFFFFF0, channels=channels)
        return request(body), {200, 413, 415, 422}, "whole"

    def k_decodes_to_hours(self, rng):
        # One byte a sample, at next to no rate.
        rate = rng.choice([8, 200, 1000])
        body = b".snd" + struct.pack(">IIIII", 24, 0xFFFFFFFF, 2, rate, 1) + self.silence_hours
        return request(body), {200, 413, 422}, "whole"

    def k_bomb(self, rng):
        return request(self.bomb), {413}, "whole"

    def k_body_too_short(self, rng):
        song = self.song(rng)
        return request(song[: len(song) // 2], length=len(song)), {None, 400, 408}, "close"

    def k_body_too_long(self, rng):
        song = self.song(rng)
        return request(song + b"GET / HTTP/1.1\r\n\r\n", length=len(song)), {200}, "whole"

    def k_stops(self, rng):
        song = self.song(rng)
        return request(song[: rng.randrange(len(song))], length=len(song)), {408}, "wait"

    def k_drips(self, rng):
        return request(self.song(rng)[:3000], length=3000), {None, 200, 408, 415, 422}, "drip"

    def k_parts(self, rng):
        part = b'--%s\r\nContent-Disposition: form-data; name="x%d"\r\n\r\n1\r\n'
        body = b"".join(part % (BOUNDARY, i) for i in range(rng.randrange(33, 5000))) + form(self.song(rng))
        return request(body, MULTIPART), {400}, "whole"

    def k_no_boundary(self, rng):
        body = rng.choice([form(self.song(rng))[: rng.randrange(200)], b"--" * 1000, b""])
        kind = rng.choice([MULTIPART, b"multipart/form-data", b"multipart/form-data; boundary=" + b"x" * 5000])
        return request(body, kind), {400}, "whole"

    def k_path_as_name(self, rng):
        name = rng.choice([b"../../../etc/passwd", b"/dev/null", b"C:\\\\autoexec.bat", b"a" * 9000, b"\xff\xfe\x00",
                           b"$(reboot).wav", b"CON", b"'; DROP TABLE songs; --"])
        return request(form(self.song(rng), name), MULTIPART), {200, 400}, "whole"

    def k_loud(self, rng):
        return request(rng.choice([self.float_song, self.absurd])), {200, 422}, "whole"

    def k_chunks(self, rng):
        bad = rng.choice([b"zz\r\nxx\r\n", b"ffffffffffffffff\r\nx", b"5\r\nabc", b"-1\r\n", b"1;" + b"a" * 20000 + b"\r\nx\r\n"])
        head = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head + bad, {None, 400, 408}, "close"

    def k_smuggled(self, rng):
        extra = rng.choice([b"Transfer-Encoding: chunked\r\n", b"Content-Length: 7\r\n", b"X: " + b"y" * 60000 + b"\r\n",
                            b"".join(b"X%d: y\r\n" % i for i in range(500)), b"Content-Encoding: gzip\r\n", b"\0: x\r\n"])
        return request(self.song(rng)[:2000], extra=extra), {None, 200, 400, 408, 415, 422, 431}, "close"

    def k_wrong_address(self, rng):
        path = rng.choice([b"/v1/classify/../../etc/passwd", b"/%00", b"/v1/%ff", b"/" + b"a" * 20000, b"*", b"//", b"/v1/classify?top=-1",
                           b"/v1/classify?excerpt=middle:1e400", b"/v1/classify?model=%2e%2e", b"/v1/classify?top=1&top=2"])
        method = rng.choice([b"POST", b"GET", b"PUT", b"DELETE", b"TRACE", b"BREW", b"HEAD"])
        return request(b"x", path=path, method=method), {200, 400, 404, 405, 414, 415, 422, 431}, "whole"

    def k_stream(self, rng):
        song = bytearray(self.song(rng))
        song[rng.randrange(100, len(song)):] = rng.randbytes(500)
        return request(bytes(song), path=b"/v1/classify?stream=true&taggram=true"), {200, 413, 415, 422}, "whole"

    def k_goes_away(self, rng):
        return request(self.song(rng)), {None, 200}, "leave"


def talk(address, payload, how):
    """Sends and gives the status (None: closed without one) and the body."""
    with socket.create_connection(address, timeout=120) as s:
        try:
            if how == "drip":
                head = payload.index(b"\r\n\r\n") + 4
                s.sendall(payload[:head])
                for i in range(head, head + 40):
                    s.sendall(payload[i:i + 1])
                    threading.Event().wait(0.05)
                return None, b""
            s.sendall(payload)
            if how == "leave":
                return None, b""
            if how == "close":
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = b""
        try:
            while chunk := s.recv(65536):
                answer += chunk
                length = re.search(rb"content-length: (\d+)\r\n", answer)
                if length and b"\r\n\r\n" in answer and len(answer.split(b"\r\n\r\n", 1)[1]) >= int(length.group(1)):
                    break
        except OSError:
            pass
    status = re.match(rb"HTTP/1.1 (\d+)", answer)
    return (int(status.group(1)) if status else None), answer.partition(b"\r\n\r\n")[2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--threads", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--song", nargs="*", type=pathlib.Path, default=[])
    a = parser.parse_args()
    url = urlsplit(a.address)
    address = (url.hostname, url.port)
    songs = [p.read_bytes() for p in a.song] or [tune(11 + 2 * i, i) for i in range(4)]
    hostile = Hostile(songs)
    kinds = hostile.kinds()

    def verdict(body):
        said = json.loads(body)
        return {k: said[k] for k in ("genre", "confidence", "scores", "windows", "duration_s")}

    truth = [verdict(talk(address, request(song), "whole")[1]) for song in songs]
    lock, counts, faults = threading.Lock(), collections.Counter(), []

    def work(numbers):
        for number in numbers:
            rng = random.Random(a.seed * 1_000_003 + number)
            if number % 2:
                i = rng.randrange(len(songs))
                wrapped = rng.random() < 0.5
                payload = request(form(songs[i]), MULTIPART) if wrapped else request(songs[i])
                status, body = talk(address, payload, "whole")
                with lock:
                    counts["good", status] += 1
                    # 503 is an honest answer to a good request, but not the right one.
                    if status != 200 or verdict(body) != truth[i]:
                        faults.append(f"good request {number}: {status} {body[:200]!r}")
                continue
            # Those that take seconds by design are rarer.
            kind = rng.choice(kinds)
            if kind.__name__ in ("k_stops", "k_drips", "k_bomb") and rng.random() < 0.9:
                kind = hostile.k_flipped
            payload, allowed, how = kind(rng)
            status, body = talk(address, payload, how)
            with lock:
                counts[kind.__name__[2:], status] += 1
                if status not in allowed:
                    faults.append(f"{kind.__name__[2:]} {number}: {status}, not one of {allowed}: {body[:200]!r}")

    threads = [threading.Thread(target=work, args=(range(t, a.requests, a.threads),)) for t in range(a.threads)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    metrics = talk(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "whole")[1].decode()
    panics = int(re.search(r"taggram_panics_total (\d+)", metrics).group(1))
    fives = {s for (_, s), _ in counts.items() if s and s >= 500 and s != 503}
    for (kind, status), count in sorted(counts.items(), key=str):
        print(f"{kind:16} {status}: {count}")
    print(f"{sum(counts.values())} requests, {panics} panics, 5xx other than 503: {sorted(fives) or 'none'}, faults: {len(faults)}")
    print("\n".join(faults[:20]))
    sys.exit(bool(faults or panics or fives))


if __name__ == "__main__":
    main()
