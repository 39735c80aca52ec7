"""Runs netN.onnx of a folder in ONNX Runtime on netN.inJ and compares with netN.outJ.

Usage: python check.py FOLDER [TOLERANCE]      (raw little-endian f32 files, a batch of 3)
"""

import pathlib
import sys

import numpy as np
import onnxruntime as ort


def main() -> int:
    folder = pathlib.Path(sys.argv[1])
    tolerance = float(sys.argv[2]) if len(sys.argv) > 2 else 1e-4
    failures, count, farthest = 0, 0, 0.0
    for model in sorted(folder.glob("net*.onnx")):
        try:
            import onnx

            onnx.checker.check_model(str(model), full_check=True)
        except ImportError:
            pass
        session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        feeds = {}
        for i, value in enumerate(session.get_inputs()):
            data = np.fromfile(folder / f"{model.stem}.in{i}", dtype="<f4")
            feeds[value.name] = data.reshape(3, *value.shape[1:])
        results = session.run(None, feeds)
        for i, (value, result) in enumerate(zip(session.get_outputs(), results)):
            expected = np.fromfile(folder / f"{model.stem}.out{i}", dtype="<f4")
            if list(result.shape[1:]) != value.shape[1:] or result.size != expected.size:
                print(f"{model.stem} {value.name}: shape {result.shape}, declared {value.shape}, {expected.size} values expected")
                failures += 1
                continue
            apart = np.abs(result.ravel() - expected) / np.maximum(np.abs(expected), 1)
            farthest = max(farthest, apart.max())
            if not (apart.max() <= tolerance):
                print(f"{model.stem} {value.name}: {apart.max():.2e} apart")
                failures += 1
        count += 1
    print(f"{count} networks agree, at most {farthest:.1e} apart" if failures == 0 else f"{failures} values differ")
    return 1 if failures or not count else 0


if __name__ == "__main__":
    sys.exit(main())
