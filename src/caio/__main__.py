"""``python -m caio``: the command line, for where the script ``caio`` is not on the path."""

from caio.cli.main import main

if __name__ == "__main__":
    main()
