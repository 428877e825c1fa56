"""One frozen `Settings`, read once from arguments and `LOOPLINE_*` variables."""

from loopline.config.settings import Settings

__all__ = ["Settings"]
