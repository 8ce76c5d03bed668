"""Networks without weights: shapes only, for who brings the weights from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWS = {
    *(nn.init.normal_, nn.init.uniform_, nn.init.trunc_normal_, nn.init.orthogonal_),
    *(nn.init.kaiming_uniform_, nn.init.kaiming_normal_, nn.init.xavier_uniform_, nn.init.xavier_normal_),
    *(Tensor.normal_, Tensor.uniform_),
}


class _Undrawn(TorchFunctionMode):
    """Leaves out what draws numbers.

    On tensors without memory that would do nothing either, but torch first imports its compiler for it, which
    takes longer and more memory than many a model.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


@contextmanager
def unfilled() -> Iterator[None]:
    """Build networks without memory for their weights, which must then be assigned."""
    with torch.device("meta"), _Undrawn():
        yield
