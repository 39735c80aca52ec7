#!/usr/bin/env python3
"""Reference features of synthesized signals, written beside this file.

Made with Python 3.11, librosa 0.11.0, numpy 2.2.6, scipy 1.17.1. Run: python make.py
The signals are computed in float64 by `signals()`; the tests compute the same in
crates/taggram-features/tests/common/mod.rs. librosa is given float64, so that its own rounding is not part
of the comparison. Every array is little-endian float32, C order.
"""
from pathlib import Path

import librosa
import numpy as np

HERE = Path(__file__).resolve().parent


def noise(count):
    """Uniform noise in -1...1 from a linear congruential generator (Numerical Recipes' constants)."""
    state, out = 12345, np.empty(count)
    for i in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        out[i] = (state >> 8) / 2**23 - 1
    return out


def signals(rate):
    """One second each, rounded to float32 as decoded audio is."""
    i = np.arange(rate, dtype=np.float64)
    t = i / rate
    harmonic = sum(np.sin(2 * np.pi * 220 * k * t) / k for k in range(1, 9)) * 0.3
    clicks = np.where(i % (rate // 5) == 100, 0.9, 0.0)
    loud = 0.5 * np.sin(2 * np.pi * (60 * t + (rate * 0.45 - 60) / 2 * t * t))
    chords = sum(np.sin(2 * np.pi * f * t) for f in (262.5, 331.2, 392.9)) * 0.2 * (t % 0.25 < 0.2)
    made = {
        "noise": 0.5 * noise(rate),
        "chirp": loud,
        "harmonic": harmonic,
        "clicks": clicks,
        "chords": chords + 0.01 * noise(rate),
        "silence": np.zeros(rate),
    }
    return {name: y.astype(np.float32).astype(np.float64) for name, y in made.items()}


def save(name, array):
    np.save(HERE / f"{name}.npy", np.ascontiguousarray(array.T, dtype=np.float32))


def mels():
    for name, y in signals(22050).items():
        save(f"mel_2048_512_128_{name}", librosa.feature.melspectrogram(y=y, sr=22050))
    for name, y in signals(16000).items():
        power = librosa.feature.melspectrogram(y=y, sr=16000, n_fft=512, hop_length=256, n_mels=96)
        save(f"mel_512_256_96_{name}", power)
        # As musicnn stores it: float16, then the logarithm in float32.
        half = np.minimum(power, 65504).astype(np.float16).astype(np.float32)
        save(f"log10half_{name}", np.log10(np.float32(10000) * half + np.float32(1)))
    y = signals(22050)["harmonic"]
    power = librosa.feature.melspectrogram(y=y, sr=22050, hop_length=1709)
    save("mel_2048_1709_128_harmonic", power)


def descriptors():
    """Every frame-level descriptor, [series, frame], in the order of the feature set `all`; and by clip."""
    f = librosa.feature
    for name, y in signals(22050).items():
        chroma = f.chroma_stft(y=y, sr=22050)
        onsets = librosa.onset.onset_strength(y=y, sr=22050, aggregate=np.median)
        mfcc = f.mfcc(y=y, sr=22050, n_mfcc=20)
        series = [
            chroma,
            f.tonnetz(chroma=chroma, sr=22050),
            f.rms(y=y),
            f.spectral_centroid(y=y, sr=22050),
            f.spectral_bandwidth(y=y, sr=22050),
            f.spectral_rolloff(y=y, sr=22050),
            f.spectral_flatness(y=y),
            f.spectral_contrast(y=y, sr=22050),
            f.zero_crossing_rate(y),
            onsets[None],
            mfcc,
            f.delta(mfcc),
        ]
        save(f"descriptors_{name}", np.concatenate(series).T)
        harmonic, percussive = librosa.effects.hpss(y)
        tempo, beats = librosa.beat.beat_track(y=y, sr=22050)
        tempo = float(np.atleast_1d(tempo)[0])
        clip = [harmonic.mean(), harmonic.var(), percussive.mean(), percussive.var(), tempo, len(beats)]
        save(f"clip_{name}", np.array(clip))


if __name__ == "__main__":
    mels()
    descriptors()
