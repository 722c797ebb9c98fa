"""The same engine from a shell: python -m kd_core. Runs started here show in the browser, and the other way round.

Results go to standard output, and all else (progress, notices, errors) to standard error.
"""

import io
import os
import signal
import sys

from kd_core.cli import INTERRUPTED


def main() -> None:
    """Run the command that the shell gave."""
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))  # nothing to save during the imports
    from kd_core.cli.app import app

    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may be no text, a terminal know few characters
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        app()
    except KeyboardInterrupt:  # before the command began
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
