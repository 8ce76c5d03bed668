"""Device, precision, cores and memory: chosen with a reason, measured for real."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from rootlm.core import machine
from rootlm.core.device import choose, measured_peak_flops


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("precision", ["auto", "bfloat16", "float32"])
def test_a_choice_computes_and_says_why(device: str, precision: str) -> None:
    chosen = choose(device, precision)
    assert precision in ("auto", chosen.precision)
    assert chosen.why
    product = torch.ones(8, 8, device=chosen.torch, dtype=chosen.dtype) @ torch.ones(
        8, 8, device=chosen.torch, dtype=chosen.dtype
    )
    assert product.sum().item() == 512


def test_bfloat16_on_a_cpu_is_chosen_by_its_instructions() -> None:
    has = bool(machine.processor_flags() & {"avx512_bf16", "amx_bf16"})
    assert (choose("cpu").precision == "bfloat16") == has


@pytest.mark.parametrize("precision", ["float16", "fp16", "half"])
def test_float16_is_refused_with_the_reason(precision: str) -> None:
    with pytest.raises(ValueError, match=r"float16 is about 70 times slower .* use bfloat16"):
        choose("cpu", precision)


@pytest.mark.parametrize(
    ("device", "remedy"),
    [("gpu", "use auto, cpu"), ("cuda:x", "use auto, cpu"), ("cuda:99", "use "), ("tpu:0", "use auto")],
)
def test_a_device_that_is_not_there_is_refused_with_a_remedy(device: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=rf"device {device}: .*{remedy}"):
        choose(device)


def test_an_unknown_precision_names_the_known() -> None:
    with pytest.raises(ValueError, match="use auto, bfloat16 or float32"):
        choose("cpu", "bf16")


def test_the_peak_is_above_what_a_product_reaches_and_measured_once() -> None:
    device = choose("cpu", "float32")
    peak = measured_peak_flops(device)
    assert peak > 1e9
    assert measured_peak_flops(device) == peak


def test_memory_adds_up() -> None:
    # A fresh process, because nothing else may be freed in between; and a wide margin, because Linux counts pages
    # per core and adds them up late (`percpu_counter`: 32 MB on 64 cores).
    code = """
        import numpy
        from rootlm.core import machine
        before = machine.resident_memory()
        block = numpy.ones(25_000_000)
        grown = machine.resident_memory()
        del block
        print(before, grown, machine.resident_memory(), machine.peak_memory())
        print(machine.available_memory(), machine.total_memory())
    """
    printed = subprocess.check_output([sys.executable, "-c", textwrap.dedent(code)], text=True)
    before, grown, after, peak, available, total = map(int, printed.split())
    assert 130e6 < grown - before < 270e6
    assert after < grown - 130e6
    assert grown - 70e6 < peak <= total
    assert 0 < available <= total


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no core affinity on this system")
def test_cores_follow_affinity() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from rootlm.core import machine; print(machine.usable_cores(), machine.physical_cores())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["1", "1"]
    assert 1 <= machine.physical_cores() <= machine.usable_cores()


def lay(folder: Path, **contents: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_text(content + "\n")


def test_version_2_control_groups_bind_from_any_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "cgroup" / "user" / "job"
    lay(inner, cpu__max="max 100000", memory__max="max", memory__current="5")
    lay(inner.parent, cpu__max="150000 100000", memory__max="1000000", memory__current="600000")
    lay(inner.parent, memory__stat="anon 1\ninactive_file 100000")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_OWN_GROUP", tmp_path / "own")
    (tmp_path / "own").write_text("0::/user/job\n")
    assert machine.usable_cores() == min(2, os.cpu_count() or 1)
    assert machine.total_memory() == 1_000_000
    assert machine.available_memory() == 500_000


def test_version_1_control_groups_bind_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "cgroup" / "cpu", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    lay(
        tmp_path / "cgroup" / "memory" / "job",
        memory__limit_in_bytes="2000000",
        memory__usage_in_bytes="500000",
    )
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_OWN_GROUP", tmp_path / "own")
    (tmp_path / "own").write_text("4:memory:/job\n1:cpu:/\n")
    assert machine.usable_cores() == 1
    assert machine.total_memory() == 2_000_000
    assert machine.available_memory() == 1_500_000
