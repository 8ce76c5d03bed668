"""rootlm grows language models from the roots: raw text to a trained, measured, speaking model."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rootlm.runs.opened import Run, load

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name in ("Run", "load"):
        from rootlm.core import threads

        threads.settle("load")
        from rootlm.runs import opened

        return getattr(opened, name)
    raise AttributeError(f"module 'rootlm' has no attribute {name!r}")
