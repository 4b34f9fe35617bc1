"""A model as users give it: its text, or a file that holds it."""

from __future__ import annotations

from pathlib import Path

from gsem_spark.errors import DataError


def is_model_text(given: str) -> bool:
    """Whether a string is lavaan syntax itself rather than the path of a file: several lines, or an operator.

    A path may begin with ``~`` (the home folder) but has no operator inside, and a file that is there wins.
    """
    if "\n" in given.strip():
        return True
    return "~" in given.strip()[1:] and not Path(given).expanduser().is_file()


def read_model_file(path: Path) -> str:
    """Read a model's file.

    Raises
    ------
    DataError
        The file is not there, is empty, or is no UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"there is no such file: {path}", where="the model",
            remedy='give a text file in lavaan syntax, or the model itself, e.g. "F1 =~ A + B + C"',
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the model file cannot be read as text: {error}", where=str(path)) from error
    if not text.strip():
        raise DataError("the model file is empty", where=str(path), remedy="write a line such as F1 =~ A + B + C")
    return text
