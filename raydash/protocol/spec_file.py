"""Spec files: TOML to `RunSpec` and back."""

import tomllib
from pathlib import Path

import tomli_w

from raydash.core.spec import RunSpec, SpecError, Violation, spec_from_table, table_from_spec


def spec_from_toml(text: str) -> RunSpec:
    """Read a spec.

    Raises:
        SpecError: on malformed TOML, and with every bad key and value.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError((Violation("the file", f"is not TOML: {error}", "TOML 1.0"),)) from error
    return spec_from_table(table)


def toml_from_spec(spec: RunSpec) -> str:
    """Write a spec; keys that hold their default are left out."""
    return tomli_w.dumps(table_from_spec(spec))


def read_spec(path: Path) -> RunSpec:
    """Read a spec file.

    Raises:
        SpecError: as `spec_from_toml`, and if the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            (Violation(str(path), f"cannot be read: {error}", "a TOML file"),)
        ) from error
    return spec_from_toml(text)
