"""Metrics survive a kill at any byte, and a resumed run holds every step once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rootlm.core.records import Records, of_kind, read, reopen

LINES = [
    {"kind": "start", "device": "cpu"},
    {"kind": "train", "step": 1, "loss": 5.5},
    {"kind": "sample", "step": 1, "prompt": "床前明月光", "text": "疑是地上霜\n"},
    {"kind": "train", "step": 2, "loss": 4.5},
    {"kind": "validation", "step": 2, "loss": 4.25},
    {"kind": "train", "step": 3, "loss": 4.0},
]


def write_all(path: Path, lines: list[dict[str, object]]) -> None:
    with Records(path) as records:
        for line in lines:
            records.write(line)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_all(tmp_path / "new" / "metrics.jsonl", LINES)
    assert read(tmp_path / "new" / "metrics.jsonl") == LINES


def test_a_file_cut_at_any_byte_reads_as_its_whole_lines_and_goes_on(tmp_path: Path) -> None:
    write_all(tmp_path / "whole", LINES)
    content = (tmp_path / "whole").read_bytes()
    for length in range(len(content) + 1):
        path = tmp_path / "cut"
        path.write_bytes(content[:length])
        whole = content[:length].count(b"\n")
        assert read(path) == LINES[:whole]
        write_all(path, [{"kind": "end"}])
        assert read(path) == [*LINES[:whole], {"kind": "end"}]


def test_a_long_torn_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"kind":"start"}\n{"text":"' + b"x" * 200_000)
    Records(path).close()
    assert path.read_bytes() == b'{"kind":"start"}\n'


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_resuming_holds_every_step_once(tmp_path: Path, step: int) -> None:
    path = tmp_path / "metrics.jsonl"
    write_all(path, LINES)
    with reopen(path, step) as records:
        for line in LINES:
            if line.get("step", 0) > step:  # type: ignore[operator]
                records.write(line)
    assert read(path) == LINES


def test_resuming_drops_what_came_after_even_without_a_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_all(path, [*LINES, {"kind": "end", "seconds": 3.0}])
    reopen(path, 2).close()
    assert read(path) == LINES[:5]


def test_reopening_what_does_not_exist_begins(tmp_path: Path) -> None:
    with reopen(tmp_path / "metrics.jsonl", 5) as records:
        records.write({"kind": "train", "step": 6})
    assert read(tmp_path / "metrics.jsonl") == [{"kind": "train", "step": 6}]


def test_a_record_is_with_the_system_before_the_file_is_closed(tmp_path: Path) -> None:
    records = Records(tmp_path / "metrics.jsonl")
    records.write(LINES[0])
    assert read(tmp_path / "metrics.jsonl") == LINES[:1]
    records.close()


def test_numbers_of_every_sort_become_json(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_all(path, [{"a": float("nan"), "b": float("inf"), "c": np.float32(0.5), "d": np.int64(3)}])
    assert read(path) == [{"a": None, "b": None, "c": 0.5, "d": 3}]


@pytest.mark.parametrize("bad", [b'{"kind": "tr\n', b"[1, 2]\n", b"\xff\n"])
def test_a_bad_line_before_the_last_is_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"kind":"start"}\n' + bad + b'{"kind":"end"}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2: .*remove the line"):
        read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none: cannot be read"):
        read(tmp_path / "none")


def test_records_are_chosen_by_kind() -> None:
    assert [record["step"] for record in of_kind(LINES, "train")] == [1, 2, 3]  # type: ignore[arg-type]
