"""Makes the sounds that are no music, against which a model may learn to say `unknown`: FOLDER/clips.

    python3 bench/strange_sounds.py FOLDER      # needs numpy, ffmpeg, espeak-ng, apt-get and dpkg-deb

People speaking (the telephone announcements of Debian's asterisk-core-sounds-*-g722, five speakers of five languages), synthetic voices,
noises and tones, half a minute each, some through a room, a telephone or a hiss. None of it is what bench/unknown_audio.py
measures with: other languages and other voices of espeak-ng, noises and tones by chance. The audio is fetched by
whoever runs this and is never part of the repository; the same seed gives the same clips.
"""

import glob
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from unknown_audio import RATE, coloured, write

SEED, SECONDS, G722_BYTES_PER_S = 20261128, 30, 8_000
SPEAKERS, CLIPS_EACH, NOISES, TONES = ["en", "es", "fr", "it", "ru"], 30, 70, 70
# Neither the languages nor the voices of unknown_audio.py.
LANGUAGES = "nl sv da nb pl cs sk hu fi et tr ro el bg sr hr uk ru lt lv id ms sw eo cy ga eu ca hi ta vi fa".split()
VOICES = "m1 m2 m4 m5 m6 m7 f1 f3 f4 f5 klatt2 klatt4 Andy Mario Denis linda edward paul belinda grandpa whisper croak".split()
SYLLABLES = [a + b for a in "b d f g k l m n p r s t v z".split() for b in "a e i o u".split()]


def disturbed(rng):
    """What ffmpeg does to a voice: mostly nothing."""
    filters = [f"volume={rng.uniform(-18, 0):.1f}dB"]
    if rng.random() < 0.25:
        filters.append("highpass=f=300,lowpass=f=3400")
    if rng.random() < 0.3:
        filters.append(f"aecho=0.8:0.7:{rng.randint(20, 60)}|{rng.randint(61, 120)}:0.4|0.25")
    if rng.random() < 0.3:
        filters.append(f"equalizer=f={rng.choice([150, 500, 2500, 5000])}:t=o:w=2:g={rng.uniform(-8, 8):.1f}")
    return ",".join(filters)


def convert(source, arguments, clip, rng):
    command = ["ffmpeg", "-v", "error", "-y", *arguments, "-i", source, "-t", str(SECONDS), "-af", disturbed(rng)]
    if rng.random() < 0.3:
        hiss = f"anoisesrc=color={rng.choice(['white', 'pink', 'brown'])}:amplitude={10 ** rng.uniform(-3.5, -1.5):.5f}"
        command = command[:-2] + ["-f", "lavfi", "-i", hiss, "-filter_complex"]
        command.append(f"[0:a]aresample={RATE},{disturbed(rng)}[a];[a][1:a]amix=duration=first:normalize=0")
    subprocess.run(command + ["-ac", "1", "-ar", str(RATE), clip], check=True, timeout=120)


def people(folder):
    """Announcements one after the other: raw G.722 may be joined as it is."""
    jobs = []
    for language in SPEAKERS:
        package = f"asterisk-core-sounds-{language}-g722"
        place = os.path.join(folder, "files", package)
        if not os.path.isdir(place):
            os.makedirs(place)
            subprocess.run(["apt-get", "download", "-q", package], cwd=place, check=True)
            subprocess.run(["dpkg-deb", "-x", *glob.glob(os.path.join(place, "*.deb")), place], check=True)
        found = sorted(glob.glob(os.path.join(place, "**", "*.g722"), recursive=True))
        jobs += [(language, number, found) for number in range(CLIPS_EACH)]

    def one(job):
        language, number, found = job
        rng = random.Random(f"{SEED} {language} {number}")
        raw = os.path.join(folder, f"{language}-{number}.g722")
        with open(raw, "wb") as out:
            while out.tell() < SECONDS * G722_BYTES_PER_S:
                path = rng.choice(found)
                if "silence" not in path:
                    out.write(open(path, "rb").read())
        convert(raw, ["-f", "g722"], os.path.join(folder, "clips", "person", f"person.{language}{number:02}.wav"), rng)
        os.remove(raw)

    return jobs, one


