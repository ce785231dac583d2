"""Seconds to load each benchmark table, first from its source and then from the cache.

Run: ``OPTNAS_DATA=FOLDER python benchmarks/table_load.py``. Interpreter start and imports are not
counted; the cache is a temporary folder. ``from_cache`` is the median of ten loads in this process,
``first_from_cache`` the first load of a fresh process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from optnas.search.settings.layers import default_space
from optnas.spaces.tables import data_folder, default_table, load_table

ONE_LOAD = "--one-load"


def seconds_to_load(name: str) -> float:
    start = time.perf_counter()
    load_table(name, folder=data_folder(None))
    return time.perf_counter() - start


def measure(name: str) -> dict[str, float]:
    converted = seconds_to_load(name)
    again = [seconds_to_load(name) for _ in range(10)]
    fresh = subprocess.run(
        [sys.executable, __file__, ONE_LOAD, name], capture_output=True, text=True, check=True
    )
    return {
        "from_source": round(converted, 4),
        "from_cache": round(statistics.median(again), 4),
        "first_from_cache": round(float(fresh.stdout), 4),
    }


def main() -> None:
    if sys.argv[1:2] == [ONE_LOAD]:
        print(seconds_to_load(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OPTNAS_HOME"] = folder
        names = sorted({"analog-nasbench", default_table(data_folder(None), default_space().name)})
        print(json.dumps({"unit": "s", "tables": {name: measure(name) for name in names}}))


if __name__ == "__main__":
    main()
