"""rootlm grows language models from the roots: raw text to a trained, measured, speaking model."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rootlm.runs.door import Run, VectorsRun, load

__version__ = "0.1.0"
__all__ = ["Run", "VectorsRun", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name in ("Run", "VectorsRun", "load"):
        from rootlm.core import collector, threads

        threads.settle("load")
        with collector.paused():
            from rootlm.runs import door

        return getattr(door, name)
    raise AttributeError(f"module 'rootlm' has no attribute {name!r}")
