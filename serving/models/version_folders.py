"""The versions of a model on disk: the folders of a base path whose names are numbers.

As in TF Serving, `0007` is version 7. Where two folders have one number, that of the
later name counts, so `7` before `0007`.
"""

from pathlib import Path


def all_folders(base_path: Path) -> list[tuple[int, Path]]:
    """Lists number and folder by number and name; other names are ignored.

    Raises:
        OSError: the base path cannot be listed.
    """
    return sorted(
        (int(path.name), path)
        for path in base_path.iterdir()
        if path.name.isascii() and path.name.isdigit() and path.is_dir()
    )


def versions(base_path: str | Path) -> dict[int, Path]:
    """The folder of each version, the lowest first; none where the base is missing."""
    base = Path(base_path)
    return dict(all_folders(base)) if base.is_dir() else {}
