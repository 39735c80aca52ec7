"""Golden figures for the metrics, from scikit-learn on small synthetic predictions.

    python -m venv v && v/bin/pip install numpy==2.2.6 scikit-learn==1.9.1 scipy==1.17.1
    v/bin/python make.py        # writes cases.json beside this file

The expected calibration error, Wilson's interval and the temperature are written out
from their definitions, the rest calls scikit-learn.
"""
import json
import pathlib

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from sklearn import metrics as sk


def ece(y, p, bins=15):
    conf, right = p.max(1), p.argmax(1) == y
    total = 0.0
    for i in range(bins):
        low, high = i / bins, (i + 1) / bins
        inside = (conf > low) & (conf <= high)
        if inside.any():
            total += inside.sum() * abs(conf[inside].mean() - right[inside].mean())
    return total / len(y)


def wilson(k, n):
    z = norm.ppf(0.975)
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [float(centre - half), float(centre + half)]


def temperature(y, p):
    logs = np.log(np.maximum(p, 1e-12))

    def loss(ln_t):
        z = logs / np.exp(ln_t)
        z = z - z.max(1, keepdims=True)
        return (np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]).sum()

    found = minimize_scalar(loss, bounds=(-np.log(50), np.log(50)), method="bounded", options={"xatol": 1e-12})
    return float(np.exp(found.x))


def case(name, genres, songs, sharp, seed, decimals=None):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(genres), rng.integers(0, genres, songs - genres)])
    z = rng.normal(size=(songs, genres)) * sharp
    z[np.arange(songs), y] += sharp
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    if decimals is not None:  # coarse scores: many ties
        p = np.round(p, decimals) + 0.01
        p /= p.sum(1, keepdims=True)
    labels = list(range(genres))
    pred = p.argmax(1)
    onehot = np.eye(genres)[y]
    prf = sk.precision_recall_fscore_support(y, pred, labels=labels, zero_division=0)
    mac = sk.precision_recall_fscore_support(y, pred, labels=labels, average="macro", zero_division=0)
    wei = sk.precision_recall_fscore_support(y, pred, labels=labels, average="weighted", zero_division=0)
    fpr, tpr, _ = sk.roc_curve(onehot[:, 0], p[:, 0], drop_intermediate=False)
    precision, recall, _ = sk.precision_recall_curve(onehot[:, 0], p[:, 0])
    curve = [[float(r), float(q)] for r, q in zip(recall[::-1], precision[::-1])]
    # scikit-learn goes on below the threshold that reaches recall 1; ours stops there.
    first_full = next(i for i, (r, _) in enumerate(curve) if r == 1.0)
    return {
        "name": name, "genres": genres, "labels": y.tolist(), "probabilities": p.tolist(),
        "expected": {
            "accuracy": sk.accuracy_score(y, pred),
            "top3": sk.top_k_accuracy_score(y, p, k=3, labels=labels) if decimals is None
            # scikit-learn breaks ties by sorting from below; here the first genre of equals wins.
            else float(np.mean([np.argsort(-row, kind="stable")[:3].tolist().count(t) for row, t in zip(p, y)])),
            "precision": prf[0].tolist(), "recall": prf[1].tolist(), "f1": prf[2].tolist(),
            "macro_average": [float(v) for v in mac[:3]], "weighted_average": [float(v) for v in wei[:3]],
            "confusion": sk.confusion_matrix(y, pred, labels=labels).tolist(),
            "average_precision": [float(sk.average_precision_score(onehot[:, g], p[:, g])) for g in labels],
            "roc_auc": [float(sk.roc_auc_score(onehot[:, g], p[:, g])) for g in labels],
            "log_loss": float(sk.log_loss(y, p, labels=labels)),
            "brier": float(((p - onehot) ** 2).sum(1).mean()),
            "ece": float(ece(y, p)), "wilson": wilson(int((pred == y).sum()), songs),
            "temperature": temperature(y, p),
            "roc_curve_0": [[float(a), float(b)] for a, b in zip(fpr, tpr)],
            "pr_curve_0": curve[: first_full + 1],
        },
    }


cases = [
    case("ten genres", 10, 120, 1.0, 1),
    case("four genres, ties", 4, 60, 1.5, 2, decimals=1),
    case("three genres, sharp", 3, 40, 4.0, 3),
    case("five genres, guessing", 5, 50, 0.1, 4),
]
out = pathlib.Path(__file__).with_name("cases.json")
out.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
print(out, out.stat().st_size, "bytes")