def voices(folder):
    """espeak-ng reading sentences of chance syllables, each language by its own rules."""
    jobs = [(language, number) for language in LANGUAGES for number in range(5)]

    def one(job):
        language, number = job
        rng = random.Random(f"{SEED} {language} {number} voice")
        word = lambda: "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4)))
        text = " ".join(" ".join(word() for _ in range(rng.randint(3, 14))) + rng.choice([".", ",", "?", "."]) for _ in range(30))
        raw = os.path.join(folder, f"{language}-{number}.wav")
        voice = f"{language}+{rng.choice(VOICES)}"
        speed, pitch = str(rng.randint(110, 220)), str(rng.randint(15, 85))
        subprocess.run(["espeak-ng", "-v", voice, "-s", speed, "-p", pitch, "-w", raw, text], check=True, timeout=120)
        convert(raw, [], os.path.join(folder, "clips", "voice", f"voice.{language}{number:02}.wav"), rng)
        os.remove(raw)

    return jobs, one


def noises(folder):
    rng = np.random.default_rng(SEED)
    n = RATE * SECONDS
    t = np.arange(n) / RATE
    for number in range(NOISES):
        noise = coloured(rng, n, rng.uniform(-1.2, 2.6))
        if rng.random() < 0.4:  # a band of it
            spectrum = np.fft.rfft(noise)
            middle, width = n / RATE * 10 ** rng.uniform(2.0, 3.9), 10 ** rng.uniform(-0.7, 0.3)
            spectrum *= np.exp(-((np.log(np.maximum(np.arange(len(spectrum)), 1) / middle) / width) ** 2))
            noise = np.fft.irfft(spectrum, n)
        if rng.random() < 0.5:  # swelling
            noise *= 1 + rng.uniform(0.3, 0.95) * np.sin(2 * np.pi * rng.uniform(0.05, 3) * t + rng.uniform(0, 6))
        if rng.random() < 0.3:  # drops, clicks
            clicks = np.where(rng.random(n) < rng.uniform(2, 200) / RATE, rng.normal(size=n), 0.0)
            clicks = np.convolve(clicks, np.exp(-np.arange(2000) / rng.uniform(10, 400)), "same")
            noise = clicks + rng.uniform(0, 0.3) * noise / np.abs(noise).max()
        write(os.path.join(folder, "clips", "noise"), f"noise.{number:02}", noise)
    for number in range(TONES):
        sound = np.zeros(n)
        for _ in range(rng.integers(1, 4)):
            hertz = 10 ** rng.uniform(1.7, 3.85)
            moving = rng.random()
            if moving < 0.5:  # still
                phase = hertz * t
            elif moving < 0.75:  # sweeping
                end = 10 ** rng.uniform(1.7, 3.85)
                phase = hertz * t + (end - hertz) / (2 * SECONDS) * t**2
            else:  # wailing
                rate = rng.uniform(0.1, 4)
                phase = hertz * t + hertz * rng.uniform(0.01, 0.4) / (2 * np.pi * rate) * np.sin(2 * np.pi * rate * t)
            wave = np.sin(2 * np.pi * phase)
            for harmonic in range(2, rng.integers(2, 8)):
                if hertz * harmonic < RATE / 2.5:
                    wave += rng.uniform(0, 1) / harmonic * np.sin(2 * np.pi * harmonic * phase)
            if rng.random() < 0.3:  # beeping
                wave *= np.sin(2 * np.pi * rng.uniform(0.2, 4) * t) > rng.uniform(-0.5, 0.5)
            sound += rng.uniform(0.2, 1) * wave
        if rng.random() < 0.5:
            sound += 10 ** rng.uniform(-4, -1) * rng.normal(size=n)
        write(os.path.join(folder, "clips", "tone"), f"tone.{number:02}", sound)


def main(folder):
    folder = os.path.abspath(folder)
    for kind in ("person", "voice", "noise", "tone"):
        os.makedirs(os.path.join(folder, "clips", kind), exist_ok=True)
    for kind in (people, voices):
        jobs, one = kind(folder)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, jobs))
    noises(folder)


if __name__ == "__main__":
    main(sys.argv[1])
