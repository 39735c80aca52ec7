#!/usr/bin/env python3
"""Golden answers of scikit-learn and XGBoost on a made-up table.

Pinned: scikit-learn 1.9.1, xgboost 3.2.0 (package xgboost-cpu), numpy 2.4.6.
Usage: python make.py   (writes golden.json and xgboost.json beside itself)
"""
import json
import pathlib

import numpy as np
import xgboost
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(20261120)
classes, columns = 3, 5


def table(n):
    y = np.arange(n) % classes
    centres = np.array([[0, 0, 1, 5, 10], [1.2, 0.3, 0, 7, 30], [0.2, 1.5, -1, 4, 20]])
    mix = np.array([[1, .5, 0, 0, 0], [0, 1, .3, 0, 0], [0, 0, 1, 0, 0], [.2, 0, 0, 2, 0], [0, 0, 4, 0, 9]])
    x = centres[y] + rng.normal(size=(n, columns)) @ mix
    return np.round(x, 4).astype(np.float32), y


x, y = table(150)
xt, _ = table(30)
scaler = StandardScaler().fit(x.astype(np.float64))
z, zt = (scaler.transform(a.astype(np.float64)) for a in (x, xt))
pca = PCA(3, whiten=True, svd_solver="full").fit(z)
out = {"x": x.tolist(), "y": y.tolist(), "xt": xt.tolist(), "pca": pca.transform(zt).tolist()}
for c in (1.0, 0.05):
    m = LogisticRegression(C=c, tol=1e-9, max_iter=100000).fit(z, y)
    out[f"logistic_{c}"] = m.predict_proba(zt).tolist()
m = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(z, y)
out["discriminant"] = m.predict_proba(zt).tolist()
out["gaussian_nb"] = GaussianNB().fit(z, y).predict_proba(zt).tolist()
for vote in ("uniform", "distance"):
    m = KNeighborsClassifier(5, weights=vote).fit(z, y)
    out[f"knn_{vote}"] = m.predict_proba(zt).tolist()
m = LinearSVC(C=1.0, tol=1e-8, max_iter=1000000).fit(z, y)
out["svm_linear"] = m.decision_function(zt).tolist()
m = [SVC(C=1.0, gamma="scale", tol=1e-6).fit(z, y == k) for k in range(classes)]
out["svm_rbf"] = np.stack([s.decision_function(zt) for s in m], axis=1).tolist()

# Trees by histogram, as ours. A table large enough that no two questions are equally good,
# with so few distinct values that each has a bin of its own. Made by the same formula
# in the Rust test.
state, numbers = 1, []
for _ in range(3300 * 5):
    state = (state * 1664525 + 1013904223) % 2**32
    numbers.append((state >> 16) % 200)
big = np.array(numbers, dtype=np.float32).reshape(-1, 5)
label = ((big[:, 0] + big[:, 1] * big[:, 2] / 100 + big[:, 3] / 4) // 90 % 3).astype(int)
counted = xgboost.XGBClassifier(n_estimators=8, max_depth=4, learning_rate=0.3, tree_method="hist", base_score=0.5)
out["boosted"] = counted.fit(big[:3200], label[:3200]).predict_proba(big[3200:]).tolist()

holes, holes_t = x.copy(), xt.copy()
holes[rng.random(x.shape) < 0.15] = np.nan
holes_t[rng.random(xt.shape) < 0.15] = np.nan
model = xgboost.XGBClassifier(n_estimators=4, max_depth=3).fit(holes, y)
model.save_model(here / "xgboost.json")
out["holes"] = [[None if np.isnan(v) else float(v) for v in row] for row in holes_t]
out["boosted_holes"] = model.predict_proba(holes_t).tolist()


def rounded(v):
    return [rounded(a) for a in v] if isinstance(v, list) else round(v, 7) if isinstance(v, float) else v


(here / "golden.json").write_text(json.dumps({k: rounded(v) for k, v in out.items()}) + "\n")
