"""What is settled reaches torch's OpenMP; what a person has set stays."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from rootlm.core import threads

VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "ROOTLM_THREADS")
SETTLE = """
from rootlm.core import threads
threads.settle({verb!r})
import torch
torch.ones(300, 300) @ torch.ones(300, 300)
print(torch.get_num_threads(), threads.why(), sep="|")
"""
linux = pytest.mark.skipif(
    sys.platform != "linux", reason="macOS has another OpenMP runtime and no core affinity"
)


def settled(verb: str, cores: set[int] | None = None, **environment: str) -> tuple[int, str, str]:
    """Settle in a fresh process; return torch's thread count, the reasons, and what OpenMP says it heard."""
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    code = (f"import os; os.sched_setaffinity(0, {cores!r})\n" if cores else "") + SETTLE.format(verb=verb)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "OMP_DISPLAY_ENV": "VERBOSE", **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    count, reasons = done.stdout.strip().split("|")
    return int(count), reasons, done.stderr


def heard(openmp: str, name: str) -> str:
    found = re.search(rf"{name} = '(\w+)'", openmp)
    assert found, openmp
    return found[1]


@linux
@pytest.mark.parametrize("verb", ["generate", "evaluate"])
def test_the_spin_reaches_openmp(verb: str) -> None:
    count, reasons, openmp = settled(verb)
    assert heard(openmp, "GOMP_SPINCOUNT") == str(threads.SPINS)
    assert heard(openmp, "OMP_NUM_THREADS") == str(count)
    assert "spins" in reasons


@linux
def test_threads_follow_the_cores_this_process_may_use() -> None:
    one = {min(os.sched_getaffinity(0))}
    assert settled("generate", cores=one)[0] == 1


@linux
@pytest.mark.parametrize(
    ("name", "value"), [("OMP_NUM_THREADS", "3"), ("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "77")]
)
def test_what_a_person_set_stays(name: str, value: str) -> None:
    _, reasons, openmp = settled("train", **{name: value})
    assert heard(openmp, name) == value
    assert f"{name}" in reasons
    if name == "OMP_WAIT_POLICY":
        # A spin count would overrule the policy.
        assert heard(openmp, "GOMP_SPINCOUNT") == "0"


def test_after_torch_it_is_too_late_and_said_so() -> None:
    code = "import torch, os; from rootlm.core import threads; threads.settle('train'); print(threads.why())"
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    said = subprocess.run(
        [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True
    ).stdout
    assert "torch was imported before" in said


def test_settling_imports_no_torch() -> None:
    code = (
        "import sys; from rootlm.core import threads; threads.settle('train'); print('torch' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_settling_twice_changes_nothing() -> None:
    code = (
        "import os; from rootlm.core import threads; threads.settle('generate'); first = dict(os.environ);"
        "threads.settle('train'); print(first == dict(os.environ))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "True"


@pytest.mark.parametrize("cores", [1, 2, 4, 16])
def test_there_is_always_a_thread_and_never_more_than_cores(cores: int) -> None:
    for tenth in range(0, 400, 3):
        count = threads.best_count(cores, tenth / 10)
        assert cores / 2 < count <= cores


def test_busy_cores_are_counted_between_none_and_all() -> None:
    assert 0.0 <= threads.busy_cores() <= (os.cpu_count() or 1) + 0.5
