"""A config of another library, read key by key, so that what nobody asked for can be refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MOST = 1 << 31
_HARMLESS = """
    architectures auto_map model_type torch_dtype dtype transformers_version transformers.js_config _name_or_path
    name_or_path _commit_hash _attn_implementation _attn_implementation_autoset attn_implementation
    cache_implementation use_cache return_dict output_attentions output_hidden_states output_scores
    initializer_range initializer_factor gradient_checkpointing pretraining_tp use_bfloat16 torchscript tokenizer_class
    bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id unk_token_id mask_token_id decoder_start_token_id
    attention_dropout hidden_dropout resid_pdrop embd_pdrop attn_pdrop classifier_dropout
    output_router_logits router_aux_loss_coef router_jitter_noise
    task_specific_params problem_type id2label label2id num_labels finetuning_task license
    summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout
    is_llama_config n_ctx
    do_sample temperature top_k top_p typical_p max_length min_length num_beams num_return_sequences
    repetition_penalty length_penalty no_repeat_ngram_size early_stopping max_new_tokens
"""
HARMLESS = frozenset(_HARMLESS.split())
"""Keys that change no logits of a trained model: training, generation, bookkeeping."""


class Given:
    """The keys of a `config.json` and which of them were read."""

    def __init__(self, data: Mapping[str, Any], place: str) -> None:
        self.place = place
        self._data = data
        self._read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value of whatever type; null counts as not given."""
        self._read.add(key)
        value = self._data.get(key)
        return default if value is None else value

    def __contains__(self, key: str) -> bool:
        """Tell whether a key has a value."""
        return self._data.get(key) is not None

    def says_null(self, key: str) -> bool:
        """Tell whether a key is there and says null, where that means something else than its absence."""
        self._read.add(key)
        return key in self._data and self._data[key] is None

    def whole(self, key: str, default: int | None = None, *, most: int = MOST) -> int:
        """Return a whole number of at least 1."""
        value = self.get(key, default)
        if value is None:
            raise ValueError(f"{self.place}: {key} is missing; the file is not whole")
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise self.wrong(key, value, f"a whole number from 1 to {most:,}")
        return value

    def number(self, key: str, default: float | None = None) -> float | None:
        """Return a number above 0, or None where none is given."""
        value = self.get(key, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise self.wrong(key, value, "a number above 0")
        return float(value)

    def positive(self, key: str, default: float) -> float:
        """Return a number above 0."""
        value = self.number(key, default)
        assert value is not None
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true or false")
        return value

    def group(self, key: str) -> Given | None:
        """Return a nested mapping, to be read in the same way."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(key, value, "keys and values")
        return Given(value, f"{self.place}: {key}")

    def only(self, key: str, *allowed: Any, default: Any = None) -> Any:
        """Return a value that must be one of those allowed."""
        value = self.get(key, default)
        if value not in allowed:
            raise self.lacks(key, value)
        return value

    def finish(self, harmless: Iterable[str] = HARMLESS) -> None:
        """Refuse a key that nobody read and that says something; false, null, 0 and empty say nothing."""
        for key, value in self._data.items():
            if value and key not in self._read and key not in harmless:
                raise self.lacks(key, value)

    def lacks(self, key: str, value: Any) -> ValueError:
        """Return what to raise for a feature that rootlm does not have."""
        said = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:57]}…"
        return ValueError(
            f"{self.place}: {key}={said} is not supported; rootlm cannot compute what it asks for"
        )

    def wrong(self, key: str, value: Any, expected: str) -> ValueError:
        """Return what to raise for a value of another kind."""
        return ValueError(f"{self.place}: {key} is {value!r}, expected {expected}")
