#!/usr/bin/env python3
"""Training speed beside PyTorch's, in one run on the same threads.

    cargo build --release --workspace --example training_speed [--features libtorch]
    python3 bench/training/run.py [--threads 2] [--seconds 10] [--rounds 3] [--libtorch | --gpu] [--batch 16] [--out FILE.md]

Needs PyTorch in the Python that runs it; --libtorch also times the build with that feature (docs/gpu.md), --gpu times that build and
PyTorch on the first GPU, and ours on the processor beside them. Both sides do whole updates (forward, cross-entropy,
backward, Adam) of the same network on one batch of random patches, float32. The sides take turns, so that a
machine's mood hits both; the median of the rounds counts. Besides samples per second of wall
time it gives samples per second of CPU time, which other programs on the machine disturb less.
"""
import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def ours(binary, name, threads, seconds, batch, backend):
    """Samples per second of wall time and of CPU time; starting up is measured apart and taken off."""

    def run(length):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = subprocess.run([binary, name, str(threads), str(length), str(batch), *backend], check=True, capture_output=True, text=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        speed, count = out.split()
        return float(speed), int(count), after.ru_utime - before.ru_utime

    _, least, start = run(0)
    speed, count, cpu = run(seconds)
    return speed, (count - least) / (cpu - start)


def torch_speed(name, threads, seconds, batch, device, channels_last):
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(1)

    class Block(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.a, self.an = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
            self.b, self.bn = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
            self.short = nn.Identity()
            if stride > 1 or i != o:
                self.short = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

        def forward(self, x):
            y = torch.relu(self.an(self.a(x)))
            return torch.relu(self.bn(self.b(y)) + self.short(x))

    layers, channels = [], 1 if name == "small-cnn" else 3
    inputs = channels
    if name == "small-cnn":
        for filters in (32, 64, 128, 128):
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU(), nn.MaxPool2d(2)]
            channels = filters
    else:
        layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        channels = 64
        for stage, filters in enumerate((64, 128, 256, 512)):
            for block in range(2):
                layers.append(Block(channels, filters, 2 if block == 0 and stage > 0 else 1))
                channels = filters
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    model = model.to(device)
    x, y = torch.randn(batch, inputs, 128, 128, device=device), torch.arange(batch, device=device) % 10
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    adam, loss = torch.optim.Adam(model.parameters(), 1e-3), nn.CrossEntropyLoss()

    def step():
        adam.zero_grad()
        now = loss(model(x), y)
        now.backward()
        adam.step()
        # Somebody who trains looks at the loss; on a GPU this also waits for it.
        return now.item()

    step(), step()
    cpu, wall, count = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.time(), 0
    while time.time() - wall < seconds:
        step()
        count += batch
    wall = time.time() - wall
    return count / wall, count / (resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--libtorch", action="store_true", help="also time taggram with its passes in libtorch")
    parser.add_argument("--gpu", action="store_true", help="time PyTorch and taggram by libtorch on the first GPU")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--out", help="also write the table to this file")
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/examples/training_speed"))
    given = parser.parse_args()
    import torch

    device = "cuda" if given.gpu else "cpu"

    def own(name, *backend):
        return ours(given.binary, name, given.threads, given.seconds, given.batch, backend)

    def theirs(name, channels_last):
        return torch_speed(name, given.threads, given.seconds, given.batch, device, channels_last)

    sides = {
        "taggram": own,
        "PyTorch": lambda n: theirs(n, False),
        "PyTorch, channels last": lambda n: theirs(n, True),
    }
    if given.libtorch or given.gpu:
        sides["taggram, libtorch"] = lambda n: own(n, "libtorch")
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    lines = [
        f"Machine: {cpu}, {os.cpu_count()} cores; {given.threads} threads; PyTorch {torch.__version__}; "
        f"{'PyTorch and libtorch on ' + torch.cuda.get_device_name() + '; ' if given.gpu else ''}batches of {given.batch}; "
        f"median of {given.rounds} rounds of {given.seconds:g} s; load average at the start {os.getloadavg()[0]:.1f}.",
        "",
        "| network | side | samples/s | of PyTorch | samples per CPU second | of PyTorch (CPU time) |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("small-cnn", "resnet18"):
        found = {side: [] for side in sides}
        for _ in range(given.rounds):
            for side, measure in sides.items():
                found[side].append(measure(name))
        middle = {s: [statistics.median(v[i] for v in rounds) for i in (0, 1)] for s, rounds in found.items()}
        for side, (wall, per_cpu) in middle.items():
            than = [value / torch_s for value, torch_s in zip((wall, per_cpu), middle["PyTorch"])]
            lines.append(f"| {name} | {side} | {wall:.1f} | {than[0]:.2f} | {per_cpu:.1f} | {than[1]:.2f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if given.out:
        with open(given.out, "w") as file:
            file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
