"""Makes the small files of weights beside it, with PyTorch: python make_weights.py"""

import json
import pathlib
import struct

import torch

here = pathlib.Path(__file__).parent
torch.manual_seed(1)
layers = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Linear(4, 5))
state = layers.state_dict()
state["half"] = torch.arange(6, dtype=torch.float16).reshape(2, 3)
state["brain"] = torch.arange(6, dtype=torch.bfloat16)
state["double"] = torch.arange(4, dtype=torch.float64)
state["turned"] = torch.arange(6.0).reshape(2, 3).t()
state["part"] = torch.arange(10.0)[4:8]
torch.save(state, here / "plain.pt")
renamed = {"module." + key: value for key, value in state.items()}
torch.save({"epoch": 3, "state_dict": renamed, "optimizer": {"lr": [0.1]}}, here / "checkpoint.pth")
torch.save(layers, here / "whole.pt")
torch.save({"w": torch.nn.Parameter(torch.ones(2))}, here / "parameter.pt")
torch.save(torch.ones(2), here / "alone.pt")

# safetensors: the length of a JSON header, the header, the values.
kinds = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64", torch.int64: "I64"}
header, values = {}, b""
for key, value in state.items():
    data = bytes(value.contiguous().reshape(-1).view(torch.uint8).tolist())
    offsets = [len(values), len(values) + len(data)]
    header[key] = {"dtype": kinds[value.dtype], "shape": list(value.shape), "data_offsets": offsets}
    values += data
text = json.dumps(header).encode()
(here / "same.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + values)
