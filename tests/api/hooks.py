"""Made-up bodies are seldom music: every other one is replaced by a little of it, so that right answers are checked too."""

import itertools
import math
import struct

import schemathesis

RATE = 22050
SAMPLES = [int(9000 * math.sin(2 * math.pi * 220 * i / RATE) * math.exp(-6 * (2 * i / RATE % 1))) for i in range(11 * RATE)]
DATA = struct.pack(f"<{len(SAMPLES)}h", *SAMPLES)
WAV = (b"RIFF" + struct.pack("<I", 36 + len(DATA)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
       + b"data" + struct.pack("<I", len(DATA)) + DATA)
TURN = itertools.cycle([True, False])


@schemathesis.hook
def before_call(context, case, **kwargs):
    if not next(TURN):
        return
    if case.media_type == "multipart/form-data":
        case.body = {"audio": WAV}
    elif case.media_type:
        case.body = WAV
