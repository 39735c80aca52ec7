"""The page docs/results/systems.md from the runs of bench/systems.py."""

import json

HEAD = """# Every network of the five systems

Made by `python3 bench/systems.py`. Percent of songs right, with the 95 % Wilson interval; windows instead of songs
under `random-segment`, which is **leaky** and only there to show what the sources' figures are worth. Models are
chosen by validation songs alone (folds: the last epoch is kept); no test song is used for anything but the figure.

**These are small trainings**, minutes each on two busy CPU cores, where the sources had hours on GPUs, ImageNet's
weights, or ten times the windows: read them as proof that every network learns, and as a floor. Of GTZAN's audio, 100 clips
were at hand (10 a genre): what needs audio is cross-validated on them, by artist, in two folds, and learns from 50 clips.
The rest learns from cached mel spectrograms of 999 songs, whose columns are 77.5 ms apart, not 23 ms: a picture of 128 columns
is then 9.9 s. Which keys of the recipe were replaced for that is in the commands at the end.

Size is that of the model file (half precision). Training time is processor time of both cores together. Answer: from the
start of the program to the answer for a 30 s flac, one thread, best of three; it includes decoding and features.
"""


def page(runs, folder, figures, percent, minutes, learnt_from):
    rows, commands, pairs = [], [], {}
    for run in runs:
        report = figures(folder / run.name)
        facts_file = folder / run.name / "run.json"
        if report is None or not facts_file.exists():
            rows.append((run, None, None))
            continue
        facts = json.loads(facts_file.read_text())
        rows.append((run, facts, report))
        pairs.setdefault((run.recipe, run.network), []).append((run, report))
        commands.append((run, facts))
    text = [HEAD]
    text.append("| system | network | claim | protocol | ours (n) | learnt from |")
    text.append("|---|---|---|---|---|---|")
    for run, facts, report in sorted(rows, key=lambda r: r[0].system):
        if report is None:
            text.append(f"| {run.system} | {run.network} | {run.claim} | {protocol(run)} | **not trained yet** | {learnt_from(run, {})} |")
            continue
        for name, metrics in report:
            # The strict songs are among the others.
            label = protocol(run) if name == report[0][0] else name
            text.append(
                f"| {run.system} | {run.network} | {run.claim} | {label} | {percent(metrics)} of {metrics['songs']}"
                f" | {learnt_from(run, facts)} |"
            )
    text.append("")
    text.append("System 2's MLP and System 3's classifiers: [system3.md](system3.md). System 4's heads on musicnn's")
    text.append("taggrams: [musicnn-heads.md](musicnn-heads.md).")
    text.append("\n## What leakage is worth\n")
    text.append("The same network, recipe and number of updates; windows of one song on both sides, or not.\n")
    text.append("| system | network | random-segment (leaky) | by song or artist |")
    text.append("|---|---|---|---|")
    for (_, network), found in pairs.items():
        leaky = [(r, f) for r, f in found if r.leaky()]
        honest = [(r, f) for r, f in found if not r.leaky()]
        if leaky and honest:
            cell = lambda pair: f"{percent(pair[1][0][1])} of {pair[1][0][1]['songs']}"
            text.append(
                f"| {leaky[0][0].system} | {network} | {cell(leaky[0])} windows | {protocol(honest[0][0])}: {cell(honest[0])} songs |"
            )
    text.append("\n## What they cost\n")
    text.append("Parameters and multiply–accumulates (a patch) with ten genres, on the patches trained here.\n")
    text.append("| network | parameters | MACs | model file | training | answer |")
    text.append("|---|---:|---:|---:|---:|---:|")
    for run, facts, report in sorted(rows, key=lambda r: r[0].system):
        if facts is None:
            continue
        size = f"{facts['bytes'] / 1e6:.1f} MB" if "bytes" in facts else f"{2 * facts.get('parameters', 0) / 1e6:.1f} MB"
        answer = f"{1000 * facts['seconds']:.0f} ms" if "seconds" in facts else "–"
        kind = " (random-segment)" if run.leaky() else ""
        folds = f" for {run.protocol} folds" if run.folds() else ""
        text.append(
            f"| {run.network}{kind} | {facts.get('parameters', 0):,} | {facts.get('mmacs', 0):,.0f} M | {size}"
            f" | {minutes(facts['cpu_seconds'])}{folds} | {answer} |"
        )
    text.append("\n## The exact commands\n")
    text.append("`GTZAN` is the folder with `mel/`, `audio/`, `splits/` and `annotations/`. Seeds are in the recipes.\n")
    text.append("```sh")
    for run, facts in commands:
        text.append(f"# {run.network}: {protocol(run)}")
        text.extend(facts["commands"])
    text.append("```")
    return "\n".join(text) + "\n"


def protocol(run):
    if run.folds():
        return f"{run.protocol} folds by artist, 100 clips"
    return run.protocol
