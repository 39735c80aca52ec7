"""Trains every network of the five systems and writes docs/results/systems.md from what came of it.

    python3 bench/systems.py [--taggram PROGRAM] [--data DATA] [--runs FOLDER] [--table-only] [--only NAME …]

DATA holds gtzan/ ($TAGGRAM_DATA, else ../shared/data); musicnn must be installed for its fine-tuning
(`taggram model import`). Finished runs in FOLDER (runs/systems) are kept, unfinished ones go on from their
last checkpoint; of a run that has no folder there, the page keeps what it said before. Needs Python's
standard library alone.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What the cached arrays were made with: a column every 1709 samples.
CACHED = ["front_end.n_fft=2048", "front_end.hop=1709"]
SEGMENTS = "random-segment:70/10/20@0"
ADAM = ['optimiser={ kind = "adam", learning_rate = 0.0003, clip_norm = 5.0 }',
        'schedule={ kind = "cosine", warmup_epochs = 0.5 }']
# Narrower networks, which a small machine can train for longer.
VGG_EIGHTH = ["model.filters=[8, 16, 32, 64, 64]"]
CNN_QUARTER = ["model.filters=[16, 32, 64, 128]", "model.dense=256", "optimiser.learning_rate=0.0005"]
HALF = ["model.width=32"]


class Run:
    """One training and its test. `protocol`: a split's name, or the number of artist-grouped folds."""

    def __init__(self, name, system, network, claim, recipe, data, protocol, sets, note=""):
        self.name, self.system, self.network, self.claim = name, system, network, claim
        self.recipe, self.data, self.protocol, self.sets, self.note = recipe, data, protocol, sets, note

    def folds(self):
        return isinstance(self.protocol, int)

    def leaky(self):
        return not self.folds() and self.protocol.startswith("random-segment")


def fit(epochs, patches=1, hop=128):
    return [f"fit.epochs={epochs}", f"fit.patches_per_clip={patches}", f"windows.hop={hop}"]


VGG_CLAIM = ".9702 (random-segment)"
CNN_CLAIM = ".82 test, .96 train (chunks)"
NINE_CLAIM = "~.95 (random-segment)"
# A pair of the leakage table makes the same number of updates on both sides: 442 songs × 9 epochs beside
# 999 × 4 (27 beside 12), 50 clips × 10 beside 100 × 5.
CRNN_CACHED = ["front_end.sample_rate=22050", "front_end.map.bands=128", "windows.frames=384"] + CACHED
CNN599_CACHED = CACHED + ["windows.frames=387"]
RUNS = [
    Run("resnet18-mel", 2, "ResNet18, mel picture", ".84 (90/10 songs)", "system2-resnet18-mel", "mel",
        "fault-filtered", fit(20)),
    Run("lstm", 2, "LSTM, MFCC series", ".42", "system2-lstm", "mel", "fault-filtered", fit(9, 4)),
    Run("lstm-segments", 2, "LSTM, MFCC series", ".42", "system2-lstm", "mel", SEGMENTS, fit(4, 4, 64)),
    Run("cnn-quarter", 1, "CNN, 128 × 128 chunks, a quarter as wide", CNN_CLAIM, "system1-cnn", "mel",
        "fault-filtered", CACHED + CNN_QUARTER + fit(27, 2)),
    Run("cnn-quarter-segments", 1, "CNN, 128 × 128 chunks, a quarter as wide", CNN_CLAIM, "system1-cnn", "mel",
        SEGMENTS, CACHED + CNN_QUARTER + fit(12, 2, 64)),
    Run("vgg16-eighth", 0, "VGG16, an eighth as wide", VGG_CLAIM, "system0-vgg16", "mel", "fault-filtered",
        CACHED + VGG_EIGHTH + ADAM + fit(27, 1, 129)),
    Run("vgg16-eighth-segments", 0, "VGG16, an eighth as wide", VGG_CLAIM, "system0-vgg16", "mel", SEGMENTS,
        CACHED + VGG_EIGHTH + ADAM + fit(12, 1, 64)),
    Run("mfcc-cnn-3s", 2, "9-layer CNN, MFCC + RMS, 3 s", NINE_CLAIM, "system2-mfcc-cnn-3s", "audio", 2,
        fit(10, 4, 130)),
    Run("mfcc-cnn-3s-segments", 2, "9-layer CNN, MFCC + RMS, 3 s", NINE_CLAIM, "system2-mfcc-cnn-3s", "audio",
        SEGMENTS, fit(5, 4, 65)),
    Run("resnet18-wave", 2, "ResNet18, wave plot, half as wide", ".48", "system2-resnet18-wave", "audio", 2,
        HALF + ["fit.batch=8"] + fit(30)),
    Run("resnet18-zcr", 2, "ResNet18, zero-crossing plot, half as wide", ".50", "system2-resnet18-zcr", "audio",
        2, HALF + ["fit.batch=8"] + fit(30)),
    Run("resnet18-mfcc", 2, "ResNet18, MFCC plot, half as wide", ".70", "system2-resnet18-mfcc", "mel",
        "fault-filtered", HALF + fit(20)),
    Run("multimodal", 2, "ResNet18 ‖ LSTM, half as wide", "none", "system2-multimodal", "mel", "fault-filtered",
        HALF + fit(15)),
    Run("crnn-quarter", 1, "CRNN, a quarter as wide", "none", "system1-crnn", "mel", "fault-filtered",
        CRNN_CACHED + ["model.filters=[16, 32, 32, 32]"] + fit(12, 1, 384)),
    Run("system3-cnn-quarter", 3, "CNN, 599 × 128, a quarter as wide", ".79 mean precision (its code: .469)",
        "system3-cnn", "mel", "fault-filtered",
        CNN599_CACHED + ["model.filters=[37, 18, 9]", "model.dense=[2048]"] + fit(5, 1, 387)),
    Run("musicnn-finetune", 4, "musicnn, fine-tuned, front-end kept", ".786 (SVM on its layers)",
        "system4-musicnn-finetune", "audio", 2, fit(4, 2, 187)),
    Run("musicnn", 4, "musicnn, from random weights", "none", "system4-musicnn", "audio", 2, fit(4, 1, 187)),
    Run("mfcc-cnn-6s", 2, "9-layer CNN, MFCC + RMS, 6 s", NINE_CLAIM, "system2-mfcc-cnn-6s", "audio", 2,
        fit(6, 4, 259)),
    Run("mfcc-cnn-9s", 2, "9-layer CNN, MFCC + RMS, 9 s", NINE_CLAIM, "system2-mfcc-cnn-9s", "audio", 2,
        fit(5, 3, 388)),
    Run("vgg16-chroma-eighth", 0, "VGG16 on mel and chroma, an eighth as wide", VGG_CLAIM,
        "system0-vgg16-chroma", "audio", 2, VGG_EIGHTH + ADAM + fit(20, 3, 129)),
    Run("cnn", 1, "CNN, 128 × 128 chunks", CNN_CLAIM, "system1-cnn", "mel", "fault-filtered",
        CACHED + fit(6, 1, 259)),
    Run("crnn", 1, "CRNN", "none", "system1-crnn", "mel", "fault-filtered", CRNN_CACHED + fit(2, 1, 384)),
    Run("system3-cnn", 3, "CNN, 599 × 128", ".79 mean precision (its code: .469)", "system3-cnn", "mel",
        "fault-filtered", CNN599_CACHED + fit(2, 1, 387)),
    Run("vgg16", 0, "VGG16", VGG_CLAIM, "system0-vgg16", "mel", "fault-filtered",
        CACHED + ADAM + fit(2, 1, 258)),
]


