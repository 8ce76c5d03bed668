"""KenLM's lmplz, query and build_binary: those that were named, those on the path, or built once from its source."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import material

VERSION, SHA256 = "0.3.0", "c4628bb9fb63c8a6f9240035b8b037385cfc404cb72e933cf48878291edac1e8"
PROGRAMS = ("lmplz", "query", "build_binary")
_REMEDY = "run apt-get install cmake make g++ libboost-all-dev, or give lmplz=PATH"


def lmplz(named: str = "") -> Path:
    """Return the path of lmplz, with its companions beside it; raises ValueError saying what is missing."""
    if named:
        missing = [name for name in PROGRAMS if not Path(named).with_name(name).is_file()]
        if missing:
            raise ValueError(f"lmplz={named}: {', '.join(missing)} not in that folder; build all of KenLM")
        return Path(named).resolve()
    found = shutil.which("lmplz")
    if found and all(Path(found).with_name(name).is_file() for name in PROGRAMS):
        return Path(found)
    folder = material.FOLDER / f"kenlm-{VERSION}"
    if not all((folder / name).is_file() for name in PROGRAMS):
        _build(folder)
    return folder / "lmplz"


def _build(folder: Path) -> None:
    _check_tools()
    print(f"  KenLM {VERSION} is fetched and built, once: about two minutes", flush=True)
    with tempfile.TemporaryDirectory() as place:
        source, made = _source(Path(place)), Path(place) / "made"
        # What this cmake or Boost no longer knows of the source's age is not our concern.
        options = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_POLICY_VERSION_MINIMUM=3.10"]
        _run(["cmake", "-S", str(source), "-B", str(made), *options])
        _run(["cmake", "--build", str(made), "--parallel", "2", "--target", *PROGRAMS])
        folder.mkdir(parents=True, exist_ok=True)
        for name in PROGRAMS:
            shutil.copy2(made / "bin" / name, folder / name)


def _check_tools() -> None:
    missing = [tool for tool in ("cmake", "make", "c++") if shutil.which(tool) is None]
    if "c++" not in missing:
        probe = ["c++", "-x", "c++", "-E", "-include", "boost/program_options.hpp", "/dev/null"]
        if subprocess.run(probe, capture_output=True, check=False).returncode:
            missing.append("Boost's headers")
    if missing:
        raise ValueError(f"KenLM's lmplz cannot be built without {', '.join(missing)}; {_REMEDY}")


def _source(place: Path) -> Path:
    """Return the unpacked source; pip reads the archive's metadata, which builds nothing."""
    words = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", "kenlm"]
    _run([sys.executable, "-m", "pip", *words, "--dest", str(place), f"kenlm=={VERSION}"])
    archive = place / f"kenlm-{VERSION}.tar.gz"
    if not archive.exists() or hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"pip brought another kenlm-{VERSION}.tar.gz than the one known here; {_REMEDY}")
    with tarfile.open(archive) as members:
        # The first releases of Python 3.11 know no filter; what is unpacked here is known by its checksum.
        safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        members.extractall(place, **safe)
    return place / f"kenlm-{VERSION}"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise ValueError(
            f"KenLM's lmplz could not be built: {' '.join(command[:4])} … said: {last}; {_REMEDY}"
        )
