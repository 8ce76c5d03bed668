"""What many tests share: a small corpus on disk and the command line in processes of its own."""

from __future__ import annotations

import os

# Set before torch is imported anywhere: tests run side by side and must not wait for each other's threads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from commands import Server

TINY = """
tokenizer: {kind: bpe, vocab_size: 320}
model: {depth: 1, hidden_size: 32, n_heads: 2, context: 32, dropout: 0.1}
training:
  max_steps: 24
  batch_size: 4
  eval_steps: 6
  save_steps: 4
  logging_steps: 1
  compile: false
  precision: float32
  schedule: {kind: cosine, warmup_steps: 4}
validation: {tokens: 400}
"""


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory, commands):
    """A prepared corpus of some 90 short documents, Chinese and English."""
    from rootlm import shipped

    folder = tmp_path_factory.mktemp("corpus") / "reader"
    text = next(text.path for text in shipped.paths() if text.name == "reader")
    ended = commands.run("data", "prepare", str(text), f"out={folder}")
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def recipe(tmp_path, corpus):
    """A recipe file that trains a tiny decoder for 24 steps in a second."""
    file = tmp_path / "tiny.yaml"
    file.write_text(f"corpus: {corpus}\n{TINY}", encoding="utf-8")
    return file
