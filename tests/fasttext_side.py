"""fastText's own program in a process of its own: its package and the one that tells languages share a name.

`make test` installs it beside the other packages, in a folder that only this process sees.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(sys.prefix) / "fasttext"


def ask(**job: Any) -> Any:
    """Let fastText train, read, predict or quantise, and return what it says; see `answer`."""
    assert FOLDER.is_dir(), (
        f"{FOLDER}: missing; make test installs it: pip install --no-deps --target {FOLDER} fasttext-community==0.11.9"
    )
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    job = {name: str(value) if isinstance(value, Path) else value for name, value in job.items()}
    ended = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Train or load a model, save it where asked, and tell of words, labels and texts."""
    import fasttext

    if "text" in job:
        learn = fasttext.train_supervised if job.get("supervised") else fasttext.train_unsupervised
        model = learn(job["text"], thread=1, verbose=0, **job["settings"])
    else:
        model = fasttext.load_model(job["model"])
    if job.get("quantise"):
        model.quantize(retrain=False)
    if "out" in job:
        model.save_model(job["out"])
    told: dict[str, Any] = {"words": model.words, "labels": model.labels if job.get("supervised") else []}
    told["vectors"] = {word: model.get_word_vector(word).tolist() for word in job.get("ask", ())}
    told["guesses"] = [[list(part) for part in model.predict(text, k=2)] for text in job.get("texts", ())]
    told["outputs"] = model.get_output_matrix().tolist() if job.get("outputs") else []
    return told


if __name__ == "__main__":
    print(json.dumps(answer(json.load(sys.stdin))))
