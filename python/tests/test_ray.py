"""The example of Ray Data, run as a person runs it."""

from __future__ import annotations

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import taggram

EXAMPLE = Path(__file__).parent.parent / "examples" / "ray_data.py"
RATE = 22_050


def test_ray_data(tmp_path: Path) -> None:
    music, out = tmp_path / "music", tmp_path / "genres"
    (music / "album").mkdir(parents=True)
    t = np.arange(40 * RATE) / RATE
    for i in range(10):
        tone = np.sin(2 * np.pi * (110 + 50 * i) * t) * np.sin((i + 1) * t)
        with wave.open(str(music / "album" / f"{i}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((12_000 * tone).astype("<i2").tobytes())
    (music / "broken.mp3").write_bytes(b"No music at all.\n" * 99)
    (music / "cover.jpg").write_bytes(b"")

    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(music), str(out), "2"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = {row["path"]: row for row in pq.read_table(out).to_pylist()}
    assert len(rows) == 11 == pq.read_table(out).num_rows
    broken = rows.pop(str(music / "broken.mp3"))
    with pytest.raises(taggram.AudioError) as caught:
        taggram.classify(music / "broken.mp3")
    assert broken["error"] == str(caught.value) and not broken["genre"]
    for path, row in rows.items():
        heard = taggram.classify(path, excerpt="spread:3")
        assert (row["genre"], row["confidence"], row["error"]) == (heard.genre, heard.confidence, "")
