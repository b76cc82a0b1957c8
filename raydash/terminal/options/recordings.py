"""Commands about recordings. They need no cluster."""

from pathlib import Path
from typing import Annotated

import typer

from raydash.terminal.options.shared import (
    DataDir,
    Force,
    Json,
    Recording,
    Recordings,
    Yes,
    examples,
    exit_with,
)

commands = typer.Typer()


@commands.command("runs", epilog=examples("raydash runs --tag paper --search lunar --limit 20"))
def list_library(
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="Only runs with this tag; may be given again."),
    ] = None,
    search: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Only runs with this in id, title, env, owner, tags or notes.",
            show_default=False,
        ),
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Only the newest N.", show_default=False),
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List the recordings, newest first."""
    from raydash.terminal.commands.recordings.listing import list_recordings

    exit_with(lambda: list_recordings(tags=tag or (), search=search, limit=limit, as_json=as_json))


@commands.command()
def show(run: Recording, as_json: Json = False, data_dir: DataDir = None) -> None:
    """Show everything about a recording but its episodes."""
    from raydash.terminal.commands.recordings.showing import show_recording

    exit_with(lambda: show_recording(run, as_json=as_json))


@commands.command(epilog=examples('raydash note 20261125 --title "no wind" --tag paper --pin'))
def note(
    run: Recording,
    title: Annotated[
        str | None, typer.Option(metavar="TITLE", help="What to call it.", show_default=False)
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Add a tag; may be given again.")
    ] = None,
    untag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Remove a tag; may be given again.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Free words.", show_default=False)
    ] = None,
    pin: Annotated[
        bool | None,
        typer.Option("--pin/--unpin", help="No rule deletes what is pinned.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Write a title, tags or words to a recording, or pin it. Without options: print them."""
    from raydash.terminal.commands.recordings.showing import edit_notes

    exit_with(
        lambda: edit_notes(
            run, title=title, tags=tag or (), untags=untag or (), text=text, pinned=pin
        )
    )


@commands.command()
def delete(
    runs: Recordings,
    yes: Yes = False,
    even_pinned: Annotated[bool, typer.Option("--even-pinned", help="Pinned ones too.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete recordings with their notes and logs. A live run is refused."""
    from raydash.terminal.commands.recordings.deleting import delete_recordings

    exit_with(lambda: delete_recordings(runs, yes=yes, even_pinned=even_pinned))


@commands.command(
    "prune",
    epilog=examples(
        "raydash prune --older-than 90 --dry-run", "raydash prune --max-size 10GB --yes"
    ),
)
def prune_library(
    older_than: Annotated[
        float | None,
        typer.Option(metavar="DAYS", help="Runs that ended before that.", show_default=False),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="The oldest, until no more is left: 10GB.", show_default=False
        ),
    ] = None,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete recordings by age or size; without options by the library's own rules.

    Never a live or pinned run, the newest one, or what can't be read.
    """
    from raydash.terminal.commands.recordings.deleting import prune

    exit_with(lambda: prune(older_than=older_than, max_size=max_size, yes=yes, dry_run=dry_run))


@commands.command(
    "export",
    epilog=examples(
        "raydash export 20261125 --to csv --out episodes.csv",
        "raydash export 20261125 --to tensorboard --out logs/",
    ),
)
def export_run(
    run: Recording,
    to: Annotated[
        str,
        typer.Option("--to", metavar="FORMAT", help="csv, parquet, monitor, tensorboard, or json."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="The file or folder to write.")
    ],
    all_tables: Annotated[
        bool, typer.Option("--all-tables", help="csv, parquet: also all but the episodes.")
    ] = False,
    force: Force = False,
    data_dir: DataDir = None,
) -> None:
    """Write a recording in a format that other tools read.

    csv, parquet: a file of all episodes. monitor: a folder with one SB3 N.monitor.csv per worker.
    tensorboard: a folder with an event file. json: everything as one document.
    """
    from raydash.terminal.commands.recordings.exporting import export_recording

    exit_with(lambda: export_recording(run, to, out, force=force, all_tables=all_tables))


@commands.command(epilog=examples("raydash report 20261125 --out run.html"))
def report(
    runs: Recordings,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The file to write.")],
    force: Force = False,
    data_dir: DataDir = None,
) -> None:
    """Write one HTML file with pictures about recordings; it opens offline.

    Of several runs it shows them over one another first, then their figures side by side.
    """
    from raydash.terminal.commands.recordings.reporting import report_recordings

    exit_with(lambda: report_recordings(runs, out, force=force))


@commands.command("import", epilog=examples("raydash import logs/ ~/ray_results/PPO_CartPole"))
def import_runs(
    sources: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Files, or folders that hold them.")
    ],
    data_dir: DataDir = None,
) -> None:
    """Make recordings of other tools' files, so that past runs stand beside new ones.

    SB3's monitor.csv (a folder of them is one run), RLlib's result.json and progress.csv,
    TensorBoard's event files. Prints the new runs' ids.
    """
    from raydash.terminal.commands.recordings.importing import import_files

    exit_with(lambda: import_files(sources))