def options(run):
    sets = list(run.sets)
    if run.leaky():
        sets.append(f"data.split={run.protocol}")
    return [word for s in sets for word in ("--set", s)]


def shown(words):
    """A command as it is typed, with names for what lies elsewhere on other machines."""
    quoted = [f"'{w}'" if re.search(r"[ \[{]", w) else w for w in words]
    return " ".join(quoted)


def children():
    """Seconds of processor time that all finished child processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def logged(words, log):
    """Runs a command with its talk in a file."""
    with open(log, "ab") as out:
        subprocess.run(words, stdout=out, stderr=subprocess.STDOUT, check=True)


def train(run, taggram, data, folder):
    """Trains and tests; what the table needs goes to run.json."""
    if (folder / "run.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    dataset, log, recipe = data / "gtzan" / run.data, folder / "log", f"recipes/{run.recipe}.toml"
    named = "GTZAN/" + run.data
    facts = {"commands": []}
    # Processor time of tries that were interrupted counts too.
    spent_file = folder / "spent"
    spent = float(spent_file.read_text()) if spent_file.exists() else 0.0
    before = children()
    try:
        if run.folds():
            words = ["evaluate", recipe, "--data", str(dataset), "--cv", str(run.protocol), "--group", "artist"]
            words += options(run) + ["--out", str(folder / "report")]
            logged([taggram] + words, log)
            facts["commands"].append("taggram " + shown(words[:3] + [named] + words[4:-1] + ["REPORT"]))
        else:
            words = ["train", recipe, "--data", str(dataset)] + options(run) + ["--out", str(folder)]
            logged([taggram] + words + ["--resume"], log)
            facts["commands"].append("taggram " + shown(words[:3] + [named] + words[4:-1] + ["RUN"]))
    finally:
        spent += children() - before
        spent_file.write_text(str(spent))
    facts["cpu_seconds"] = spent
    model = folder / "model.safetensors"
    if run.folds():
        # Folds leave no model behind. Size and speed do not depend on the weights: one epoch is enough.
        words = ["train", recipe, "--data", str(dataset)] + options(run)
        words += ["--set", "data.split=random-song:80/10/10@0", "--set", "fit.epochs=1"]
        words += ["--set", "fit.patches_per_clip=1", "--out", str(folder)]
        logged([taggram] + words, folder / "log-of-size")
    else:
        words = ["evaluate", str(model), "--data", str(dataset), "--split", run.protocol]
        logged([taggram] + words + ["--out", str(folder / "report")], log)
        facts["commands"].append(
            f"taggram evaluate RUN/model.safetensors --data {named} --split {run.protocol} --out REPORT")
    facts["bytes"] = model.stat().st_size
    text = log.read_text(errors="replace")
    if found := re.findall(r"(\d+) parameters, ([\d.]+) million", text):
        facts["parameters"], facts["mmacs"] = int(found[-1][0]), float(found[-1][1])
    if found := re.findall(r"(\d+) train and (\d+) validation", text):
        facts["songs"] = [int(n) for n in found[-1]]
    if found := re.findall(r"windows of (\d+) songs to learn from, of (\d+)", text):
        facts["songs"] = [int(n) for n in found[-1]]
    if run.folds():
        facts["songs"] = [100 * (run.protocol - 1) // run.protocol, 0]
    if found := re.findall(r"^epoch +(\d+)/", text, re.M):
        facts["epochs"] = max(int(n) for n in found)
    if found := re.findall(r"epoch (\d+) is kept", text):
        facts["best"] = int(found[-1])
    (folder / "run.json").write_text(json.dumps(facts, indent=1))


def measure(run, taggram, data, folder):
    """Seconds from the start of the program to the answer for a 30 s song, one thread, best of three; and how
    far ONNX Runtime's answers to that song are from ours, where Python has it."""
    path = folder / "run.json"
    facts, model = json.loads(path.read_text()), folder / "model.safetensors"
    song = sorted((data / "gtzan" / "audio" / "rock").glob("*"))[0]
    words = [taggram, "classify", str(song), "--model", str(model), "--jobs", "1"]
    best = float("inf")
    for _ in range(3):
        started = time.monotonic()
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
        best = min(best, time.monotonic() - started)
    facts["seconds"] = best
    pair = pathlib.Path(taggram).parent / "examples" / "onnx_pair"
    if pair.exists():
        with tempfile.TemporaryDirectory() as exported:
            subprocess.run([pair, model, song, exported], check=True)
            check = ROOT / "crates/taggram-model/tests/onnx/check.py"
            done = subprocess.run([sys.executable, check, exported], capture_output=True, text=True)
            print(f"{run.name}: {done.stdout.strip() or done.stderr.strip()}", file=sys.stderr)
            if found := re.search(r"at most ([\d.e+-]+) apart", done.stdout):
                facts["onnx"] = float(found[1])
    path.write_text(json.dumps(facts, indent=1))


