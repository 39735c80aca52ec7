"""Writes sounds that are no music of any genre to FOLDER: noise, tones and speech, all made here.

    python3 bench/unknown_audio.py FOLDER       # needs numpy and espeak-ng

Six kinds of noise, four of tones and 20 s of speech in six languages by two voices each; everything follows from
the seed below.
"""

import os
import subprocess
import sys
import wave

import numpy as np

RATE, SECONDS, SEED = 22_050, 20, 20261120
SPEECH = {
    "en": "The committee met on Thursday to talk about the new bridge, and nobody could agree on its colour. "
    "Some wanted green, because the river is green; others said that a bridge should be the colour of rust, "
    "since that is what it will become. In the end they went home without a decision, as they often do.",
    "de": "Der Zug nach Norden fährt heute von Gleis sieben ab und hat etwa zwanzig Minuten Verspätung. "
    "Reisende mit Fahrrädern steigen bitte am Ende des Zuges ein, denn vorne ist kein Platz mehr.",
    "fr": "Le matin, la boulangère ouvre sa porte à six heures et demie, et toute la rue sent le pain chaud. "
    "Les enfants passent en courant, les vieux prennent leur temps et demandent des nouvelles de la mer.",
    "es": "En el mercado se vendían naranjas, pescado fresco y relojes que no andaban. Mi abuela decía que un "
    "reloj parado acierta dos veces al día, y que eso es más de lo que se puede decir de mucha gente.",
    "it": "La signora del terzo piano suona le scale ogni sera, ma questa non è musica, è solo pazienza. "
    "Intanto il gatto dorme sul davanzale e la pioggia scende piano sopra i tetti.",
    "pt": "O barco saiu do porto antes do nascer do sol, carregado de sal e de cartas que ninguém tinha lido. "
    "O capitão olhou o céu, coçou a barba e disse que o vento havia de mudar antes da noite.",
}


def write(folder, name, samples):
    samples = 0.5 * samples / np.abs(samples).max()
    with wave.open(os.path.join(folder, name + ".wav"), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((samples * 32767).astype("<i2").tobytes())


def coloured(rng, n, power):
    """Noise whose power falls with frequency to the given power: 0 white, 1 pink, 2 brown, −1 blue."""
    spectrum = np.fft.rfft(rng.normal(size=n))
    frequency = np.maximum(np.arange(len(spectrum)), 1.0)
    return np.fft.irfft(spectrum / frequency ** (power / 2), n)


def main(folder):
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(SEED)
    n = RATE * SECONDS
    t = np.arange(n) / RATE
    for name, power in [("white", 0), ("pink", 1), ("brown", 2), ("blue", -1)]:
        write(folder, f"noise-{name}", coloured(rng, n, power))
    gusts = 1.0 + 0.9 * np.sin(2 * np.pi * 0.13 * t) * np.sin(2 * np.pi * 0.31 * t)
    write(folder, "noise-wind", coloured(rng, n, 1.5) * gusts)
    clicks = np.where(rng.random(n) < 8 / RATE, rng.normal(size=n), 0.0)
    write(folder, "noise-crackle", np.convolve(clicks, np.exp(-np.arange(400) / 40), "same"))
    for hertz in (100, 440, 3000):
        write(folder, f"tone-{hertz}", np.sin(2 * np.pi * hertz * t))
    write(folder, "tone-sweep", np.sin(2 * np.pi * (50 * t + (8000 - 50) / (2 * SECONDS) * t**2)))
    for language, text in SPEECH.items():
        for voice, speed in [("m3", 150), ("f2", 175)]:
            path = os.path.join(folder, f"speech-{language}-{voice}.wav")
            voice = f"{language}+{voice}"
            subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", path, " ".join([text] * 3)], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
