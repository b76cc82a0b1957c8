"""`python -m raydash`."""

from raydash.cli import main

if __name__ == "__main__":
    main()
