#!/usr/bin/env python3
"""Makes the golden data of taggram-audio from synthesized signals.

Made with: Python 3.11, numpy 2.2.6, soxr 1.1.0, resampy 0.4.3, ffmpeg 5.1.9 (Debian 12).

  resample/<kind>_<from>_<to>.raw   the signal at <from> Hz, resampled (f32, little-endian)
  tone.<format>, tone22.mp3         0.35 s of the tone below (less of some), encoded by ffmpeg
  tone_<format>.raw                 what ffmpeg decodes the lossy ones to: 2,000 frames of the
                                    left channel from frame 6,000 on (f32, little-endian)

The signal and the tone are computed in the tests by the same formulas.
"""
import pathlib, subprocess
import numpy as np, resampy, soxr

HERE = pathlib.Path(__file__).parent
TAU = 2 * np.pi


# kaiser_best as it was up to resampy 0.3, in librosa's time of it (0.4 has another filter).
BEST = dict(num_zeros=64, precision=9, rolloff=0.9475937167399596, window=lambda n: np.kaiser(n, 14.769656459379492))


def signal(rate, seconds):
    """A rising tone from 40 Hz to 0.9 of the Nyquist frequency and two clicks."""
    n = int(rate * seconds)
    t = np.arange(n) / rate
    top = 0.45 * rate
    x = 0.6 * np.sin(TAU * (40 * t + (top - 40) * t * t / (2 * seconds)))
    x[n // 3] += 0.3
    x[n // 2] -= 0.3
    return x.astype(np.float32)


def tone(rate=44100, seconds=0.35):
    """Two steady tones, left 440 Hz, right 660 Hz, faded in and out over 10 ms, 16 bits."""
    n = int(rate * seconds)
    i = np.arange(n)
    fade = np.minimum(1, np.minimum(i, n - 1 - i) / (0.01 * rate))
    left = 0.5 * fade * np.sin(TAU * 440 * i / rate)
    right = 0.25 * fade * np.sin(TAU * 660 * i / rate)
    return np.round(np.stack([left, right], 1) * 32767).astype("<i2")


def resample():
    out = HERE / "resample"
    out.mkdir(exist_ok=True)
    for a, b in [(44100, 22050), (48000, 22050), (44100, 16000), (16000, 22050), (22050, 44100), (44056, 22050), (48000, 12000), (48000, 16000)]:
        x = signal(a, 0.09)
        length = -(-len(x) * b // a)
        fix = lambda y: np.pad(y, (0, max(0, length - len(y))))[:length].astype("<f4")
        fix(soxr.resample(x, a, b, quality="HQ")).tofile(out / f"soxr_{a}_{b}.raw")
        fix(resampy.resample(x, a, b, filter="sinc_window", **BEST)).tofile(out / f"best_{a}_{b}.raw")


def encode():
    pcm = tone().tobytes()
    base = ["ffmpeg", "-v", "error", "-y", "-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "-", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact"]
    kinds = {
        "mp3": ["-c:a", "libmp3lame", "-b:a", "96k"],
        "ogg": ["-c:a", "libvorbis", "-q:a", "2"],
        "opus": ["-c:a", "libopus", "-b:a", "64k"],
        "m4a": ["-c:a", "aac", "-b:a", "96k"],
        "alac.m4a": ["-c:a", "alac", "-t", "0.25"],
        "aac": ["-c:a", "aac", "-b:a", "96k", "-f", "adts"],
        "aiff": ["-c:a", "pcm_s16be", "-t", "0.1"],
        "oga": ["-c:a", "flac", "-f", "ogg", "-t", "0.2"],
        "wav": ["-c:a", "pcm_s24le", "-t", "0.05"],
        "51.opus": ["-af", "pan=5.1|FL=FL|FR=FR|FC=0.5*FL+0.5*FR|LFE=0*FL|BL=0.5*FL|BR=0.5*FR", "-c:a", "libopus", "-mapping_family", "1", "-b:a", "128k", "-t", "0.2"],
    }
    kinds["22.mp3"] = ["-c:a", "libmp3lame", "-b:a", "48k", "-ar", "22050", "-ac", "1"]
    for name, options in kinds.items():
        path = HERE / (f"tone{name}" if name == "22.mp3" else f"tone.{name}")
        subprocess.run(base + options + [str(path)], input=pcm, check=True)
        if name in ("mp3", "ogg", "opus", "m4a", "aac"):
            raw = subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-"], check=True, capture_output=True).stdout
            y = np.frombuffer(raw, "<f4").reshape(-1, 2)
            print(name, "frames by ffmpeg:", len(y))
            y[6000:8000, 0].astype("<f4").tofile(HERE / f"tone_{name}.raw")


if __name__ == "__main__":
    resample()
    encode()
