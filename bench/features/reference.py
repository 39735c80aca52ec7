"""librosa's answers and the clips, shared by compare.py and run.py.

Tried with Python 3.11, librosa 0.11.0, numpy 2.2.6, soundfile 0.13.
"""
import os
import subprocess
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
warnings.filterwarnings("ignore")

import librosa  # noqa: E402
import numpy as np  # noqa: E402
import soundfile  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("TAGGRAM_DATA", ROOT.parent / "shared/data")) / "gtzan"
RATE = 22050


def tool():
    """Builds the example program and returns its path."""
    command = ["cargo", "build", "-q", "-p", "taggram-features", "--example", "describe"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "debug/examples/describe")


def clips(folder, limit=None):
    """(track, samples, path of the raw samples) of each clip; decodes into `folder`."""
    out = []
    for path in sorted(DATA.glob("audio/*/*.flac"))[:limit]:
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE and samples.ndim == 1
        raw = Path(folder) / path.stem
        samples.tofile(raw)
        out.append((path.stem, samples, str(raw)))
    return out


def spectral(y):
    """Frame-level series by name, as librosa computes them from the samples; what the set `all` lists."""
    f = librosa.feature
    chroma = f.chroma_stft(y=y, sr=RATE)
    onsets = librosa.onset.onset_strength(y=y, sr=RATE, aggregate=np.median)
    mfcc = f.mfcc(y=y, sr=RATE, n_mfcc=20)
    many = {
        "chroma": chroma,
        "tonnetz": f.tonnetz(chroma=chroma, sr=RATE),
        "rms": f.rms(y=y),
        "spectral_centroid": f.spectral_centroid(y=y, sr=RATE),
        "spectral_bandwidth": f.spectral_bandwidth(y=y, sr=RATE),
        "rolloff": f.spectral_rolloff(y=y, sr=RATE),
        "spectral_flatness": f.spectral_flatness(y=y),
        "spectral_contrast": f.spectral_contrast(y=y, sr=RATE),
        "zero_crossing_rate": f.zero_crossing_rate(y),
        "onset_strength": onsets[None],
        "mfcc": mfcc,
        "mfcc_delta": f.delta(mfcc),
    }
    named = {}
    for name, rows in many.items():
        for i, row in enumerate(rows, 1):
            named[name if len(rows) == 1 else f"{name}{i}"] = row
    return named


def gtzan57(y):
    """The 57 features by the calls that people write: each from the samples."""
    f = librosa.feature
    harmony, perceptr = librosa.effects.hpss(y)
    tempo, _ = librosa.beat.beat_track(y=y, sr=RATE)
    series = [
        f.chroma_stft(y=y, sr=RATE),
        f.rms(y=y),
        f.spectral_centroid(y=y, sr=RATE),
        f.spectral_bandwidth(y=y, sr=RATE),
        f.spectral_rolloff(y=y, sr=RATE),
        f.zero_crossing_rate(y),
        harmony,
        perceptr,
        *f.mfcc(y=y, sr=RATE),
    ]
    row = [x for s in series for x in (s.mean(), s.var())]
    return np.array(row[:16] + [float(np.atleast_1d(tempo)[0])] + row[16:])
