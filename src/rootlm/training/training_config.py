"""The settings of training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rootlm.core.config import Config
from rootlm.core.workers import Parallel
from rootlm.training.optimizers import AdamWConfig, OptimizerConfig
from rootlm.training.schedules import CosineConfig, ScheduleConfig


class TrainingConfig(Config):
    """How a model is trained."""

    max_steps: int | None = Field(None, ge=1)
    """Optimizer steps; none takes them from minutes or epochs."""
    minutes: float | None = Field(None, gt=0)
    """How long to train; turned into steps once, from a few measured ones."""
    epochs: float | None = Field(None, gt=0)
    """How often to see the corpus."""
    batch_size: int = Field(16, ge=1)
    """Windows in one optimizer step, all workers together."""
    batch_tokens: int = Field(4096, ge=1)
    """Most places in one step of an objective that reads pairs, sources, targets and padding together."""
    window: int | None = Field(None, ge=1)
    """Tokens in a window; none takes the model's context, or 256 where it has no limit."""
    carry: bool = False
    """Every row reads on where it stopped in the step before, with what the model then remembered; gradients do not
    reach back (truncated back-propagation). For models without a limit, such as recurrent ones."""
    gradient_accumulation_steps: int = Field(1, ge=1)
    """Pieces in which a worker reads its windows of a step: less memory, the same gradient."""
    optimizer: OptimizerConfig = AdamWConfig()
    """What turns gradients into steps."""
    schedule: ScheduleConfig = CosineConfig(warmup_steps=50)
    """How the learning rate moves."""
    max_grad_norm: float | None = Field(1.0, gt=0)
    """A longer gradient is shortened to this Euclidean norm; none leaves it."""
    l1: float = Field(0.0, ge=0)
    """Weight of Σ|θ| of all matrices."""
    l2: float = Field(0.0, ge=0)
    """Weight of ½ Σθ² of all matrices."""
    logging_steps: int = Field(10, ge=1)
    """Steps between two training records."""
    eval_steps: int = Field(100, ge=1)
    """Steps between two looks at the validation split."""
    save_steps: int = Field(100, ge=1)
    """Steps between two checkpoints."""
    keep: int = Field(2, ge=1)
    """Checkpoints kept besides the best."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many validations without a better one; none never stops early."""
    seed: int = 0
    """What all randomness follows from."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """The type products are computed in; the weights stay float32."""
    compile: Literal["auto"] | bool = "auto"
    """Compile the blocks; auto does when the run is long enough to earn it back."""
    threads: int | None = Field(None, ge=1)
    """CPU threads, kept for all resumes of a run; none takes what the machine has free at the start."""
    parallel: Parallel = "data"
    """With several workers: data copies the model to each, sharded spreads it over them (FSDP2)."""
    deterministic: bool = True
    """Only algorithms that give the same bits each time."""
