"""Folders as a hub holds them: a tiny network of `transformers` with a real tokenizer and a chat template."""

import json
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

transformers.logging.disable_progress_bar()
TEXTS = [
    "The sea is wide and the ships are small. To be, or not to be, that is the question.",
    "床前明月光，疑是地上霜。举头望明月，低头思故乡。今天天气很好，我们去公园散步吧。",
    "def add(a, b):\n    return a + b\n",
]
TEMPLATE = (
    "{{ bos_token }}{% for turn in messages %}<|{{ turn['role'] }}|>\n{{ turn['content'] | trim }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIAL = ["<|begin|>", "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"]


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Return a byte-level tokenizer that puts its begin mark before a text, as Llama 3's does."""
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    engine.train_from_iterator(TEXTS * 3, trainer)
    begin = engine.token_to_id(SPECIAL[0])
    engine.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[0]} $A", special_tokens=[(SPECIAL[0], begin)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=engine,
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        pad_token=SPECIAL[2],
        chat_template=TEMPLATE,
    )


def llama_folder(folder: Path, **settings: object) -> transformers.LlamaForCausalLM:
    """Write a folder of a tiny Llama whose table is rounded up beyond its tokenizer; returns the model."""
    torch.manual_seed(0)
    names = tokenizer()
    shape = {
        "vocab_size": 352,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": names.bos_token_id,
        "eos_token_id": names.eos_token_id,
        "pad_token_id": None,
        "tie_word_embeddings": True,
        "initializer_range": 0.4,
    }
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**shape, **settings})).eval()
    with torch.no_grad():
        model.get_input_embeddings().weight[len(names) :] = 0
    model.generation_config.update(do_sample=True, temperature=0.6, top_p=0.9, max_new_tokens=20)
    model.save_pretrained(folder)
    names.save_pretrained(folder)
    return model


def edit(file: Path, **changes: object) -> None:
    """Change keys of a JSON file; None takes one out."""
    data = json.loads(file.read_text())
    data.update(changes)
    file.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


def gpt2_folder(folder: Path) -> transformers.GPT2LMHeadModel:
    """Write a folder of a tiny GPT-2, whose tokenizer puts nothing before a text; returns the model."""
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder, engine.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    alphabet, end = pre_tokenizers.ByteLevel.alphabet(), "<|endoftext|>"
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=[end], initial_alphabet=alphabet, show_progress=False
    )
    engine.train_from_iterator(TEXTS * 3, trainer)
    names = transformers.PreTrainedTokenizerFast(tokenizer_object=engine, bos_token=end, eos_token=end)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(names), n_embd=64, n_layer=2, n_head=4, n_positions=256, initializer_range=0.2
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    model.config.bos_token_id = model.config.eos_token_id = names.eos_token_id
    model.generation_config.update(bos_token_id=names.eos_token_id, eos_token_id=names.eos_token_id)
    model.save_pretrained(folder)
    names.save_pretrained(folder)
    return model
