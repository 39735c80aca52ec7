"""A library of mp3 files of real length, made from GTZAN's clips.

    python bench/library/make.py $TAGGRAM_DATA/gtzan/audio OUT 5000

Fifty songs of three minutes (six clips of one genre each, 44.1 kHz, stereo, 96 kbit/s, in folders by
genre) are encoded by ffmpeg; every further file is one of them without its first n frames, so that
each holds other audio and none can be recognised. 2.2 MB a file.
"""

import random
import subprocess
import sys
from pathlib import Path

SONGS, CLIPS = 50, 6
BITRATES = {i: rate for i, rate in enumerate((0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320))}


def encode(clips, out):
    inputs = [argument for clip in clips for argument in ("-i", str(clip))]
    joined = "".join(f"[{i}:a]" for i in range(len(clips))) + f"concat=n={len(clips)}:v=0:a=1,aresample=44100[a]"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *inputs, "-filter_complex", joined, "-map", "[a]", "-ac", "2",
         "-c:a", "libmp3lame", "-b:a", "96k", "-write_xing", "0", "-id3v2_version", "0", str(out)],
        check=True,
    )


def frames(data):
    """Offsets of the frames of an MPEG 1 layer III stream at 44.1 kHz."""
    at = 0
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] & 0xE0 == 0xE0:
        yield at
        rate, padding = BITRATES[data[at + 2] >> 4], data[at + 2] >> 1 & 1
        at += 144 * rate * 1000 // 44100 + padding


def main(audio, out, count):
    out.mkdir(parents=True, exist_ok=True)
    genres = sorted(folder.name for folder in audio.iterdir())
    rng, songs = random.Random(1), []
    for i in range(SONGS):
        genre = genres[i % len(genres)]
        song = out / f".song-{i:02}.mp3"
        if not song.exists():
            encode(rng.sample(sorted((audio / genre).glob("*.flac")), CLIPS), song)
        data = song.read_bytes()
        songs.append((genre, data, list(frames(data))))
    for i in range(count):
        genre, data, starts = songs[i % SONGS]
        folder = out / genre / f"album {i // SONGS // 10:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:05}.mp3").write_bytes(data[starts[i // SONGS]:])
    for song in out.glob(".song-*.mp3"):
        song.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