def figures(folder):
    path = folder / "report" / "metrics.json"
    if not path.exists():
        return None
    return [(p["protocol"], p["metrics"]) for p in json.loads(path.read_text())["protocols"]]


def percent(metrics):
    interval = metrics["accuracy_interval"]
    return f"{100 * metrics['accuracy']:.1f} ({100 * interval['low']:.1f}–{100 * interval['high']:.1f})"


def minutes(seconds):
    return f"{seconds / 60:.1f} min"


def learnt_from(run, facts):
    what = {"mel": "mel arrays", "audio": "clips"}[run.data]
    values = dict(s.split("=", 1) for s in run.sets if s.startswith("fit."))
    each, epochs = int(values["fit.patches_per_clip"]), int(values["fit.epochs"])
    if "songs" not in facts:
        return f"{what}: {epochs} epochs × {each} a song"
    songs, done = facts["songs"][0], facts.get("epochs", epochs)
    return f"{songs} {what}, {done} × {each} windows each = {songs * done * each:,}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--taggram", default="target/debug/taggram")
    parser.add_argument("--data", default=os.environ.get("TAGGRAM_DATA", "../shared/data"))
    parser.add_argument("--runs", default="runs/systems")
    parser.add_argument("--table-only", action="store_true")
    parser.add_argument("--measure", action="store_true", 
                        help="only measure finished models: their speed, and ONNX Runtime beside them")
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    taggram, data = str(pathlib.Path(arguments.taggram).resolve()), pathlib.Path(arguments.data).resolve()
    folder = pathlib.Path(arguments.runs).resolve()
    os.chdir(ROOT)
    chosen = [r for r in RUNS if not arguments.only or r.name in arguments.only]
    for run in chosen:
        if not (arguments.table_only or arguments.measure):
            print(time.strftime("%H:%M:%S"), run.name, file=sys.stderr, flush=True)
            try:
                train(run, taggram, data, folder / run.name)
            except subprocess.CalledProcessError:
                print(f"{run.name}: failed, see {folder / run.name / 'log'}", file=sys.stderr)
    if arguments.measure:
        for run in chosen:
            if (folder / run.name / "run.json").exists():
                measure(run, taggram, data, folder / run.name)
    import systems_table

    written = ROOT / "docs/results/systems.md"
    earlier = written.read_text() if written.exists() else ""
    text = systems_table.page(RUNS, folder, figures, percent, minutes, learnt_from, earlier)
    written.write_text(text)
    print("docs/results/systems.md")


if __name__ == "__main__":
    main()
