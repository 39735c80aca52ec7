#!/usr/bin/env python3
"""Chooses how the MLP is pruned, without a look at test songs.

    python3 bench/choose_pruning.py TAGGRAM DATA WORK

The procedure, fixed before anything is scored: every setting of the grid below prunes the MLP of
recipes/system2-mlp.toml, tuning it on the train songs of `fault-filtered`, once for each of three
seeds. Each result is scored on the 197 validation songs, which the MLP and the tuning never see.
Of the settings whose file is at least 5.5 times smaller the one with the least mean log loss on
validation songs is taken (a log loss moves less by chance than a count of songs; equal ones: the
first of the grid). The choice goes to recipes/compress-mlp.toml by hand; bench/compression.sh then
scores test songs, once.
"""
import csv
import itertools
import math
import pathlib
import re
import shutil
import subprocess
import sys

RECIPES = pathlib.Path(__file__).resolve().parent.parent / "recipes"
SHARES, EPOCHS, RATES, SEEDS = (0.5, 0.6, 0.7, 0.8), (5, 15), (0.3, 1.0), (1, 2, 3)
NEEDED = 5.5


def score(taggram, model, table, out):
    """Accuracy and log loss on the validation songs, which the split `choice` calls its test songs."""
    subprocess.run([taggram, "evaluate", model, "--data", table, "--split", "choice", "--out", out],
                   check=True, capture_output=True)
    with open(out / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    right = sum(r["correct"] == "1" for r in rows) / len(rows)
    genres = [column for column in rows[0] if column.startswith("p_")]
    said = [[max(1e-12, float(r[g])) for g in genres] for r in rows]
    truth = [genres.index(f"p_{r['genre']}") for r in rows]

    def loss(power):
        sums = (math.log(sum(p**power for p in row)) - power * math.log(row[t]) for row, t in zip(said, truth))
        return sum(sums) / len(rows)

    # At the best temperature, which `compress` fits on the same songs.
    return right, min(loss(1.03**i) for i in range(-60, 61))


def main():
    taggram, data, work = sys.argv[1], pathlib.Path(sys.argv[2]).resolve() / "gtzan", pathlib.Path(sys.argv[3])
    splits = work / "choose" / "splits"
    splits.mkdir(parents=True, exist_ok=True)
    table = work / "choose" / "features_30_sec.csv"
    # A copy: of a link the splits beside its target would be read.
    shutil.copy(data / table.name, table)
    for side, songs in (("train", "train"), ("test", "valid")):
        (splits / f"choice_{side}.txt").write_text((data / "splits" / f"fault_filtered_{songs}.txt").read_text())

    whole = {}
    for seed in SEEDS:
        run = work / f"mlp-{seed}"
        whole[seed] = run / "model.safetensors"
        if not whole[seed].exists():
            subprocess.run([taggram, "train", RECIPES / "system2-mlp.toml", "--data", data / table.name, "--out", run,
                            "--seed", str(seed)], check=True, capture_output=True)
    found = [score(taggram, whole[s], table, work / "report") for s in SEEDS]
    mean = lambda pairs, i: sum(p[i] for p in pairs) / len(pairs)
    print("| zeros | epochs a step | rate | smaller | validation accuracy | log loss |")
    print("|---|---|---|---|---|---|")
    print(f"| none | | | | {100 * mean(found, 0):.1f} % | {mean(found, 1):.3f} |", flush=True)
    best = None
    for share, epochs, rate in itertools.product(SHARES, EPOCHS, RATES):
        recipe, out = work / "choice.toml", work / "choice.safetensors"
        text = (RECIPES / "compress-mlp.toml").read_text()
        for key, value in (("share", share), ("epochs", epochs), ("rate", rate)):
            text = re.sub(rf"(?m)^{key} = .*", f"{key} = {value}", text)
        recipe.write_text(text)
        found, smaller = [], []
        for seed in SEEDS:
            subprocess.run([taggram, "compress", whole[seed], "--recipe", recipe, "--data", data / table.name, "--out", out],
                           check=True, capture_output=True)
            found.append(score(taggram, out, table, work / "report"))
            smaller.append(whole[seed].stat().st_size / out.stat().st_size)
        print(f"| {100 * share:.0f} % | {epochs} | {rate} | {min(smaller):.2f} × | {100 * mean(found, 0):.1f} % | "
              f"{mean(found, 1):.3f} |", flush=True)
        if min(smaller) >= NEEDED and (best is None or mean(found, 1) < best[0]):
            best = mean(found, 1), share, epochs, rate
    print(f"\nchosen: share = {best[1]}, epochs = {best[2]}, rate = {best[3]}" if best else "\nnone is small enough")


if __name__ == "__main__":
    main()
