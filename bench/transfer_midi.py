"""Plays clips of made music in many styles: chords and a melody by chance, accompanied by MMA (Musical MIDI
Accompaniment, Debian's `mma`), sounded by FluidSynth with a General MIDI bank. Below FOLDER/clips/midi.

    python3 bench/transfer_midi.py FOLDER [CLIPS]        # default 1500; needs mma, fluidsynth, fluid-soundfont-gm, ffmpeg

The same seed gives the same notes. A third of the clips is made to sound old or poor: band-limited, saturated, with hiss.
"""

import glob
import os
import random
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

STYLES = "/usr/share/mma/lib"
BANK = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
RATE, LENGTH_S = 22_050, 30.2

# Degrees (semitones above the key) and the chord on each; one list is repeated to fill the clip.
TURNS = {
    "blues": [[(0, "7"), (0, "7"), (0, "7"), (0, "7"), (5, "7"), (5, "7"), (0, "7"), (0, "7"), (7, "7"), (5, "7"), (0, "7"), (7, "7")]],
    "jazz": [
        [(2, "m7"), (7, "7"), (0, "M7"), (9, "7")],
        [(0, "m7"), (5, "7"), (10, "M7"), (3, "M7"), (9, "m7b5"), (2, "7"), (7, "m"), (7, "m")],
        [(0, "M7"), (9, "m7"), (2, "m7"), (7, "7")],
    ],
    "plain": [
        [(0, ""), (7, ""), (9, "m"), (5, "")],
        [(0, ""), (5, ""), (0, ""), (7, "")],
        [(9, "m"), (5, ""), (0, ""), (7, "")],
        [(0, ""), (0, ""), (5, ""), (5, ""), (7, ""), (5, ""), (0, ""), (7, "")],
        [(0, "m"), (8, ""), (10, ""), (0, "m")],
        [(0, "m"), (5, "m"), (7, "7"), (0, "m")],
    ],
}
NOTES = "C C# D Eb E F F# G Ab A Bb B".split()
# What sings, as General MIDI numbers from 0: pianos, organs, harmonica, guitars, strings, choirs, brass, reeds, flutes, leads.
VOICES = [0, 4, 16, 18, 22, 24, 25, 26, 27, 28, 29, 30, 40, 42, 48, 52, 53, 56, 57, 60, 64, 65, 66, 68, 71, 73, 75, 80, 81, 85]
RHYTHMS = [[4, 4, 4, 4], [2, 4, 4], [8, 8, 4, 8, 8, 4], [4, 8, 8, 2], [8] * 8, [2, 2], [1], [4, 4, 2]]
SCALES = {"blues": [0, 3, 5, 6, 7, 10], "jazz": [0, 2, 3, 5, 7, 9, 10], "plain": [0, 2, 4, 7, 9]}


def grooves():
    """Every style's file and name, in a fixed order."""
    found = []
    for path in sorted(glob.glob(f"{STYLES}/*/*.mma")):
        if path.startswith(f"{STYLES}/zoom/"):
            continue  # drums alone
        with open(path, errors="replace") as file:
            names = re.findall(r"(?im)^\s*defgroove\s+(\S+)", file.read())
        found += [(os.path.relpath(path, STYLES)[:-4], n) for n in names]
    return [g for g in found if not re.search(r"(?i)(intro|end|fill|metronome|count)\d*$", g[1])]


def score(groove, rng):
    """An MMA file."""
    name = (groove[0] + groove[1]).lower()
    if "blues" in name or "boog" in name or "rb" in name:
        kind = "blues"
    elif any(w in name for w in ("jazz", "swing", "bebop", "bossa", "latin", "dixie", "fusion", "combo")):
        kind = "jazz"
    else:
        kind = "plain"
    key, chords = rng.randrange(12), rng.choice(TURNS[kind])
    tempo = rng.randint(66, 168)
    # A bar has three beats or more: enough of them to fill the clip in any metre.
    bars = int((LENGTH_S + 8) * tempo / 60 / 3)
    lines = [f"Tempo {tempo}", f"Groove {groove[0]}:{groove[1]}"]
    melody = rng.random() < 0.7
    if melody:
        lines += [f"Solo Voice {rng.choice(VOICES)}", f"Solo Octave {rng.choice([4, 5, 5, 6])}",
                  f"Solo Volume {rng.choice(['mf', 'f', 'ff'])}", "Solo Articulate 85"]
    for bar in range(bars):
        degree, quality = chords[bar % len(chords)]
        if melody and rng.random() < 0.85:
            notes = []
            for length in rng.choice(RHYTHMS):
                note = NOTES[(key + rng.choice(SCALES[kind])) % 12]
                # MMA writes flats as &.
                tone = note[0].lower() + note[1:].replace("b", "&")
                notes.append(f"{length}{tone if rng.random() < 0.85 else 'r'}")
            lines.append("Solo Riff " + ";".join(notes) + ";")
        lines.append(f"{bar + 1} {NOTES[(key + degree) % 12]}{quality}")
    return "\n".join(lines) + "\n"


def sound(rng):
    """What ffmpeg does to a clip, or nothing."""
    if rng.random() > 0.35:
        return "volume=-3dB"
    low, high = rng.choice([40, 80, 150, 250]), rng.choice([3000, 4000, 5500, 7500])
    hiss = rng.choice([0.001, 0.003, 0.008])
    return (f"highpass=f={low},lowpass=f={high},volume={rng.choice([6, 12])}dB,asoftclip=type=tanh,volume=-4dB,"
            f"aeval=val(0)+{hiss}*(random(0)*2-1):c=same")


def main(folder, clips):
    out = os.path.join(folder, "clips", "midi")
    os.makedirs(out, exist_ok=True)
    known = grooves()
    random.Random(0).shuffle(known)

    def make(number):
        rng, groove = random.Random(number), known[number % len(known)]
        clip = os.path.join(out, f"midi.{number:05}.wav")
        if os.path.exists(clip):
            return f"midi.{number:05}\t{':'.join(groove)}\n"
        with tempfile.TemporaryDirectory() as work:
            paths = [os.path.join(work, n) for n in ("s.mma", "s.mid", "s.wav")]
            with open(paths[0], "w") as file:
                file.write(score(groove, rng))
            said = subprocess.run(["mma", "-w", "-f", paths[1], paths[0]], capture_output=True, text=True)
            if not os.path.exists(paths[1]):
                return f"# {':'.join(groove)}: {said.stdout.strip().splitlines()[-1:]}\n"
            subprocess.run(["fluidsynth", "-ni", "-q", "-g", "0.5", "-r", str(RATE), "-F", paths[2], BANK, paths[1]],
                           capture_output=True, timeout=900)
            subprocess.run(["ffmpeg", "-v", "error", "-y", "-ss", "4", "-t", str(LENGTH_S), "-i", paths[2], "-ac", "1",
                            "-af", sound(rng), "-ar", str(RATE), clip], capture_output=True, timeout=900)
        return f"midi.{number:05}\t{':'.join(groove)}\n"

    with ThreadPoolExecutor(os.cpu_count()) as pool, open(os.path.join(folder, "midi.txt"), "w") as log:
        log.writelines(pool.map(make, range(clips)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1500)
