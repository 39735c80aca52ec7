"""The page docs/results/systems.md from the runs of bench/systems.py."""

import json
import re

HEAD = """# Every network of the five systems

Made by `python3 bench/systems.py` (`--measure` for the last two columns). Percent of songs right, with the 95 % Wilson
interval; windows instead of songs under `random-segment`, which is **leaky** and only there to show what
the sources' figures are worth. Epochs are chosen by validation songs alone (folds: the last epoch is kept); no test song
is used for anything but the figure.

**These are small trainings**, minutes of two cores that did other work meanwhile, where the sources had hours on GPUs,
ImageNet's weights, or a hundred times the windows: read them as a floor, not as what the network
can do (10 % is chance). The column "learnt from" says how much each one saw: songs, epochs ×
windows a song, and the product. Of GTZAN's audio, 100 clips were at hand (10 a genre): what needs audio is cross-validated on
them, by artist, in two folds, and learns from 50 clips (every song of blues, reggae and rock is by one artist
there; these are split by song). The rest learns from cached mel spectrograms of 999 songs, whose columns are 77.5 ms apart,
not 23 ms: a picture of 128 columns is then 9.9 s. Networks called narrower have the layers of the original with fewer
filters; the original is listed too, with its parameters and the little that it was trained. Rows that say "not trained yet"
have no run; how much they are to see is in `bench/systems.py`. Which keys of the recipe were replaced is in the commands at the end.
"""

NOTES = """
MACs: multiply–accumulates of one window. Size: the model file (half precision). Training: processor time, all folds and
checkpoints included. Answer: from the start of the program to the answer for a 30 s flac on one thread, decoding and
features included, best of three. ONNX: largest difference between ONNX Runtime's answers to three windows of that song and
ours (relative above 1). Fold trainings leave no model: size, answer and ONNX are those of the same network after one epoch.
"""


def kept(page, run):
    """What the page as it stands says of a run whose folder is not here: its rows without their number, and its
    commands."""
    name = re.escape(f" {run.system} | {run.network} | {run.claim} | {protocol(run)} |")
    found = re.search(rf"^\| (\d+) \|{name}(?! \*\*not trained).*$", page, re.M)
    if not found:
        return [], []
    number = found[1]
    rows = re.findall(rf"^\| {number} (\| \d \|.*)$", page, re.M)
    after = page.split(f"\n# {number}: {run.network}, {protocol(run)}\n", 1)[-1]
    return rows, re.split(r"\n(?:#|```)", after, maxsplit=1)[0].splitlines()


def page(runs, folder, figures, percent, minutes, learnt_from, earlier=""):
    rows, commands, pairs = [], [], {}
    for run in runs:
        report = figures(folder / run.name)
        facts_file = folder / run.name / "run.json"
        done = report is not None and facts_file.exists()
        facts = json.loads(facts_file.read_text()) if done else {}
        rows.append((run, facts, report if done else None))
        if done:
            pairs.setdefault((run.recipe, run.network), []).append((run, facts, report))
    text = [HEAD]
    text.append("| # | system | network | claim | protocol | ours (95 %) | n | learnt from | parameters | MACs | size | training | answer | ONNX |")
    text.append("|--:|--:|---|---|---|---|--:|---|--:|--:|--:|--:|--:|--:|")
    for number, (run, facts, report) in enumerate(sorted(rows, key=lambda r: r[0].system), 1):
        start = f"| {number} | {run.system} | {run.network} | {run.claim} |"
        cost = costs(facts, minutes)
        if report is None and (old := kept(earlier, run))[0]:
            text.extend(f"| {number} {line}" for line in old[0])
            commands.append((number, run, {"commands": old[1]}))
            continue
        if report is None:
            text.append(f"{start} {protocol(run)} | **not trained yet** | | {learnt_from(run, facts)} | {cost} |")
            continue
        for name, metrics in report:
            # The strict songs are among the others.
            first = name == report[0][0]
            label = protocol(run) if first else name
            rest = f"{learnt_from(run, facts)} | {cost}" if first else "as above | | | | | |"
            text.append(f"{start} {label} | {percent(metrics)} | {metrics['songs']} | {rest} |")
        commands.append((number, run, facts))
    text.append(NOTES)
    text.append("System 2's MLP and System 3's classifiers: [system3.md](system3.md). System 4's heads on musicnn's")
    text.append("taggrams: [musicnn-heads.md](musicnn-heads.md). Speed of every network at full width beside ONNX Runtime:")
    text.append("[inference-speed.md](inference-speed.md).")
    text.append("\n## What leakage is worth\n")
    text.append("The same network and recipe; the windows of one song on both sides, or not. Both sides saw as many windows")
    text.append("(within 1 %), so made as many updates; under `random-segment` they come from twice as many songs.\n")
    text.append("| system | network | windows seen | random-segment (leaky) | windows seen | by song or artist |")
    text.append("|---|---|--:|---|--:|---|")
    # Pairs that were both trained before: their row stays.
    remade = {run.network for found in pairs.values() for run, _, _ in found}
    for network in dict.fromkeys(run.network for run in runs if run.leaky()):
        if network not in remade:
            text.extend(re.findall(rf"^\| \d \| {re.escape(network)} \| [\d,]+ \|.*$", earlier, re.M))
    for (_, network), found in pairs.items():
        leaky = [f for f in found if f[0].leaky()]
        honest = [f for f in found if not f[0].leaky()]
        if leaky and honest:
            cell = lambda f: f"{percent(f[2][0][1])} of {f[2][0][1]['songs']}"
            seen = lambda f: learnt_from(f[0], f[1]).split("= ")[-1]
            text.append(
                f"| {leaky[0][0].system} | {network} | {seen(leaky[0])} | {cell(leaky[0])} windows"
                f" | {seen(honest[0])} | {protocol(honest[0][0])}: {cell(honest[0])} songs |"
            )
    text.append("\nThe leaky side is told by single windows, the other by songs, whose windows vote: that hides a part of the")
    text.append("leak. Where the intervals overlap, no leak is shown.")
    text.append("\n## The exact commands\n")
    text.append("`GTZAN` is the folder with `mel/`, `audio/`, `splits/` and `annotations/`. Seeds are in the recipes.\n")
    text.append("```sh")
    for number, run, facts in commands:
        text.append(f"# {number}: {run.network}, {protocol(run)}")
        text.extend(facts["commands"])
    text.append("```")
    return "\n".join(text) + "\n"


def costs(facts, minutes):
    """Parameters, MACs, size, training, answer and ONNX, as cells."""
    cells = [
        f"{facts['parameters']:,}" if "parameters" in facts else "",
        f"{facts['mmacs']:,.0f} M" if "mmacs" in facts else "",
        f"{facts['bytes'] / 1e6:.1f} MB" if "bytes" in facts else "",
        minutes(facts["cpu_seconds"]) if "cpu_seconds" in facts else "",
        f"{1000 * facts['seconds']:.0f} ms" if "seconds" in facts else "–",
        f"{facts['onnx']:.0e}" if "onnx" in facts else "–",
    ]
    return " | ".join(cells)


def protocol(run):
    if run.folds():
        return f"{run.protocol} folds by artist, 100 clips"
    return run.protocol
