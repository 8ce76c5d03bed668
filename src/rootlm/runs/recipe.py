"""A recipe: everything a run needs, in one typed YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from rootlm.core import normal
from rootlm.core.config import Config, Override, load, to_plain
from rootlm.core.normal import Reference
from rootlm.generation.sampling import DraftConfig, Sampling
from rootlm.layers.low_rank import LoraConfig
from rootlm.models.catalog import ModelConfig
from rootlm.models.decoder import DecoderConfig
from rootlm.objectives.causal import CausalConfig
from rootlm.objectives.contrastive import ContrastiveConfig
from rootlm.objectives.denoising import DenoisingConfig
from rootlm.objectives.distillation import DistillationConfig
from rootlm.objectives.masked import MaskedConfig
from rootlm.objectives.regression import RegressionConfig
from rootlm.objectives.sequence_to_sequence import SequenceToSequenceConfig
from rootlm.runs.vectors_start import EmbeddingStart
from rootlm.text.augmentation.each_epoch import EachEpoch
from rootlm.text.folds import FoldConfig
from rootlm.tokenizers.byte_pieces import BytePairs
from rootlm.tokenizers.tokenizer_training import TrainTokenizer
from rootlm.training.fitters import fitter
from rootlm.training.training_config import TrainingConfig

ObjectiveConfig = Annotated[
    CausalConfig
    | MaskedConfig
    | DenoisingConfig
    | DistillationConfig
    | SequenceToSequenceConfig
    | ContrastiveConfig
    | RegressionConfig,
    Field(discriminator="kind"),
]
"""Everything that a recipe may ask of a model, told apart by `kind`."""
_SHIPPED = Path(__file__).resolve().parent.parent / "recipes"


class Part(Config):
    """One corpus of a mixture."""

    path: str
    """A corpus folder, as `rootlm data prepare` writes it."""
    weight: float = Field(1.0, gt=0)
    """Its share of the windows, relative to the other parts."""


class ValidationConfig(Config):
    """How the validation split is looked at while training."""

    split: str | None = "validation"
    """Which split to score; null trains without a look at any."""
    tokens: int = Field(100_000, ge=1)
    """Score whole documents, drawn once, until about this many tokens; the final score reads all."""
    final_bytes: int = Field(30_000, ge=0)
    """At the end, score about so many bytes of each split beside one another, the training text too; 0 does not."""
    out_of_domain: str | None = None
    """A file, folder or corpus of other text that is scored with them."""


class SamplesConfig(Config):
    """What the model is asked to say while it learns."""

    prompts: list[str] = Field(default_factory=list)
    """One text is written after each; none writes nothing."""
    sources: list[str] = Field(default_factory=list)
    """Texts for a model that reads before it writes, such as a translator: one text is written for each."""
    steps: int = Field(200, ge=1)
    """Steps between two rounds."""
    sampling: Sampling = Sampling(max_new_tokens=60, temperature=0.8, top_p=0.95, seed=0)
    """How the tokens are chosen."""


class TrackersConfig(Config):
    """Where the records go besides `metrics.jsonl`."""

    tensorboard: bool = False
    """Event files in the run folder (extra `tensorboard`)."""
    trackio: str | None = None
    """A trackio project to log to (extra `trackio`)."""


class Recipe(Config):
    """A whole training run."""

    out: str = ""
    """The run folder."""
    corpus: str | list[Part] = ""
    """A corpus folder, or several with weights."""
    fold: FoldConfig | None = None
    """A part of the training documents that is held out, as cross-validation does."""
    augment: EachEpoch | None = None
    """How the training documents are changed anew in every epoch."""
    tokenizer: str | TrainTokenizer = BytePairs()
    """A tokenizer's folder or file, or how to train one on the corpus."""
    source_tokenizer: str | TrainTokenizer | None = None
    """The same for the sources of pairs, where they shall have ids of their own; none: one tokenizer for both sides."""
    model: ModelConfig = DecoderConfig()
    """The network."""
    objective: ObjectiveConfig = CausalConfig()
    """What is asked of it."""
    training: TrainingConfig = TrainingConfig()
    """How it is trained."""
    validation: ValidationConfig = ValidationConfig()
    """How it is looked at meanwhile."""
    samples: SamplesConfig = SamplesConfig()
    """What it is asked to say meanwhile."""
    trackers: TrackersConfig = TrackersConfig()
    """Where else the records go."""
    init_from: str | None = None
    """A run, or a folder of Hugging Face's, whose weights to begin from; model and tokenizer are then its own."""
    adapter: LoraConfig | None = None
    """Learn small changes of that run's matrices and keep only them: adapter.kind=lora."""
    embedding: EmbeddingStart | None = None
    """Word vectors that the embedding begins with: embedding.path=RUN or FILE."""
    reference: str | None = None
    """A reference curve that tells whether the run is normal: a JSON file, or one that ships with a recipe."""

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.init_from and self.embedding:
            raise ValueError("init_from and embedding.path both say what the embedding begins with; keep one")
        asked = self.objective
        both_ways = isinstance(asked, SequenceToSequenceConfig) and asked.both_ways
        if self.samples.sampling.reverse_weight and not both_ways:
            raise ValueError(
                "samples.sampling.reverse_weight asks for the way back; set it to 0, or objective.both_ways=true"
            )
        if isinstance(self.samples.sampling.speculate, DraftConfig):
            raise ValueError(
                "samples.sampling.speculate.kind=draft: no other model is opened in training; leave it out"
            )
        if self.adapter and not self.init_from:
            raise ValueError("adapter has no base; set init_from=RUN, whose weights it leaves as they are")
        named = [n for n in ("max_steps", "minutes", "epochs") if getattr(self.training, n) is not None]
        if len(named) > 1:
            raise ValueError(
                f"training.{' and training.'.join(named)} both say how long; keep one, set the other to null"
            )
        return self

    @property
    def parts(self) -> list[Part]:
        """The corpora with their weights."""
        return [Part(path=self.corpus)] if isinstance(self.corpus, str) else self.corpus


