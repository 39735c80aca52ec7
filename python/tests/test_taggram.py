"""The package beside the binary: the same answers, whatever form the audio comes in."""

from __future__ import annotations

import csv
import inspect
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import threading
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt
import pytest
import taggram

RATE = 22_050
Samples = npt.NDArray[Any]


@pytest.fixture(scope="module")
def samples() -> npt.NDArray[np.int16]:
    """Twelve seconds of chords over noise, 16-bit."""
    t = np.arange(12 * RATE) / RATE
    noise = np.random.default_rng(7).normal(0, 0.02, t.size)
    tones = sum(np.sin(2 * np.pi * f * t * (1 + (t // 2 % 3) / 8)) for f in (110, 220, 331))
    return np.round(8000 * (tones / 3 * (1 + np.sin(8 * t)) / 2 + noise)).astype(np.int16)


@pytest.fixture(scope="module")
def song(samples: npt.NDArray[np.int16], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "song.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def same(a: taggram.Heard, b: taggram.Heard) -> None:
    assert a.scores == b.scores
    np.testing.assert_array_equal(a.taggram, b.taggram)
    np.testing.assert_array_equal(a.starts_s, b.starts_s)


def test_answers_are_those_of_the_binary(song: Path) -> None:
    binary = os.environ.get("TAGGRAM_BINARY")
    if binary is None:
        pytest.skip("SKIPPED: TAGGRAM_BINARY names no binary to compare with")
    files = [song]
    data = Path(os.environ.get("TAGGRAM_DATA", "")) / "gtzan" / "audio"
    files += sorted(data.glob("*/*.flac"))[::10]
    for file in files:
        done = subprocess.run(
            [binary, "classify", "--format", "json", str(file)], capture_output=True, check=True
        )
        said = json.loads(done.stdout)
        heard = taggram.classify(file)
        assert heard.genre == said["genre"]
        assert heard.scores == pytest.approx(said["scores"], abs=1e-6)
        assert list(heard.warnings) == said.get("warnings", [])
        assert len(heard.starts_s) == said["windows"]


def test_features_are_those_of_the_binary(song: Path, tmp_path: Path) -> None:
    binary = os.environ.get("TAGGRAM_BINARY")
    if binary is None:
        pytest.skip("SKIPPED: TAGGRAM_BINARY names no binary to compare with")
    table = tmp_path / "features.csv"
    subprocess.run([binary, "features", str(song), "--out", str(table)], check=True)
    with table.open() as file:
        (row,) = csv.DictReader(file)
    ours = taggram.features(song)
    assert len(ours) == 57
    for name, value in ours.items():
        assert value == pytest.approx(float(row[name]), rel=1e-5, abs=1e-7), name


def test_bytes_and_array_are_the_file(song: Path, samples: npt.NDArray[np.int16]) -> None:
    heard = taggram.classify(song)
    same(heard, taggram.classify(str(song)))
    same(heard, taggram.classify(song.read_bytes()))
    same(heard, taggram.classify(memoryview(song.read_bytes())))
    same(heard, taggram.classify(samples, sample_rate=RATE))
    same(heard, taggram.classify(samples.astype(np.int32) << 16, sample_rate=RATE))
    floats = samples / 32768
    same(heard, taggram.classify(floats, sample_rate=RATE))
    same(heard, taggram.classify(floats.astype(np.float32), sample_rate=RATE))
    assert heard.taggram.shape == (len(heard.starts_s), len(heard.labels))
    assert list(heard.scores.values()) == sorted(heard.scores.values(), reverse=True)


def test_channels_are_rows(song: Path, samples: npt.NDArray[np.int16]) -> None:
    heard = taggram.classify(song)
    stereo = np.stack([samples, samples])
    same(heard, taggram.classify(stereo, sample_rate=RATE))
    # However they lie in memory: what soundfile reads is [sample, channel], and its .T a view.
    same(heard, taggram.classify(np.ascontiguousarray(stereo.T).T, sample_rate=RATE))
    same(heard, taggram.classify(np.repeat(stereo, 2, axis=1)[:, ::2], sample_rate=RATE))
    # Two channels that differ are mixed, not one of them taken.
    floats = samples / 32768
    same(
        taggram.classify(floats / 2, sample_rate=RATE),
        taggram.classify(np.stack([floats, 0 * floats]), sample_rate=RATE),
    )


def test_parts_of_a_song(samples: npt.NDArray[np.int16]) -> None:
    long = np.tile(samples, 10)
    full = taggram.classify(long, sample_rate=RATE)
    for excerpt, seconds in (("middle:30", 30), ("spread:3", 30)):
        heard = taggram.classify(long, sample_rate=RATE, excerpt=excerpt)
        assert 0.8 * seconds < heard.duration_s <= seconds < full.duration_s
    for wrong in ("spread:0", "spread:x", "spread:-1", "middle:0", "some"):
        with pytest.raises(taggram.AudioError, match=wrong):
            taggram.classify(samples, sample_rate=RATE, excerpt=wrong)
    with pytest.raises(taggram.AudioError, match="neither mean nor majority"):
        taggram.classify(samples, sample_rate=RATE, vote="loudest")


def test_features_of_bytes_and_array_are_the_files(song: Path, samples: npt.NDArray[np.int16]) -> None:
    table = taggram.features(song)
    assert table == taggram.features(samples, sample_rate=RATE)
    frames = taggram.feature_frames(song)
    assert len({len(values) for values in frames.values()}) == 1


@pytest.mark.parametrize(
    ("array", "kind", "said"),
    [
        (np.zeros(0, np.float32), "too-short", "0 samples"),
        (np.zeros((0, RATE)), "too-short", "0 samples"),
        (np.array([0.0, np.nan, 0.0]), "malformed", "sample 1 of channel 0 is nan"),
        (np.array([[0.0, 0.0], [0.0, np.inf]]), "malformed", "sample 1 of channel 1 is inf"),
        (np.array([0.0, 1e300]), "malformed", "inf"),
        (np.array([0.0, -32768.0]), "malformed", "reach 32768 where full scale is 1"),
        (np.zeros((RATE, 2)), "unsupported", r"needs \.T"),
        (np.zeros((1, 2, 3)), "malformed", r"\(1, 2, 3\)"),
        (np.zeros(RATE, complex), "unsupported", "complex128"),
        (np.zeros(RATE, np.uint8), "unsupported", "uint8"),
        (np.zeros(RATE, np.int64), "unsupported", "int64"),
        (np.array(["a"]), "unsupported", "U1"),
    ],
)
def test_arrays_that_are_no_audio(array: Samples, kind: str, said: str) -> None:
    for call in (taggram.classify, taggram.features, taggram.feature_frames):
        with pytest.raises(taggram.AudioError, match=said) as caught:
            call(array, sample_rate=RATE)
        assert caught.value.kind == kind and isinstance(caught.value, ValueError)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.kind) == (str(caught.value), kind)


def test_rates() -> None:
    second = np.zeros(RATE, np.float32)
    for rate in (999, 1_000_001, 0, -1):
        with pytest.raises(taggram.AudioError, match=f"{rate} Hz"):
            taggram.classify(second, sample_rate=rate)
    with pytest.raises(TypeError):
        taggram.classify(second, sample_rate=22_050.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="needs its sample_rate"):
        taggram.classify(second)
    with pytest.raises(TypeError, match="a file says its own"):
        taggram.classify(b"RIFF", sample_rate=RATE)
    with pytest.raises(TypeError, match="not list"):
        taggram.classify([0.0])  # type: ignore[arg-type]


def test_limits_hold() -> None:
    hour = np.zeros(3_700 * 1_000, np.float32)
    with pytest.raises(taggram.AudioError, match="longer than the 3600 s") as caught:
        taggram.features(hour, sample_rate=1_000)
    assert caught.value.kind == "over-limit"


def test_files_that_are_no_audio(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        taggram.classify(tmp_path / "none.wav")
    with pytest.raises(OSError):
        taggram.classify(tmp_path)
    with pytest.raises(taggram.AudioError, match="text"):
        taggram.classify(b"Dear diary, today I wrote a file.\n")
    with pytest.raises(taggram.ModelError, match="there is no model"):
        taggram.Model("nonesuch")
    with pytest.raises(taggram.AudioError, match="no feature set"):
        taggram.features(b"", set="nonesuch")
    with pytest.raises(taggram.AudioError, match="names genres, not tags"):
        taggram.tags(tmp_path / "none.wav", model="default")


def test_models_and_answers_are_pickled(song: Path) -> None:
    model = pickle.loads(pickle.dumps(taggram.Model(nearest=True)))
    heard = model.classify(song)
    same(heard, pickle.loads(pickle.dumps(heard)))
    assert "default" in taggram.models()


def genre(song: Path) -> tuple[str, float]:
    heard = taggram.classify(song)
    return heard.genre, heard.confidence


def test_processes_of_every_kind(song: Path) -> None:
    here = genre(song)  # So a fork inherits a model that was used.
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(genre, [song] * 4) == [here] * 4, method


def test_threads_share_a_model(song: Path, samples: npt.NDArray[np.int16]) -> None:
    model = taggram.Model()
    inputs: list[tuple[taggram.Audio, Union[int, None]]] = [(song, None), (samples, RATE)]
    expected = model.classify(song)
    with ThreadPoolExecutor(4) as pool:
        for heard in pool.map(lambda x: model.classify(x[0], sample_rate=x[1]), inputs * 8):
            same(expected, heard)


def test_the_lock_is_released(samples: npt.NDArray[np.int16]) -> None:
    """This thread goes on while another one is in a native call: with the lock held, it would stand still."""
    model = taggram.Model()
    tiled = np.tile(samples, 200).astype(np.float32)
    long = ((tiled / np.float32(32768))[:, np.newaxis], RATE)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(model._native.listen, long, "full", "mean", 1)
        longest, before = 0.0, time.perf_counter()
        while not call.done():
            time.sleep(0.001)
            now = time.perf_counter()
            longest, before = max(longest, now - before), now
    # Taking over the array holds the lock for a moment.
    assert longest < call.result()["elapsed_ms"] / 1e3 / 2


@pytest.mark.skipif(os.name != "posix", reason="SKIPPED: signals of POSIX")
def test_ctrl_c_ends_a_long_song() -> None:
    model, noise = taggram.Model(), np.random.default_rng(1).normal(0, 0.1, 7200 * 1000)
    audio = (noise.astype(np.float32)[:, None], 1000)
    begun = time.perf_counter()
    model._native.listen(audio, "full", "mean", 1)
    whole = time.perf_counter() - begun
    # A shell that starts programs in the background has them ignore the signal, and Python leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        begun = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            model._native.listen(audio, "full", "mean", 1)
        assert time.perf_counter() - begun < whole / 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_everything_public_is_described() -> None:
    for name in taggram.__all__:
        assert name == "Audio" or inspect.getdoc(getattr(taggram, name)), name
