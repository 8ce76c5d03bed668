"""Tiny networks of every published family of encoders that rootlm reads, made with `transformers`."""

import torch
import transformers

from foreign_families import unsettle

VOCABULARY, CONTEXT = 97, 64
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "attn_implementation": "eager",
}
MARKS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
OFFSET = 2
"""RoBERTa's first place is the row behind its padding's."""


def bert(kind=transformers.BertForMaskedLM, **given):
    return kind(transformers.BertConfig(**COMMON, max_position_embeddings=CONTEXT, **given))


def bert_with_everything():
    return bert(transformers.BertForPreTraining, hidden_act="gelu_new", type_vocab_size=3)


def bert_without_output():
    return bert(transformers.BertModel)


def roberta(kind=transformers.RobertaForMaskedLM, config=transformers.RobertaConfig, **given):
    return kind(config(**COMMON, max_position_embeddings=CONTEXT + OFFSET, **given))


def xlm_roberta():
    return roberta(
        transformers.XLMRobertaForMaskedLM,
        transformers.XLMRobertaConfig,
        type_vocab_size=1,
        hidden_act="gelu_new",
    )


def camembert_without_output():
    return roberta(transformers.CamembertModel, transformers.CamembertConfig, type_vocab_size=1)


def distilbert(**given):
    config = transformers.DistilBertConfig(
        vocab_size=VOCABULARY,
        dim=48,
        hidden_dim=80,
        n_layers=4,
        n_heads=6,
        max_position_embeddings=CONTEXT,
        attn_implementation="eager",
        **given,
    )
    return transformers.DistilBertForMaskedLM(config)


def distilbert_with_rectifiers():
    return distilbert(activation="relu", sinusoidal_pos_embds=True)


def modernbert(kind=transformers.ModernBertForMaskedLM, **given):
    settings = {"local_attention": 12, "max_position_embeddings": CONTEXT, **MARKS, **given}
    return kind(transformers.ModernBertConfig(**COMMON, **settings))


def modernbert_with_biases():
    return modernbert(
        norm_bias=True,
        attention_bias=True,
        mlp_bias=True,
        classifier_bias=True,
        global_attn_every_n_layers=2,
        hidden_activation="gelu_new",
        classifier_activation="gelu_new",
    )


def modernbert_that_sees_everything():
    return modernbert(layer_types=["full_attention"] * 4)


def modernbert_without_output():
    return modernbert(transformers.ModernBertModel, global_rope_theta=5000.0, local_rope_theta=200.0)


MEMBERS = {
    "bert": bert,
    "bert_with_everything": bert_with_everything,
    "bert_without_output": bert_without_output,
    "roberta": roberta,
    "xlm_roberta": xlm_roberta,
    "camembert_without_output": camembert_without_output,
    "distilbert": distilbert,
    "distilbert_with_rectifiers": distilbert_with_rectifiers,
    "modernbert": modernbert,
    "modernbert_with_biases": modernbert_with_biases,
    "modernbert_that_sees_everything": modernbert_that_sees_everything,
    "modernbert_without_output": modernbert_without_output,
}


@torch.no_grad()
def build(name):
    """Return the member with this name, every parameter random, in evaluation mode."""
    model = unsettle(MEMBERS[name]())
    for part, parameter in model.named_parameters():
        if parameter.ndim == 1 and not part.endswith("bias"):
            # Norms are all that a stream's size comes from.
            parameter.mul_(1.4)
    return model
