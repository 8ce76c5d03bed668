"""Energy is never negative, follows the counter across its wrap, and says when it is an estimate."""

from __future__ import annotations

from pathlib import Path

import pytest

from rootlm.core.energy import Meter


def zone(folder: Path, name: str, label: str, microjoules: int) -> Path:
    path = folder / name
    path.mkdir()
    (path / "name").write_text(label + "\n")
    (path / "max_energy_range_uj").write_text("1000000000\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path


def burn() -> int:
    return sum(number * number for number in range(300_000))


def test_here_and_now_energy_grows_and_names_its_source() -> None:
    meter = Meter()
    before = meter.read()
    burn()
    after = meter.read()
    assert 0 <= before.joules <= after.joules
    assert ("estimated" in after.source) == after.estimated


def test_without_counters_it_is_an_estimate_that_says_its_basis(tmp_path: Path) -> None:
    meter = Meter(powercap=tmp_path)
    burn()
    energy = meter.read()
    assert energy.joules > 0
    assert energy.estimated
    assert "W per busy core" in energy.source


def test_counters_are_summed_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 0)
    for name, label in (("intel-rapl:0:0", "core"), ("intel-rapl:1", "psys")):
        zone(tmp_path, name, label, 0)
    meter = Meter(powercap=tmp_path)
    (package / "energy_uj").write_text("7000000\n")
    (memory / "energy_uj").write_text("500000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("90000000\n")
    energy = meter.read()
    assert energy.joules == pytest.approx(2.5)
    assert not energy.estimated


def test_a_counter_that_wraps_around_goes_on(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 999_000_000)
    meter = Meter(powercap=tmp_path)
    readings = []
    for value in (999_500_000, 200_000, 700_000):
        (package / "energy_uj").write_text(str(value))
        readings.append(meter.read().joules)
    assert readings == pytest.approx([0.5, 1.2, 1.7])


def test_a_counter_that_may_not_be_read_gives_an_estimate(tmp_path: Path) -> None:
    (zone(tmp_path, "intel-rapl:0", "package-0", 0) / "energy_uj").unlink()
    assert Meter(powercap=tmp_path).read().estimated


def test_a_card_without_a_counter_is_said_to_be_left_out(tmp_path: Path) -> None:
    energy = Meter(gpu="GPU-00000000-0000-0000-0000-000000000000", powercap=tmp_path).read()
    assert "graphics card not counted" in energy.source
