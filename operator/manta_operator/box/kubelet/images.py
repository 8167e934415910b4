"""Which program an image name stands for in the box, where there are no images.

`manta/*` is this virtual environment. Any other image works only if its container names a command that this
machine has: then the image is just a name.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MANTA_PREFIX = "manta/"


class ImageError(Exception):
    """The image cannot be had; `reason` is the container's waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class ImageResolver:
    """`programs` is the folder with `manta-runtime` and its friends; it comes first on every container's PATH."""

    programs: Path = Path(sys.executable).parent

    def search_path(self, path: str) -> str:
        """PATH of a container, from the PATH it would otherwise have."""
        return os.pathsep.join([str(self.programs), path or os.defpath])

    def resolve(self, image: str, command: Sequence[str], path: str) -> str:
        """The executable to run, found on `path`; ImageError (ErrImagePull, CreateContainerError) if there is none."""
        ours = image.startswith(MANTA_PREFIX)
        if not command:
            if ours:
                message = f"container has no command, and image {image!r} names none in the box: set `command`"
                raise ImageError("CreateContainerError", message)
            raise ImageError("ErrImagePull", _refusal(image, "the container names no command"))
        found = shutil.which(command[0], path=path)
        if found:
            return found
        if ours:
            message = f"{command[0]!r} is not in {self.programs}: install Manta with its extras (`make install`)"
            raise ImageError("RunContainerError", message)
        raise ImageError("ErrImagePull", _refusal(image, f"{command[0]!r} is not on the PATH of this machine"))


def _refusal(image: str, why: str) -> str:
    return (
        f"the box pulls no images: it runs only Manta's own ({MANTA_PREFIX}*) and programs of this machine, "
        f"and cannot run {image!r}: {why}"
    )
