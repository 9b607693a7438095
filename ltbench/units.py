"""Quantities as text, with their units."""


def duration(seconds: float) -> str:
    """A time span: ``1.4 s``, ``2 min 05 s``, ``3 h 20 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def mebibytes(size_bytes: float) -> str:
    """A size of memory: ``123 MiB``."""
    return f"{size_bytes / 2**20:.0f} MiB"
