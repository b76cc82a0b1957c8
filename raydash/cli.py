"""The door of the program: `raydash.cli:main` is what an installation's entry point names."""

from raydash.terminal.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
