"""Elman: recurrent networks for language, each cell written once as equations."""

from typing import TYPE_CHECKING, Any

from elman.version import VERSION as __version__

if TYPE_CHECKING:
    from elman.run import Run, load

__all__ = ["Run", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that ``import elman`` costs nothing."""
    if name in ("Run", "load"):
        from elman import run

        return getattr(run, name)
    raise AttributeError(f"module 'elman' has no attribute {name!r}")
