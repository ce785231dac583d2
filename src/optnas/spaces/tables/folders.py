"""Where the user's data lie."""

from __future__ import annotations

import os
from pathlib import Path

from optnas.base.folder import Place, folder_path

DATA_VARIABLE = "OPTNAS_DATA"


def data_folder(option: Place | None, key: str = "folder") -> Path | None:
    """The folder with the user's data sets and tables; the one place that reads the environment.

    Args:
        option: what the user gave explicitly, if anything.
        key: the argument that it is, for the error.

    Returns:
        The option, else the variable ``OPTNAS_DATA``, else None.

    Raises:
        UserError: the option is no path of one folder.
    """
    if option is not None:
        return folder_path(option, key)
    value = os.environ.get(DATA_VARIABLE)
    return Path(value) if value else None
