"""Doctor: runs here, lists what the package declares, and has a remedy where torch is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rootlm.core.diagnosis import CORE, EXTRAS

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def doctor(*words: str, path: Path | None = None) -> str:
    places = [str(path)] if path else []
    places += [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    done = subprocess.run(
        [sys.executable, "-m", "rootlm", "doctor", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def test_it_says_what_a_person_asks(tmp_path: Path) -> None:
    facts = {fact["name"]: fact for fact in json.loads(doctor(str(tmp_path), "--json"))}
    for name in (
        "python",
        "rootlm",
        "torch",
        "device",
        "precision",
        "threads",
        "peak",
        "cores",
        "memory",
        "disk",
    ):
        assert facts[name]["value"], name
    assert facts["precision"]["why"]
    assert "thread" in facts["threads"]["why"]
    assert facts["disk"]["why"] == str(tmp_path.resolve())
    missing = [fact for fact in facts.values() if fact["value"] in ("missing", "not installed", "not usable")]
    assert all("install" in fact["remedy"] for fact in missing)


def test_a_torch_that_cannot_import_gets_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch_cpu.so: cannot open shared object file')")
    printed = " ".join(doctor(path=tmp_path).split())
    assert "cannot be imported" in printed
    assert "libtorch_cpu.so" in printed
    assert "pip install" in printed
    assert "Traceback" not in printed


@pytest.mark.skipif(not PROJECT.exists(), reason="not run from a checkout")
def test_it_knows_every_package_that_the_project_declares() -> None:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    names = [requirement.partition(">")[0].partition("=")[0] for requirement in project["dependencies"]]
    assert sorted(names) == sorted(CORE)
    declared = {
        extra: wanted[0].partition(">")[0].partition("[")[0]
        for extra, wanted in project["optional-dependencies"].items()
    }
    assert declared == {extra: package for extra, (package, _, _) in EXTRAS.items()}
