"""Genres for a folder of music with Ray Data: files in, Parquet out.

    python ray_data.py MUSIC OUT [WORKERS]

Every worker is a process with its own model. A file that cannot be classified is a row with its error, and does not end the run.
Names go round, not audio: on a cluster MUSIC is a folder that all machines see. For a bucket, take
`ray.data.read_binary_files("s3://…", include_paths=True)` and give `classify` the bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
import taggram

ENDINGS = {".aif", ".aiff", ".au", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav"}


class Classifier:
    """One worker: loads the model once, then classifies batches."""

    def __init__(self, excerpt: str) -> None:
        self.model = taggram.Model("default")
        self.excerpt = excerpt

    def __call__(self, batch: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        genres, confidences, errors = [], [], []
        for path in batch["path"]:
            try:
                heard = self.model.classify(str(path), excerpt=self.excerpt)
            except (taggram.TaggramError, OSError) as error:
                genres.append("")
                confidences.append(np.nan)
                errors.append(str(error))
            else:
                genres.append(heard.genre)
                confidences.append(heard.confidence)
                errors.append("")
        return {
            "path": batch["path"],
            "genre": np.array(genres, dtype=object),
            "confidence": np.array(confidences),
            "error": np.array(errors, dtype=object),
        }


def main(music: Path, out: Path, workers: int) -> None:
    paths = sorted(str(path) for path in music.rglob("*") if path.suffix.lower() in ENDINGS)
    # One more than the workers: reading and writing are tasks of their own.
    ray.init(num_cpus=workers + 1, include_dashboard=False, log_to_driver=False)
    (
        ray.data.from_items([{"path": path} for path in paths])
        .repartition(4 * workers)
        .map_batches(
            Classifier,
            fn_constructor_kwargs={"excerpt": "spread:3"},
            batch_size=16,
            compute=ray.data.ActorPoolStrategy(size=workers),
        )
        .write_parquet(str(out))
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 2)
