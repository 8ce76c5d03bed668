"""Is this normal: reference runs are, and what is not is told apart with a likely cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_up_runs import run_records
from rootlm.core.normal import Reference, judge, read_reference, summarise, write_reference
from rootlm.core.records import Record


@pytest.fixture(scope="module")
def reference() -> Reference:
    return summarise("poems", [run_records(seed) for seed in range(3)])


def changed(records: list[Record], kind: str, scale: float) -> list[Record]:
    """Return the records with the losses of one kind scaled."""
    keys = ("loss", "bits_per_byte")
    return [{**r, **{key: r[key] * scale for key in keys}} if r.get("kind") == kind else r for r in records]


def test_a_reference_point_holds_the_training_since_the_point_before() -> None:
    run = run_records(1)
    points = summarise("poems", [run]).points
    for before, point in zip([0, *(p.tokens for p in points)], points, strict=False):
        since = [
            r["bits_per_byte"] for r in run if r["kind"] == "train" and before < r["tokens"] <= point.tokens
        ]
        assert point.train == pytest.approx(sum(since) / len(since))
        assert point.validation_spread == 0.0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.2, 0.6, 1.0])
def test_a_run_like_the_reference_is_on_track_at_any_time(
    reference: Reference, seed: int, share: float
) -> None:
    records = run_records(seed)
    verdict = judge(records[: int(len(records) * share)], reference)
    assert verdict.state == "on track"
    assert verdict.ratio == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("scale", "state"), [(1.2, "too high"), (0.8, "too low")])
def test_a_gap_is_seen_and_measured(reference: Reference, scale: float, state: str) -> None:
    verdict = judge(run_records(9, scale=scale), reference)
    assert verdict.state == state
    assert verdict.ratio == pytest.approx(scale, abs=0.02)
    assert "Likely:" in verdict.sentence


@pytest.mark.parametrize(
    ("records", "cause"),
    [
        (run_records(9, scale=1.2, rate=1e-2), "learning rate peaks at 0.01, the reference's at 0.001"),
        (changed(run_records(9), "validation", 1.2), "only validation is high"),
        (changed(run_records(9), "validation", 0.8), "also stand in the training text"),
        (run_records(9, scale=0.8), "a target that the model can see"),
        ([{**r, "tokens": r["tokens"] * 8} if "tokens" in r else r for r in run_records(9, scale=1.2)],
         "a step holds 8,192 tokens"),
        ([{**r, "gradient_norm": r["step"] / 10} if r.get("kind") == "train" else r
          for r in run_records(9, scale=1.2)], "gradient norm has grown"),
    ],
)  # fmt: skip
def test_a_cause_is_named(reference: Reference, records: list[Record], cause: str) -> None:
    assert cause in judge(records, reference).sentence


def test_before_the_first_point_it_is_too_early(reference: Reference) -> None:
    assert judge(run_records(steps=40), reference).state == "too early"
    assert judge([], reference).state == "too early"


def test_a_loss_that_is_no_number_is_too_high(reference: Reference) -> None:
    records = [
        {**r, "loss": None, "bits_per_byte": None} if r.get("step", 0) > 200 else r for r in run_records()
    ]
    verdict = judge(records, reference)
    assert verdict.state == "too high"
    assert "stopped being a number" in verdict.sentence


def test_beyond_the_reference_better_is_fine_and_worse_is_not(reference: Reference) -> None:
    assert judge(run_records(9, scale=0.8, steps=800), reference).state == "on track"
    assert judge(run_records(9, scale=1.2, steps=800), reference).state == "too high"


def test_without_bytes_the_loss_is_compared() -> None:
    runs = [
        [{k: v for k, v in r.items() if k != "bits_per_byte"} for r in run_records(seed)] for seed in range(2)
    ]
    bare = summarise("poems", runs)
    assert bare.measure == "loss"
    assert judge(run_records(5), bare).state == "on track"


def test_a_reference_is_read_as_written(reference: Reference, tmp_path: Path) -> None:
    write_reference(tmp_path / "reference.json", reference)
    assert read_reference(tmp_path / "reference.json") == reference


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"recipe": "x", "runs": 1, "measure": "loss", "points": [{}]}', "{"]
)
def test_what_is_no_reference_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "reference.json").write_text(content)
    with pytest.raises(ValueError, match=r"reference\.json: not"):
        read_reference(tmp_path / "reference.json")


def test_a_reference_needs_validation() -> None:
    with pytest.raises(ValueError, match="set a validation interval"):
        summarise("poems", [[r for r in run_records() if r["kind"] != "validation"]])
