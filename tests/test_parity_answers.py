"""Published encoder–decoders answer as transformers does by the folder's own generation config: greedy and beams."""

import json

import pytest
import torch
import transformers

import rootlm
from pair_folders import bart_folder, marian_folder, mt5_folder, t5_folder

SOURCES = ["The sea is wide and the ships are small.", "今天天气很好", "To be, or not to be"]
MAKERS = {
    "marian": marian_folder,
    "marian_apart": lambda folder: marian_folder(folder, apart=True),
    "t5": t5_folder,
    "flan_t5": lambda folder: t5_folder(folder, flan=True),
    "mt5": mt5_folder,
    "bart": bart_folder,
}
BEAMS = {"num_beams": 4, "max_length": 14}
ENDED = {"no_repeat_ngram_size": 3, "forced_eos_token_id": "end", "forced_bos_token_id": 7}
SETTINGS = {
    "greedy": {"num_beams": 1, "max_length": 14},
    "greedy, forced": {"num_beams": 1, "max_length": 10, "min_length": 6, **ENDED},
    "beams": BEAMS,
    "early": {**BEAMS, "early_stopping": True},
    "never": {**BEAMS, "early_stopping": "never"},
    "long": {**BEAMS, "length_penalty": 2.0, "no_repeat_ngram_size": 2, "min_length": 5},
    "short": {**BEAMS, "length_penalty": -0.5, "early_stopping": "never"},
    "forced": {**BEAMS, **ENDED, "length_penalty": 1.6, "min_length": 7},
    "forced, early": {**BEAMS, **ENDED, "length_penalty": 0.4, "early_stopping": True},
    "renormalised": {**BEAMS, "renormalize_logits": True, "no_repeat_ngram_size": 2},
    "seldom again": {**BEAMS, "repetition_penalty": 1.6},
    "ruled out": {**BEAMS, "bad_words_ids": [[9], [12], [30]], "num_beams": 6},
}


@pytest.fixture(params=MAKERS, scope="module")
def family(request, tmp_path_factory):
    """A folder, transformers' model of it, whose answers end now and then, and its tokenizer."""
    folder = tmp_path_factory.mktemp(request.param)
    model = MAKERS[request.param](folder).eval()
    assert spread(model) >= 1
    return folder, model, transformers.AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def spread(model):
    ids = torch.arange(3, 40)[None]
    return model(input_ids=ids, decoder_input_ids=ids).logits.std()


def written(folder, names, settings):
    """Give the folder a generation config; ids that are no token are ruled out for both."""
    kept = json.loads((folder / "generation_config.json").read_text())
    ids = {"decoder_start_token_id", "eos_token_id", "pad_token_id", "bos_token_id"}
    said = {name: value for name, value in kept.items() if name in ids}
    said |= {name: said["eos_token_id"] if value == "end" else value for name, value in settings.items()}
    rows = json.loads((folder / "config.json").read_text())
    rows = rows.get("decoder_vocab_size") or rows["vocab_size"]
    # Marian's padding, which begins its answers, is never said.
    unsaid = {*range(len(names), rows), said["pad_token_id"]}
    said["suppress_tokens"] = sorted(unsaid)
    (folder / "generation_config.json").write_text(json.dumps(said))
    return transformers.GenerationConfig.from_pretrained(folder)


@pytest.mark.parametrize("name", SETTINGS)
def test_answers_are_the_ids_of_transformers(family, name):
    folder, model, names = family
    config = written(folder, names, SETTINGS[name])
    # Else what the model was saved with would stand where this says nothing.
    model.generation_config = config
    run = rootlm.load(folder, precision="float32")
    begun = run.answering.begun(config.decoder_start_token_id)[1:]
    for text, (found,) in zip(SOURCES, run.answers(SOURCES), strict=True):
        ids = torch.tensor([names(text)["input_ids"]])
        expected = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids))[0, 1:]
        assert [*begun, *found.tokens] == expected.tolist(), text