def read_recipe(name: str, overrides: list[Override]) -> Recipe:
    """Read a recipe file, or one that ships with rootlm by its name; overrides win.

    Raises ValueError naming file, line and key for what is not known or does not fit, and for a recipe that
    lacks a corpus, an out folder or a length.
    """
    recipe = load(Recipe, _find(name), overrides)
    for key in ("corpus", "out"):
        if not getattr(recipe, key):
            raise ValueError(f"{name}: {key} is missing; set {key}=…")
    training = recipe.training
    endless = training.max_steps is None and training.minutes is None and training.epochs is None
    if endless and fitter(recipe.model) is None:
        raise ValueError(
            f"{name}: how long? set training.minutes=…, training.max_steps=… or training.epochs=…"
        )
    return recipe


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that ship with rootlm, by name."""
    return {file.stem: file for file in sorted(_SHIPPED.glob("*.yaml"))}


def read_reference(name: str) -> Reference:
    """Read a reference curve from a file, or the one that ships with the recipe of that name.

    Raises ValueError when there is neither.
    """
    file = Path(name)
    if not file.exists():
        file = _SHIPPED / f"{name}.reference.json"
    if not file.exists():
        known = ", ".join(sorted(path.name.split(".")[0] for path in _SHIPPED.glob("*.reference.json")))
        raise ValueError(
            f"reference {name}: no such file; give a JSON file or one of: {known or 'none ships'}"
        )
    return normal.read_reference(file)


def with_changes(recipe: Recipe, **changes: dict[str, Any]) -> Recipe:
    """Return the recipe with fields of its groups replaced, checked again.

    >>> with_changes(Recipe(), training={"max_steps": 7}).training.max_steps
    7
    """
    plain = to_plain(recipe)
    for group, fields in changes.items():
        plain[group] = {**plain[group], **fields}
    return Recipe.model_validate(plain)


def _find(name: str) -> Path:
    file = Path(name)
    if file.exists():
        return file
    known = shipped_recipes()
    if name in known:
        return known[name]
    raise ValueError(f"{name}: no such recipe; give a YAML file or one of {', '.join(known)}")
