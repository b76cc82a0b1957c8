"""The tables of a recording, and how an older file is migrated.

Seconds are on the run's clock (since its start) unless a name ends in `_utc` (ISO 8601).
"""

from collections.abc import Callable, Mapping
from typing import Any

Connection = Any
"""A DuckDB connection; DuckDB ships no types."""

SCHEMA_VERSION = 4

DDL = """
-- One row: what was asked for, by whom, with what, and how it ended.
CREATE TABLE IF NOT EXISTS run (
    run_id VARCHAR NOT NULL,
    schema_version INTEGER NOT NULL,
    name VARCHAR NOT NULL,           -- for people
    env_id VARCHAR NOT NULL,
    seed BIGINT NOT NULL,            -- every worker derives its own: raydash.worker.envs.seeds
    spec_json VARCHAR NOT NULL,      -- the whole spec
    owner VARCHAR NOT NULL,          -- user@host
    cluster VARCHAR NOT NULL,        -- address; empty: launched by raydash
    started_utc VARCHAR NOT NULL,
    versions_json VARCHAR NOT NULL,  -- package name to version
    machine_json VARCHAR NOT NULL,   -- host, cores, memory, system
    state VARCHAR,                   -- of RunState; NULL: was not closed (interrupted, or live)
    ended_by VARCHAR,                -- of EndedBy
    cause VARCHAR,                   -- of a failure, in words
    ended_utc VARCHAR,
    ended_s DOUBLE,                  -- run's clock
    elapsed_s DOUBLE,                -- without the time paused or without a worker
    source VARCHAR                   -- of RunSource; NULL: recorded by raydash
);

-- One row per incarnation of the supervisor, with the UTC anchor of its clock.
CREATE TABLE IF NOT EXISTS incarnations (
    incarnation INTEGER NOT NULL,    -- 0, 1, 2, ...
    started_s DOUBLE NOT NULL,       -- run's clock
    started_utc VARCHAR NOT NULL,
    node VARCHAR NOT NULL,           -- address
    pid INTEGER NOT NULL
);

-- Every finished episode, in the order in which the supervisor heard of them.
CREATE TABLE IF NOT EXISTS episodes (
    end_s DOUBLE NOT NULL,           -- when it ended, to 10 microseconds
    worker_index INTEGER NOT NULL,   -- 1..N
    env_index INTEGER NOT NULL,      -- which of the worker's environments
    incarnation INTEGER NOT NULL,    -- of the worker, 0 the first
    episode_return DOUBLE NOT NULL,  -- undiscounted sum of rewards, exact; NaN: error
    episode_len INTEGER NOT NULL,    -- steps
    ending UTINYINT,                 -- 0 terminated, 1 truncated, 2 both flags, 3 error; NULL:
                                     -- not known (imported)
    duration_s FLOAT NOT NULL,       -- reset to end, wall time, to 10 microseconds
    weights_seq_no INTEGER,          -- how often parameters or policy had been changed before; of a
                                     -- learner's candidates the generation; NULL: not known
    info MAP(VARCHAR, DOUBLE),       -- chosen scalars of the last step's info; NULL: it had none
    candidate INTEGER                -- of a learner's generation; NULL: nothing learnt
);

-- Episodes that were played to evaluate: in no figure of the rollouts, so in a table of their own.
CREATE TABLE IF NOT EXISTS evaluation_episodes (
    end_s DOUBLE NOT NULL,
    worker_index INTEGER NOT NULL,
    env_index INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    episode_return DOUBLE NOT NULL,
    episode_len INTEGER NOT NULL,
    ending UTINYINT NOT NULL,
    duration_s FLOAT NOT NULL,
    weights_seq_no INTEGER NOT NULL, -- with which parameters: the best guess came with them
    evaluation INTEGER NOT NULL      -- of which evaluation it is one: 1, 2, 3, ...
);

-- Multi-agent environments: what each agent did in an episode of `episodes`.
CREATE TABLE IF NOT EXISTS agent_episodes (
    end_s DOUBLE NOT NULL,           -- with the next two: which episode
    worker_index INTEGER NOT NULL,
    env_index INTEGER NOT NULL,
    agent VARCHAR NOT NULL,
    agent_return DOUBLE NOT NULL,    -- undiscounted; NaN: the episode ended in an error
    num_steps INTEGER NOT NULL       -- actions of this agent
);

-- Multi-agent environments: cumulative actions of each agent in a worker's incarnation.
CREATE TABLE IF NOT EXISTS agent_totals (
    t_s DOUBLE NOT NULL,
    worker_index INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    agent VARCHAR NOT NULL,
    num_steps BIGINT NOT NULL
);

-- Finished generations of a learner.
CREATE TABLE IF NOT EXISTS generations (
    number INTEGER NOT NULL,         -- 1, 2, 3, ...: the weights_seq_no of its candidates
    end_s DOUBLE NOT NULL,           -- when its last result came in
    num_env_steps BIGINT NOT NULL,   -- of the whole run by then
    return_mean DOUBLE NOT NULL,     -- over its candidates; NaN: all episodes ended in an error
    return_best DOUBLE NOT NULL,
    return_worst DOUBLE NOT NULL,
    evaluation_mean DOUBLE,          -- of the best guess that it led to; NULL: not evaluated
    evaluation_n INTEGER NOT NULL,   -- episodes of that evaluation
    sigma DOUBLE                     -- step size of the search; NULL: the learner has none
);

-- How the learning stood, with each commit; the newest row counts.
CREATE TABLE IF NOT EXISTS learner_totals (
    t_s DOUBLE NOT NULL,
    arrived_s DOUBLE,                -- when its newest parameters came; NULL: none yet
    weights_seq_no INTEGER NOT NULL, -- of them: the generation that was being played
    population INTEGER NOT NULL,     -- its candidates
    num_played INTEGER NOT NULL,     -- of them, to the end
    num_generations INTEGER NOT NULL,
    num_parameters INTEGER NOT NULL,
    best_episode_return_mean DOUBLE, -- of the best candidate so far; NULL: none yet
    evaluation_episode_return_mean DOUBLE, -- of the newest evaluation; NULL: none yet
    evaluation_n INTEGER NOT NULL,   -- its episodes
    num_evaluation_episodes_lifetime BIGINT NOT NULL,
    best_policy VARCHAR NOT NULL,    -- path; empty: none was saved yet
    num_stale BIGINT NOT NULL,       -- results that came too late
    num_restarts INTEGER NOT NULL    -- times that the search was restarted
);

-- Cumulative counters of a worker's incarnation; the last row of each incarnation is its total.
CREATE TABLE IF NOT EXISTS worker_totals (
    t_s DOUBLE NOT NULL,
    worker_index INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    num_env_steps BIGINT NOT NULL,   -- env.step calls that returned
    num_episodes BIGINT NOT NULL,    -- ended, errors included
    num_terminated BIGINT NOT NULL,  -- with that flag, alone or not
    num_truncated BIGINT NOT NULL,   -- with that flag, alone or not
    num_error BIGINT NOT NULL,
    step_time_s DOUBLE NOT NULL,     -- inside env.step
    reset_time_s DOUBLE NOT NULL,    -- inside env.reset
    policy_time_s DOUBLE NOT NULL,   -- inside the policy
    idle_time_s DOUBLE NOT NULL,     -- between requests
    busy_time_s DOUBLE NOT NULL      -- inside requests
);

-- Starts, pauses, restarts, errors with traceback.
CREATE TABLE IF NOT EXISTS events (
    number BIGINT NOT NULL,          -- 1, 2, 3, ...
    t_s DOUBLE NOT NULL,
    kind VARCHAR NOT NULL,           -- of EventKind
    text VARCHAR NOT NULL,           -- one line
    worker_index INTEGER,            -- NULL: the whole run
    detail VARCHAR NOT NULL,         -- traceback or cause
    "count" INTEGER NOT NULL         -- like things that this row stands for
);

-- One row per transaction: the run's clocks, and what a restarted supervisor needs besides.
CREATE TABLE IF NOT EXISTS commits (
    number BIGINT NOT NULL,          -- 1, 2, 3, ...
    t_s DOUBLE NOT NULL,
    elapsed_s DOUBLE NOT NULL,       -- without the time paused or without a worker
    num_workers INTEGER NOT NULL,    -- that the run is meant to have
    paused BOOLEAN NOT NULL,         -- the whole run
    keep BOOLEAN NOT NULL,           -- somebody chose to keep the run
    ended_by VARCHAR,                -- of EndedBy, while the run is stopping; NULL: it goes on
    draining BOOLEAN,                -- it is stopping after the episodes that are under way
    paused_workers INTEGER[],        -- workers that are paused on their own; NULL: none
    stopped_workers INTEGER[],       -- workers that are to be gone: stopped, drained or killed on
                                     -- their own, or too many since a change of scale; NULL: none
    failed_workers INTEGER[],        -- workers that were given up; NULL: none
    last_worker INTEGER,             -- greatest index so far; NULL: num_workers (schema 3)
    num_restarts BIGINT,             -- restarts of workers after a death or on demand, lifetime;
                                     -- NULL: not known (schema 1)
    policy_json VARCHAR,             -- what chooses the actions since a swap; NULL: none
    weights_seq_no INTEGER           -- how often parameters or policy were changed; NULL: never
);

-- The whole run in at most 1200 time buckets of one width, which doubles as the run grows (then all
-- rows are rewritten): what updates call `whole`. Only buckets that are closed.
CREATE TABLE IF NOT EXISTS history (
    bucket_s DOUBLE NOT NULL,        -- width; the same in all rows
    bucket BIGINT NOT NULL,          -- covers [bucket * bucket_s, (bucket + 1) * bucket_s)
    num_env_steps DOUBLE NOT NULL,   -- chunks are spread over the time they took
    num_terminated BIGINT NOT NULL,  -- of the four exclusive kinds of endings
    num_truncated BIGINT NOT NULL,
    num_both BIGINT NOT NULL,
    num_error BIGINT NOT NULL,
    return_n BIGINT NOT NULL,        -- episodes behind the next five
    return_sum DOUBLE NOT NULL,
    return_min DOUBLE,               -- NULL, like the next two, where there is no episode
    return_max DOUBLE,
    return_p10 DOUBLE,               -- approximate: raydash.core.history.histogram
    return_p90 DOUBLE,
    worker_steps FLOAT[] NOT NULL,   -- element j: worker j + 1
    worker_return_sum DOUBLE[] NOT NULL,
    worker_return_n INTEGER[] NOT NULL,
    returns BLOB                     -- the mergeable histogram behind the quantiles
);

-- Named scalars of the episodes in a bucket of `history`.
CREATE TABLE IF NOT EXISTS history_scalars (
    bucket BIGINT NOT NULL,
    name VARCHAR NOT NULL,           -- key of info, or agent_episode_return_mean/<agent>
    n BIGINT NOT NULL,               -- episodes that had it
    total DOUBLE NOT NULL            -- their sum
);

-- Metrics over time that came ready-made, of imported runs.
CREATE TABLE IF NOT EXISTS scalars (
    tag VARCHAR NOT NULL,            -- in RLlib's words where there is one
    t_s DOUBLE,                      -- NULL: not known
    num_env_steps BIGINT,            -- sampled so far, lifetime; NULL: not known
    value DOUBLE NOT NULL
);
"""


