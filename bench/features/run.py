#!/usr/bin/env python3
"""Times our features against librosa and torchaudio on the same clips in the same run, one thread each.

    python bench/features/run.py [CLIPS]           (needs TAGGRAM_DATA)

Prints milliseconds of processor time a 30-s clip (so that other work on the machine matters little): the
median over the clips of the mean of several repeats. Start of the processes, decoding and librosa's first-call
compilation are not counted. Without torchaudio its row
is made of the same steps in plain torch (stft, |x|², filterbank product) and says so.
"""
import platform
import subprocess
import sys
import tempfile
import time

import librosa
import numpy as np

from reference import RATE, clips, gtzan57, tool


def mean_ms(work, repeats):
    work()
    start = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - start) * 1e3 / repeats


def torch_mel(hop):
    """(name, function of samples) for torch's mel power spectrogram with librosa's filters."""
    import torch

    torch.set_num_threads(1)
    try:
        from torchaudio.transforms import MelSpectrogram

        shape = {"n_fft": 2048, "hop_length": hop, "n_mels": 128}
        mel = MelSpectrogram(RATE, **shape, norm="slaney", mel_scale="slaney", pad_mode="constant")
        return "torchaudio", torch.inference_mode()(lambda y: mel(torch.from_numpy(y)))
    except (ImportError, RuntimeError, OSError):
        bank = torch.from_numpy(librosa.filters.mel(sr=RATE, n_fft=2048))
        window = torch.hann_window(2048)

        def mel(y):
            x = torch.stft(torch.from_numpy(y), 2048, hop, window=window, pad_mode="constant", return_complex=True)
            return bank @ x.abs().pow(2)

        return "torch (torchaudio's steps)", torch.inference_mode()(mel)


def main():
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    program = tool()
    with tempfile.TemporaryDirectory() as folder:
        songs = clips(folder)
        songs = songs[:: max(1, len(songs) // limit)][:limit]
        paths = [path for _, _, path in songs]
        gtzan57(songs[0][1])

        def ours(*command):
            text = subprocess.run([program, *command, *paths], check=True, capture_output=True, text=True).stdout
            return np.median([float(x) for x in text.split()])

        def theirs(work, repeats):
            return np.median([mean_ms(lambda y=y: work(y), repeats) for _, y, _ in songs])

        print(f"{len(songs)} clips of 30 s; {platform.processor() or platform.machine()}; librosa {librosa.__version__}\n")
        print("| work | ours, ms | other, ms | ratio |")
        print("|---|---|---|---|")
        for name, us, them in [
            ("gtzan57 / librosa, each feature from the samples", ours("time", "gtzan57", "5"), theirs(gtzan57, 2)),
            *(
                (f"mel, hop {hop} / {torch_mel(hop)[0]}", ours("mel", str(hop), "20"), theirs(torch_mel(hop)[1], 20))
                for hop in (512, 1709)
            ),
            ("mel, hop 512 / librosa", ours("mel", "512", "20"), theirs(lambda y: librosa.feature.melspectrogram(y=y), 5)),
        ]:
            print(f"| {name} | {us:.2f} | {them:.2f} | {them / us:.1f} |")


if __name__ == "__main__":
    main()
