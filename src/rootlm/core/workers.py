"""Several processes that train one model; the only file that knows of torch's distributed runtime."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import torch
from torch import Tensor, nn

Parallel = Literal["data", "sharded"]
_BUCKET_VALUES = 4_000_000
_PATIENCE = timedelta(days=2)


@dataclass(frozen=True)
class Workers:
    """This process among `count`; alone, every method does the obvious thing."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    patient: Any = field(default=None, compare=False, repr=False)
    """The group that waits while the first works alone: a large corpus takes longer to encode than a step may."""

    @property
    def is_first(self) -> bool:
        """True for the one that writes files and speaks."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all workers."""
        if self.count > 1:
            import torch.distributed as dist

            value = value.clone()
            dist.all_reduce(value)
        return value

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over all workers; sharded gradients were summed on the way."""
        if self.count == 1:
            return
        import torch.distributed as dist

        learned = (one for one in parameters if one.requires_grad and not _is_sharded(one))
        for bucket in _buckets(learned):
            gradients = [_gradient(parameter) for parameter in bucket]
            together = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(together)
            parts = torch.split(together, [gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return the Euclidean norm of gradients that are alike on all workers or sharded over them."""
        squares = [local(gradient).float().square().sum() for gradient in gradients]
        shared = [_is_sharded(gradient) for gradient in gradients]
        own = torch.stack(
            [s for s, is_shared in zip(squares, shared, strict=True) if not is_shared] or [torch.zeros(())]
        ).sum()
        if any(shared):
            spread = torch.stack([s for s, is_shared in zip(squares, shared, strict=True) if is_shared]).sum()
            own = own.to(spread.device) + self.sum(spread)
        return own.sqrt()

    def give_back(self, model: nn.Module) -> None:
        """Return to shards what a read without a backward pass has left gathered; others are as they are."""
        if self.count > 1:
            from torch.distributed.fsdp import FSDPModule

            if isinstance(model, FSDPModule):
                model.reshard()

    @contextmanager
    def held_whole(self, model: nn.Module) -> Iterator[None]:
        """Let every worker hold all of a sharded model for a while, so that each may read alone and as it likes.

        Inside, reading sends no messages; each worker needs the memory of the whole model.
        """
        from torch.distributed.fsdp import FSDPModule

        units = [unit for unit in model.modules() if isinstance(unit, FSDPModule)] if self.count > 1 else []
        for unit in units:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()
        try:
            yield
        finally:
            for unit in units:
                unit.reshard()
                unit.set_reshard_after_forward(unit is not model, recurse=False)
            # Whoever reads longest is waited for with patience, not in the next step's message.
            self._wait()

    def agree(self, value: Any) -> Any:
        """Return the first worker's value to all."""
        if self.count == 1:
            return value
        import torch.distributed as dist

        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def collect(self, value: Any) -> list[Any]:
        """Return the values of all workers, by rank, to each of them."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        held: list[Any] = [None] * self.count
        dist.all_gather_object(held, value)
        return held

    def first_does(self, work: Callable[[], object]) -> None:
        """Let the first worker do something while the others wait; an error of it is raised in all."""
        problem: Exception | None = None
        if self.is_first:
            try:
                work()
            except (ValueError, OSError) as error:
                problem = error
            except Exception as error:  # noqa: BLE001 - raised again below, in all
                problem = RuntimeError(f"{type(error).__name__}: {error}")
        self._wait()
        problem = self.agree(problem)
        if problem is not None:
            raise problem

    def _wait(self) -> None:
        """Return when every worker is here, however long it takes."""
        if self.count > 1:
            import torch.distributed as dist

            dist.barrier(self.patient)

    def close(self) -> None:
        """Leave the group."""
        if self.count > 1:
            import torch.distributed as dist

            dist.destroy_process_group()


def join(device_type: str) -> Workers:
    """Join the group that `torchrun` made, or be alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Workers()
    import torch.distributed as dist

    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if device_type == "cuda":
        torch.cuda.set_device(local_rank)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    return Workers(rank, count, local_rank, dist.new_group(backend="gloo", timeout=_PATIENCE))


def shard(
    model: nn.Module,
    parts: Iterable[nn.Module],
    workers: Workers,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Spread parameters, gradients and optimizer state over all workers (FSDP2), part by part.

    Products are computed in `dtype`; gradients are summed in float32.
    """
    if workers.count == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    # Nobody writes into what a model returns.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(device.type, (workers.count,))
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for part in [*parts, model]:
        unit = fully_shard(part, mesh=mesh, mp_policy=policy)
        # Sums, not means: the trainer has divided by the predictions of all workers. Gloo knows plain sums only.
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)


def local(tensor: Tensor) -> Tensor:
    """Return this worker's part of a sharded tensor; another one as it is."""
    if _is_sharded(tensor):
        part: Tensor = tensor.to_local()  # type: ignore[attr-defined]
        return part
    return tensor


def whole(tensor: Tensor) -> Tensor:
    """Return all of a sharded tensor; another one as it is."""
    if _is_sharded(tensor):
        full: Tensor = tensor.full_tensor()  # type: ignore[attr-defined]
        return full
    return tensor


def share_like(full: Tensor, like: Tensor) -> Tensor:
    """Return `full` spread the way `like` is; as it is when `like` is not sharded."""
    if not _is_sharded(like):
        return full
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(full, like.device_mesh, like.placements)  # type: ignore[attr-defined]


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Yield parameters in groups of some size: one message for many small gradients is much faster."""
    bucket: list[nn.Parameter] = []
    values = 0
    for parameter in parameters:
        bucket.append(parameter)
        values += parameter.numel()
        if values >= _BUCKET_VALUES:
            yield bucket
            bucket, values = [], 0
    if bucket:
        yield bucket


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")
