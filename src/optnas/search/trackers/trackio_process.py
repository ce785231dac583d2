"""Trackio in a process of its own: it writes to one folder for as long as a process lives.

Run as a script. Each line of the standard input is a JSON object of arguments for the method
``call`` of trackio's storage, each line of the answer a JSON string: empty, or what went wrong.
"""

import json
import sys


def main() -> None:
    """Answer until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # trackio prints
    for line in sys.stdin:
        answer, arguments = "", json.loads(line)
        try:
            from trackio.sqlite_storage import SQLiteStorage

            getattr(SQLiteStorage, arguments.pop("call"))(**arguments)
        except BaseException as error:  # another's code; whoever asked passes it on
            answer = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
