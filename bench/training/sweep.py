#!/usr/bin/env python3
"""Changes of recipes/default.toml one at a time, each trained with several seeds, judged by the validation songs.

    python3 bench/training/sweep.py [--data ../shared/data/gtzan/mel] [--out runs/sweep] [--seeds 1,2] [--only base,mix0]
                                    [--at-once 1] [--jobs 2] [--backend own|libtorch]

Needs what the recipe needs. What is in OUT already is not trained again. On a GPU several trainings at once fill it better
than one; they share it best under NVIDIA's MPS (`nvidia-cuda-mps-control -d`).
"""
import argparse
import os
import re
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor


def floor(db):
    return f'windows.normalise={{ kind = "patch_z_score", top_db = {db}, quiet_bands = 8 }}'


CHANGES = {
    "base": [],
    "db55": [floor("55.0")],
    "db50": [floor("50.0")],
    "mix0": ["augment.mix_alpha=0.0"],
    "mix1": ["augment.mix_alpha=1.0"],
    "mask4": ["augment.time_masks=4", "augment.band_masks=3"],
    "f192": ["windows.frames=192", "windows.hop=48"],
    "mid96": ["model.middle=96"],
    "drop50": ["model.dropout=0.5"],
    "gen05": ["loss.teachers.genres.weight=0.5"],
    "gen3": ["loss.teachers.genres.weight=3.0"],
    "tr10": ["loss.teachers.transfer.weight=10.0"],
    "wd2": ["optimiser.weight_decay=0.2"],
    "lr3": ["optimiser.learning_rate=0.003"],
    "b64": ["fit.batch=64", "optimiser.learning_rate=0.002"],
    "ppc3": ["fit.patches_per_clip=3", "fit.epochs=18"],
    "avg9995": ["fit.average=0.9995", "fit.epochs=16"],
}
KEPT = re.compile(r"validation accuracy ([\d.]+) %, log loss ([\d.]+)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data/gtzan/mel")
    parser.add_argument("--out", default="runs/sweep")
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--only", default=",".join(CHANGES), help="some of: " + ", ".join(CHANGES))
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--jobs", default="2", help="threads of each training")
    parser.add_argument("--backend", default="own")
    parser.add_argument("--taggram", default="target/release/taggram")
    given = parser.parse_args()
    os.makedirs(given.out, exist_ok=True)

    def train(job):
        name, seed = job
        run = os.path.join(given.out, f"{name}-{seed}")
        log = f"{run}.log"
        if not os.path.exists(log) or not KEPT.search(open(log).read()):
            command = [given.taggram, "train", "recipes/default.toml", "--data", given.data, "--out", run]
            command += ["--seed", seed, "--jobs", given.jobs, "--backend", given.backend]
            for change in CHANGES[name]:
                command += ["--set", change]
            with open(log, "w") as file:
                subprocess.run(command, stdout=file, stderr=file, check=False)
        said = KEPT.search(open(log).read())
        return name, (float(said[1]), float(said[2])) if said else None

    jobs = [(name, seed) for seed in given.seeds.split(",") for name in given.only.split(",")]
    with ThreadPoolExecutor(given.at_once) as pool:
        found = {}
        for name, figures in pool.map(train, jobs):
            found.setdefault(name, []).extend([figures] if figures else [])
    lines = ["| change | seeds | accuracy, % | log loss | each |", "|---|---|---|---|---|"]
    means = {name: [statistics.mean(values) for values in zip(*all_)] for name, all_ in found.items() if all_}
    for name, (accuracy, loss) in sorted(means.items(), key=lambda item: item[1][1]):
        each = ", ".join(f"{value:.3f}" for _, value in found[name])
        lines.append(f"| {name} | {len(found[name])} | {accuracy:.1f} | {loss:.3f} | {each} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
