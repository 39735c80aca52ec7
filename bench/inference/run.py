"""Times the engine against ONNX Runtime: the same networks, weights and input, one thread,
one example at a time, in alternating rounds of one run of this script.

Usage: python bench/inference/run.py [--rounds 5] [--runs 30] [--out result.md] [NETWORK…]
Needs numpy and onnxruntime, and the example built:
  cargo build --release -p taggram-model --example bench_inference
"""

import argparse
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time

import numpy as np
import onnxruntime as ort

ROOT = pathlib.Path(__file__).resolve().parents[2]


def session(path: pathlib.Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def time_ort(run, runs: int) -> list[float]:
    run()
    times = []
    for _ in range(runs):
        before = time.perf_counter()
        run()
        times.append((time.perf_counter() - before) * 1e3)
    return times


def processor() -> str:
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    except OSError:
        pass
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--example", type=pathlib.Path, default=ROOT / "target/release/examples/bench_inference")
    parser.add_argument("networks", nargs="*")
    args = parser.parse_args()
    lines = [
        f"{processor()}, ONNX Runtime {ort.__version__}, one thread, batch 1; best and median of "
        f"{args.rounds} alternating rounds of {args.runs} runs.",
        "",
        "| network | MACs | ours, best (median) ms | ONNX Runtime, best (median) ms | ours / theirs (best) | apart |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        listing = subprocess.run([args.example, "export", folder], check=True, capture_output=True, text=True)
        for line in listing.stdout.splitlines():
            name, _, macs = line.split()
            if args.networks and name not in args.networks:
                continue
            model = session(folder / f"{name}.onnx")
            shape = [1, *model.get_inputs()[0].shape[1:]]
            feeds = {"input": np.fromfile(folder / f"{name}.input", dtype="<f4").reshape(shape)}
            expected = np.fromfile(folder / f"{name}.output", dtype="<f4")
            apart = np.abs(model.run(None, feeds)[0].ravel() - expected).max() / np.abs(expected).max()
            ours, theirs = [], []
            for _ in range(args.rounds):
                timed = subprocess.run([args.example, "time", name, str(args.runs)], check=True, capture_output=True, text=True)
                ours += [float(t) for t in timed.stdout.split()]
                theirs += time_ort(lambda: model.run(None, feeds), args.runs)
            lines.append(
                f"| {name} | {int(macs) / 1e6:,.0f} M | {min(ours):.2f} ({statistics.median(ours):.2f}) | "
                f"{min(theirs):.2f} ({statistics.median(theirs):.2f}) | {min(ours) / min(theirs):.2f} | {apart:.1e} |"
            )
            print(lines[-1], flush=True)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
