"""Adapters as folders: merged into a run, handed to PEFT, taken from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rootlm.core.files import new_folder, read_json
from rootlm.layers.adapters import is_adapters
from rootlm.models.adaptation import Adaptation, base_of
from rootlm.models.adapted import merged
from rootlm.models.catalog import WEIGHTS, load_model, read_saved, read_weights, save_model, weights
from rootlm.models.foreign.hugging_face_folder import is_gguf, is_published, open_folder
from rootlm.models.foreign.key_map import Rule
from rootlm.models.foreign.peft_names import read_peft, write_peft
from rootlm.models.foreign.peft_settings import CONFIG as PEFT_CONFIG
from rootlm.models.foreign.registry import family_for
from rootlm.models.interface import Network
from rootlm.runs.export_card import Told, write_card
from rootlm.runs.exported import check, mark_begin, merged_side
from rootlm.runs.imported import check_empty, copy_companions, named
from rootlm.runs.opened_tokenizer import tokenizer_of
from rootlm.runs.peft_side import peft_side
from rootlm.runs.published import find
from rootlm.runs.run import Run
from rootlm.runs.sides import OwnSide, opener_of
from rootlm.runs.verified import Verified, compare
from rootlm.tokenizers.foreign_tokenizer import TOKENIZER


def merge(run: Run) -> Network:
    """Return a run's model with its adapters put into the weights, in the types that its base has on disk.

    Raises ValueError for a run without adapters.
    """
    if run.model.adaptation is None:
        raise _no_adapter(run.folder, "there is nothing to merge; use the run as it is")
    return merged(load_model(run.folder, device=run.model.device))


def export_merged(run: Path, out: Path, *, say: Callable[[str], None] = print) -> None:
    """Write a run of our own whose weights say what the base and its adapters say together.

    Raises ValueError for a run without adapters.
    """
    check_empty(out)
    model = load_model(run)
    if model.adaptation is None:
        raise _no_adapter(run, "there is nothing to merge; use the run as it is")
    merged(model)
    merged_side(run, weights(model), say=say)
    with new_folder(out) as partial, named(partial, out):
        save_model(model, partial)
        copy_companions(run, partial, tokenizer_of(run))
    say(f"{out}: {model.n_parameters():,} parameters, a run like any other")


def export_peft(
    run: Path, out: Path, *, base: str | None = None, say: Callable[[str], None] = print
) -> Verified:
    """Write a run's adapters as PEFT does, and open them again on their base; returns what was compared.

    `base` is how PEFT shall name the base: a folder of Hugging Face's or a name of the hub; None takes the run's own.
    Raises ValueError for a run without adapters, for what PEFT has no place for, and when the two do not agree.
    """
    check_empty(out)
    saved = read_saved(run)
    if saved.adaptation is None:
        raise _no_adapter(run, "rootlm train … init_from=BASE adapter.kind=lora makes one")
    more = [name for name in read_weights(run / WEIGHTS) if not is_adapters(name)]
    if more:
        raise ValueError(
            f"{run}: has learned {more[0]} besides its adapters, which PEFT has no place for; --to hf writes all of it"
        )
    called = base or _published_base(saved.adaptation.base.found(run), run)
    there = _found(called)
    with new_folder(out) as partial, named(partial, out):
        pairs, prefix = names_of(there)
        opener = opener_of(there)
        write_peft(
            load_model(run), pairs, partial, base=called, prefix=prefix if opener == "AutoModel" else ""
        )
        # Beside adapters lies what reads for them: it may begin texts with a mark that the base has not known.
        tokenizer = tokenizer_of(run)
        copy_companions(run, partial, tokenizer)
        if opener != "AutoModelForSeq2SeqLM":
            mark_begin(partial, tokenizer)
        say(f"{out}: written for {called}; opening it again")
        found = compare(OwnSide(run), peft_side(partial, there) or _own_reading(partial, there))
        check(found, out)
        told = Told(
            "peft",
            f"Adapters for `{called}`, written by rootlm.",
            (
                "from peft import PeftModel",
                f"from transformers import {opener}",
                "",
                f'base = {opener}.from_pretrained("{called}")',
                f'model = PeftModel.from_pretrained(base, "{out.resolve().name}")',
            ),
            f"Before these adapters were let out they were opened by {found.second}: {found.sentence}.",
        )
        write_card(partial, run, out.resolve().name, told, seen=found.second != OwnSide.opened_by)
    return found


def import_peft(
    source: Path, out: Path, *, base: str | None = None, say: Callable[[str], None] = print
) -> None:
    """Turn a folder that PEFT wrote, and the base it was made for, into a run.

    `base` is a run, a folder or a name of the hub; None takes the one that the folder names. Raises ValueError naming
    what does not fit.
    """
    check_empty(out)
    there = base_folder(source, base)
    model = load_model(there)
    if model.adaptation is not None:
        merged(model)
    own = source if (source / TOKENIZER).is_file() else there
    tokenizer = tokenizer_of(own)
    if tokenizer.vocab_size > model.vocab_size:
        raise ValueError(
            f"{source}: its tokenizer has {tokenizer.vocab_size:,} tokens, {there} only {model.vocab_size:,}; "
            "name the base it was made for"
        )
    pairs, prefix = names_of(there)
    settings = read_peft(model, pairs, source, prefix=prefix)
    model.adaptation = Adaptation(settings=settings, base=base_of(there))
    with new_folder(out) as partial, named(partial, out):
        save_model(model, partial)
        copy_companions(own, partial, tokenizer)
        if own != there:
            copy_companions(there, partial, tokenizer)
    say(f"{out}: adapters of rank {settings.rank} for {there}, on {', '.join(settings.targets)}")


def base_folder(source: Path, base: str | None = None) -> Path:
    """Return the folder of the base of a PEFT folder; raises ValueError where there is none."""
    data = read_json(source / PEFT_CONFIG)
    called = base or (data.get("base_model_name_or_path") if isinstance(data, dict) else None)
    if not isinstance(called, str) or not called:
        raise ValueError(f"{source / PEFT_CONFIG}: names no base; set base=FOLDER")
    return _found(called)


def names_of(base: Path) -> tuple[Sequence[Rule], str]:
    """Return how the names of a base's tensors here and in `transformers` belong together.

    And what theirs begin with, but not in the bare network.
    """
    if is_published(base):
        held = open_folder(base)
        return held.family.key_map(held.config).pairs, held.family.prefix
    saved = read_saved(base)
    family = family_for(saved.model, saved.vocab_size)
    return family.key_map(saved.model.resolved()).pairs, family.prefix


def _published_base(own: Path, run: Path) -> str:
    if not is_published(own) or is_gguf(own):
        raise ValueError(
            f"{run}: its base {own} is no folder that PEFT opens; rootlm export {own} --to hf out={own.name}-hf, "
            f"then base={own.name}-hf"
        )
    return str(own)


def _found(called: str) -> Path:
    try:
        there = find(called)
    except ValueError as error:
        raise ValueError(f"base {error}; name another with base=FOLDER") from error
    if is_gguf(there):
        raise ValueError(
            f"base {there}: is a GGUF file, which no adapter is made for; name the folder with base="
        )
    return there


def _own_reading(folder: Path, base: Path) -> OwnSide:
    """Open adapters by our own reader, where PEFT is not installed."""
    with TemporaryDirectory(prefix="rootlm-peft-") as temporary:
        import_peft(folder, Path(temporary) / "run", base=str(base), say=lambda line: None)
        return OwnSide(Path(temporary) / "run")


def _no_adapter(run: Path, remedy: str) -> ValueError:
    return ValueError(f"{run}: holds no adapter; {remedy}")
