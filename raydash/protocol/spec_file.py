"""Spec files: from TOML to `RunSpec` and back."""

import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from raydash.core.spec import RunSpec, table_from_spec
from raydash.core.spec_rules import SpecError, Violation, spec_from_table


def table_from_toml(text: str) -> dict[str, Any]:
    """Parse the tables of a spec file without checking them: options may still override them.

    Raises:
        SpecError: on malformed TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also too many digits, or too deep a nesting
        raise SpecError((Violation("the file", f"is not TOML: {error}", "TOML 1.0"),)) from error


def spec_from_toml(text: str) -> RunSpec:
    """Read a spec from TOML.

    Raises:
        SpecError: on malformed TOML, or with every bad key and value.
    """
    return spec_from_table(table_from_toml(text))


def toml_from_spec(spec: RunSpec) -> str:
    """Write a spec as TOML, without the keys that hold their default.

    Raises:
        SpecError: if the environment's arguments hold a null, which TOML does not know.
    """
    try:
        return tomli_w.dumps(table_from_spec(spec))
    except TypeError as error:
        problem = "holds a null, which a TOML file cannot"
        raise SpecError((Violation("env.kwargs", problem, "TOML's values"),)) from error


def read_table(path: Path) -> dict[str, Any]:
    """Read the tables of a spec file without checking them.

    Raises:
        SpecError: on malformed TOML, or if the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            (Violation(str(path), f"cannot be read: {error}", "a TOML file"),)
        ) from error
    table = table_from_toml(text)
    policy = table.get("policy")
    if isinstance(policy, dict) and isinstance(policy.get("path"), str):
        # Relative to the spec file, as in other tools: a worker has another working directory.
        policy["path"] = str((path.absolute().parent / policy["path"]).resolve())
    return table


def read_spec(path: Path) -> RunSpec:
    """Read a spec file.

    Raises:
        SpecError: as `read_table`, or with every bad key and value.
    """
    return spec_from_table(read_table(path))