def _from_1(connection: Connection) -> None:
    connection.execute("ALTER TABLE run ADD COLUMN source VARCHAR")
    connection.execute("ALTER TABLE episodes ALTER COLUMN ending DROP NOT NULL")
    connection.execute("ALTER TABLE episodes ADD COLUMN info MAP(VARCHAR, DOUBLE)")
    connection.execute("ALTER TABLE commits ADD COLUMN ended_by VARCHAR")
    connection.execute("ALTER TABLE commits ADD COLUMN draining BOOLEAN")
    connection.execute("ALTER TABLE commits ADD COLUMN paused_workers INTEGER[]")
    connection.execute("ALTER TABLE commits ADD COLUMN num_restarts BIGINT")


def _from_2(connection: Connection) -> None:
    # No raydash ever wrote to these two: agents and evaluations have tables of their own.
    connection.execute("ALTER TABLE episodes DROP COLUMN agent")
    connection.execute("ALTER TABLE episodes DROP COLUMN evaluation")
    connection.execute("ALTER TABLE episodes ADD COLUMN candidate INTEGER")
    connection.execute("ALTER TABLE commits ADD COLUMN policy_json VARCHAR")
    connection.execute("ALTER TABLE commits ADD COLUMN weights_seq_no INTEGER")


def _from_3(connection: Connection) -> None:
    connection.execute("ALTER TABLE commits ADD COLUMN stopped_workers INTEGER[]")
    connection.execute("ALTER TABLE commits ADD COLUMN failed_workers INTEGER[]")
    connection.execute("ALTER TABLE commits ADD COLUMN last_worker INTEGER")


MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {1: _from_1, 2: _from_2, 3: _from_3}
"""From version n to n + 1; each runs inside the transaction of `bring_up_to_date`."""


class SchemaError(Exception):
    """The file is a database, but not one that this raydash reads."""


class NewerSchemaError(SchemaError):
    """The file was written by a newer raydash."""


class ForeignSchemaError(SchemaError):
    """The file holds what raydash never puts into one."""


def version_of(connection: Connection) -> int | None:
    """Read the schema version of a file; None if it holds no run yet.

    Raises:
        duckdb.Error: if the file can't be read.
    """
    found = connection.execute(
        "SELECT count(*) FROM information_schema.tables WHERE table_name = 'run'"
    ).fetchone()
    if not found[0]:
        return None
    row = connection.execute("SELECT schema_version FROM run").fetchone()
    return int(row[0]) if row else None


def check_readable(connection: Connection) -> None:
    """Make sure that this raydash understands the file.

    Raises:
        NewerSchemaError: if it does not.
        ForeignSchemaError: if raydash did not make it.
    """
    (views,) = connection.execute(
        "SELECT count(*) FROM duckdb_views() WHERE NOT internal"
    ).fetchone()
    if views:
        raise ForeignSchemaError("it has views, which could read other files")
    version = version_of(connection)
    if version is not None and version > SCHEMA_VERSION:
        raise NewerSchemaError(f"schema {version} is newer than {SCHEMA_VERSION}")


def bring_up_to_date(connection: Connection) -> None:
    """Create missing tables and migrate an older file, as one transaction.

    Raises:
        NewerSchemaError: if the file was written by a newer raydash; nothing is changed.
        duckdb.Error: if the file can't be read or written; nothing is changed.
    """
    check_readable(connection)
    version = version_of(connection)
    connection.execute("BEGIN")
    try:
        connection.execute(DDL)
        for old in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
            MIGRATIONS[old](connection)
        connection.execute("UPDATE run SET schema_version = ?", [SCHEMA_VERSION])
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
