#!/usr/bin/env python3
"""Golden data for musicnn: every layer of the Python package on a synthesised log-mel input.

    pip install musicnn==0.1.0 tensorflow-cpu==2.15.1 librosa==0.10.2 numpy==1.26.4
    python tests/golden/musicnn/make.py

Writes golden.npz beside itself: `log_mel` [375, 96] (6 s), and for each of the four models the
tag probabilities [4, 50] of the patches of 187 frames every 61, and its layers as the
package's extractor returns them — whole where small; of `timbral`, `temporal` and `cnn1..3`
the frames in FRAMES of the first and the last patch; of the VGG's `pool1..5` ([time, band,
channel]) every 9th time, 5th band and 7th channel of the last patch.
"""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import musicnn
import numpy as np
import tensorflow as tf
from musicnn import configuration, models

tf.compat.v1.disable_eager_execution()

FRAMES = [0, 1, 2, 3, 31, 63, 93, 122, 183, 184, 185, 186]
PATCH, HOP, BANDS = 187, 61, 96


def log_mel():
    """Chords that change every 0.7 s, beats, and noise; about as loud as music."""
    rng = np.random.default_rng(20)
    time, band = np.arange(375)[:, None], np.arange(BANDS)[None, :]
    power = 0.02 * rng.exponential(size=(375, BANDS)) * np.exp(-band / 25)
    for note in range(6):
        centre = 8 + (17 * note + 11 * (time // 44) * (note + 1)) % 70
        power = power + 3.0 / (1 + note) * np.exp(-0.5 * ((band - centre) / 1.2) ** 2)
    power = power * (0.3 + 2.0 * np.exp(-(time % 29) / 6.0))
    return np.log10(10_000 * power + 1).astype(np.float32)


def layers(model, patches):
    """The tags and every layer that the package's extractor returns."""
    tf.compat.v1.reset_default_graph()
    with tf.name_scope("model"):
        x = tf.compat.v1.placeholder(tf.float32, [None, PATCH, BANDS])
        training = tf.compat.v1.placeholder(tf.bool)
        logits, *rest = models.define_model(x, training, model, 50)
        tags = tf.nn.sigmoid(logits)
    names = (
        ["pool1", "pool2", "pool3", "pool4", "pool5"]
        if "vgg" in model
        else ["timbral", "temporal", "cnn1", "cnn2", "cnn3", "mean_pool", "max_pool", "penultimate"]
    )
    with tf.compat.v1.Session() as session:
        saver = tf.compat.v1.train.Saver()
        saver.restore(session, f"{os.path.dirname(musicnn.__file__)}/{model}/")
        values = session.run([tags, *rest], {x: patches, training: False})
    return dict(zip(["tags", *names], values))


def main():
    mel = log_mel()
    patches = np.stack([mel[s : s + PATCH] for s in range(0, len(mel) - PATCH + 1, HOP)])
    golden = {"log_mel": mel}
    for model in ["MSD_musicnn", "MTT_musicnn", "MSD_vgg", "MTT_vgg"]:
        for name, values in layers(model, patches).items():
            if name in ("timbral", "temporal", "cnn1", "cnn2", "cnn3"):
                values = values.reshape(len(patches), PATCH, -1)[[0, -1]][:, FRAMES]
            elif name.startswith("pool"):
                values = values[-1, ::9, ::5, ::7]
            name = f"{model.replace('_', '-').lower()}.{name}"
            golden[name] = np.ascontiguousarray(values, dtype=np.float32)
    assert len(configuration.MSD_LABELS) == len(configuration.MTT_LABELS) == 50
    np.savez_compressed(pathlib.Path(__file__).with_name("golden.npz"), **golden)
    for name, values in golden.items():
        print(f"{name:28} {str(values.shape):16} {values.min():9.4f} … {values.max():9.4f}")


if __name__ == "__main__":
    main()
