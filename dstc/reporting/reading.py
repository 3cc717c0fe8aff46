"""What the other stages wrote, read for the report: a file that is missing or damaged is named, with the stage to run."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd

from dstc.core.errors import UserError
from dstc.label_maps.pictures import read_panels

NAMES_IN = ("actual", "predicted")  # columns of class names


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro evaluate` first") from None
    except UnicodeDecodeError as error:
        raise _damaged(path, error) from None


def mapping(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON file whose top level is a mapping with these keys."""
    text = _text(path)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _damaged(path, error) from None
    if not isinstance(content, dict):
        raise _damaged(path, f"it holds a {type(content).__name__}")
    missing = [key for key in keys if key not in content]
    if missing:
        raise _damaged(path, f"it has no key {missing[0]}")
    return content


def table(path: Path, *columns: str) -> pd.DataFrame:
    """A CSV file with these columns."""
    text = _text(path)
    try:
        # A class may be called "NA", or "1".
        content = pd.read_csv(
            io.StringIO(text), keep_default_na=False, na_values=[""], dtype=dict.fromkeys(NAMES_IN, str)
        )
    except ValueError as error:
        raise _damaged(path, error) from None
    missing = [column for column in columns if column not in content]
    if missing:
        raise _damaged(path, f"it has no column {missing[0]}")
    return content


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, all of which open."""
    paths = sorted(folder.glob("*.png"))
    for path in paths:
        try:
            read_panels(path)
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from None
    return paths


def _damaged(path: Path, why: object) -> UserError:
    folder = path.parent if path.suffix != ".png" else path.parent.parent
    stage = "evaluate" if folder.name == "metrics" else folder.name
    return UserError(f"{path}: cannot be shown ({why}); run `dvc repro -f {stage}`")
