"""A split that waits in a file until it is needed."""

import tempfile
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltbench.data.images import Split


class WaitingSplit:
    """A split whose images and labels are in no variable of the process, such as the test split during training.

    They are in a file without a name, which the operating system removes however the process ends.

    Args:
        split: of which this object keeps nothing.
    """

    def __init__(self, split: Split) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as this object
        self._guard = threading.Lock()
        self._map: dict[str, Any] | None = None
        parts: dict[str, NDArray[Any]] = {"labels": split.labels}
        if isinstance(split.images, np.memmap):
            self._map = {name: getattr(split.images, name) for name in ("filename", "offset", "shape")}
            parts |= {} if split.rows is None else {"rows": split.rows}
        else:
            parts |= {"images": split.images}
        np.savez(self._file, **parts)  # type: ignore[arg-type]

    def __reduce__(self) -> tuple[Any, ...]:
        return WaitingSplit, (self.read(),)  # another process has it in a file of its own

    def read(self) -> Split:
        """Return the split."""
        with self._guard:
            self._file.seek(0)
            with np.load(self._file) as file:
                parts = dict(file)
        images = parts["images"] if self._map is None else np.memmap(dtype=np.uint8, mode="r", **self._map)
        return Split(images, parts["labels"], parts.get("rows"))
