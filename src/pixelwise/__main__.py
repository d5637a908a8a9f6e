"""`pixelwise …` and `python -m pixelwise …`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Exit code 0, 1 (the work failed), 2 (wrong call), 130 (Ctrl-C) or 143 (SIGTERM)."""
    try:
        run()
    except (KeyboardInterrupt, ImportError) as error:
        from pixelwise.errors import of_ctrl_c

        if not of_ctrl_c(error):
            raise
        print("pixelwise: stopped.", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except BrokenPipeError:  # `pixelwise … | head`: nobody reads on, which is no failure of ours
        sys.stderr.close()
        sys.exit(0)


def run() -> None:
    from pixelwise.cli import app
    from pixelwise.errors import PixelwiseError, as_missing_extra
    from pixelwise.images.files import printable

    try:
        app()
    except PixelwiseError as error:
        print(f"pixelwise: {printable(str(error), keep=chr(10))}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        missing = as_missing_extra(error)
        if missing is None:
            raise
        print(f"pixelwise: {missing}", file=sys.stderr)  # noqa: T201
        sys.exit(missing.exit_code)


if __name__ == "__main__":
    main()
