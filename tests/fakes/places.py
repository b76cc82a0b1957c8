"""Where this repository lies, for children that are to import it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
