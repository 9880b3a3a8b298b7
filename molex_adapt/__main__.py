"""`python -m molex_adapt` is the command line."""

from molex_adapt.cli.app import main

if __name__ == "__main__":
    main()
