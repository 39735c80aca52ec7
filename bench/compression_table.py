"""The upper part of docs/results/compression.md from what bench/compression.sh left in a folder.

    python3 bench/compression_table.py PAGE WORK DATA BEFORE:AFTER…

What stands in PAGE from its marker on is written by hand and is kept.
"""

import contextlib
import csv
import io
import json
import math
import pathlib
import platform
import struct
import sys

MARKER = "<!-- What follows is written by hand; bench/compression.sh keeps it. -->"

NAMES = {
    "default": "default (f16 as shipped)",
    "default-int8": "default, int8",
    "default-filters": "default, a quarter of the filters out (f16)",
    "resnet18": "ResNet18 (mel)",
    "resnet18-int8": "ResNet18 (mel), int8",
    "mlp": "MLP",
    "mlp-pruned": "MLP, half of the weights 0, the rest int8",
    "musicnn": "musicnn",
    "musicnn-dead": "musicnn without its dead filters",
    "musicnn-dead-int8": "the same, int8",
}


def predictions(work, name):
    """Whether each test song was told rightly, by its id."""
    path = work / f"report-{name}" / "predictions.csv"
    if not path.exists():
        return None
    with path.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if "fault-filtered" in r["protocols"].split(";")]
    return {r["track"]: r["correct"] == "1" for r in rows}


def mcnemar(a, b):
    """Songs that only the first and only the second tells rightly, and the exact p."""
    first = sum(a[s] and not b[s] for s in a)
    second = sum(b[s] and not a[s] for s in a)
    n = first + second
    tail = sum(math.comb(n, i) for i in range(min(first, second) + 1)) / 2**n
    return first, second, min(1.0, 2 * tail)


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def size_in_floats(path):
    """Bytes of a model whose weights are stored whole, with 4 bytes a weight, however it is stored."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    tensors = [t for name, t in header.items() if name != "__metadata__"]
    return 8 + length + sum(4 * math.prod(t["shape"]) for t in tensors)


def compare_tags(work, shown):
    """How far musicnn made smaller is from itself; `shown` are the songs that its ranges may come from."""

    def told(name):
        of = [records(work / f"{name}.{what}") for what in ("tags", "genres")]
        tags = {pathlib.Path(r["path"]).stem: r["tags"] for r in of[0]}
        return tags, {pathlib.Path(r["path"]).stem: r["genre"] for r in of[1]}

    print("\nmusicnn made smaller beside the whole one (the ranges of its integers come from the clips that are train songs):\n")
    print("| model | clips | tags differ in the mean | at most | same genre |")
    print("|---|---|---:|---:|---:|")
    tags, genres = told("musicnn")
    for name in ("musicnn-dead", "musicnn-dead-int8"):
        other_tags, other_genres = told(name)
        for what, keep in (
            ("all", lambda song: True),
            ("those that the ranges come from", lambda song: song in shown),
            ("the others", lambda song: song not in shown),
        ):
            songs = [s for s in tags if keep(s)]
            apart = [abs(p - other_tags[s][tag]) for s in songs for tag, p in tags[s].items()]
            same = sum(genres[s] == other_genres[s] for s in songs)
            mean, most = sum(apart) / len(apart), max(apart)
            print(f"| {NAMES[name]} | {what} | {mean:.2g} | {most:.2g} | {same} of {len(songs)} |")


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    page = pathlib.Path(sys.argv[1])
    _, marker, by_hand = page.read_text().partition(MARKER)
    if not marker:
        sys.exit(f"{page} has no line {MARKER}: what is written by hand would be lost")
    made = io.StringIO()
    with contextlib.redirect_stdout(made):
        write(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), [p.split(":") for p in sys.argv[4:]])
    page.write_text(f"{made.getvalue()}\n{marker}{by_hand}")


def write(work, data, pairs):
    latency = {}
    for line in (work / "latency").read_text().splitlines():
        file, best, median, size = line.rsplit(" ", 3)
        latency[pathlib.Path(file).stem] = (float(best), float(median), int(size))
    print("# Compression\n")
    print("Remade by `bench/compression.sh DATA WORK [RESNET18]`. Recipes: `recipes/compress-*.toml`. Accuracy is on the")
    print("290 test songs of `fault-filtered`; ranges, pruning and tuning saw train songs only. Latency is of 30 s of feature map")
    print("(of one row for the MLP) on one thread, all models in turn in one run; memory is the most that a whole process held. Sizes are")
    print("compared with the model before in floats of 32 bits, as the source does.\n")
    print(f"{processor()}.\n")
    print("| model | accuracy | McNemar | bytes | smaller | best (median) ms | faster | peak MiB |")
    print("|---|---:|---|---:|---:|---:|---:|---:|")
    seen = set()
    for before, after in pairs:
        base = predictions(work, before)
        for name in (before, after):
            if name in seen:
                continue
            seen.add(name)
            best, median, size = latency[name]
            told = predictions(work, name)
            accuracy = f"{100 * sum(told.values()) / len(told):.1f} %" if told else "see below"
            test = smaller = faster = ""
            if name == after:
                smaller = f"{size_in_floats(work / f'{before}.safetensors') / size:.2f} ×"
                faster = f"{latency[before][0] / best:.2f} ×"
                if told and base:
                    first, second, p = mcnemar(base, told)
                    test = f"{first} : {second}, p = {p:.2f}"
            memory = int((work / f"{name}.memory").read_text()) / 1024
            print(
                f"| {NAMES[name]} | {accuracy} | {test} | {size:,} | {smaller} | {best:.2f} ({median:.2f}) | {faster} | {memory:.0f} |"
            )
    print("\nThe source of System 2: ResNet18 .7374 → .7273, 3.93 × smaller, 0.1488 → 0.1479 s; the MLP .9274, 5.49 × smaller")
    print("(on a split with leakage, see [System 3](system3.md)).")
    tags = work / "musicnn.tags"
    if tags.exists():
        compare_tags(work, set((data / "splits" / "fault_filtered_train.txt").read_text().split()))


if __name__ == "__main__":
    main()
