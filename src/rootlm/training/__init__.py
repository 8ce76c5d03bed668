"""The trainer, optimizers, schedules, checkpoints."""
