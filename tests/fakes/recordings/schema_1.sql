-- The tables of a recording as schema version 1 had them: how old files look.

CREATE TABLE run (
    run_id VARCHAR NOT NULL,
    schema_version INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    env_id VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    spec_json VARCHAR NOT NULL,
    owner VARCHAR NOT NULL,
    cluster VARCHAR NOT NULL,
    started_utc VARCHAR NOT NULL,
    versions_json VARCHAR NOT NULL,
    machine_json VARCHAR NOT NULL,
    state VARCHAR,
    ended_by VARCHAR,
    cause VARCHAR,
    ended_utc VARCHAR,
    ended_s DOUBLE,
    elapsed_s DOUBLE
);

CREATE TABLE incarnations (
    incarnation INTEGER NOT NULL,
    started_s DOUBLE NOT NULL,
    started_utc VARCHAR NOT NULL,
    node VARCHAR NOT NULL,
    pid INTEGER NOT NULL
);

CREATE TABLE episodes (
    end_s DOUBLE NOT NULL,
    worker_index INTEGER NOT NULL,
    env_index INTEGER NOT NULL,
    agent VARCHAR,
    incarnation INTEGER NOT NULL,
    episode_return DOUBLE NOT NULL,
    episode_len INTEGER NOT NULL,
    ending UTINYINT NOT NULL,
    duration_s FLOAT NOT NULL,
    weights_seq_no INTEGER,
    evaluation BOOLEAN NOT NULL
);

CREATE TABLE worker_totals (
    t_s DOUBLE NOT NULL,
    worker_index INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    num_env_steps BIGINT NOT NULL,
    num_episodes BIGINT NOT NULL,
    num_terminated BIGINT NOT NULL,
    num_truncated BIGINT NOT NULL,
    num_error BIGINT NOT NULL,
    step_time_s DOUBLE NOT NULL,
    reset_time_s DOUBLE NOT NULL,
    policy_time_s DOUBLE NOT NULL,
    idle_time_s DOUBLE NOT NULL,
    busy_time_s DOUBLE NOT NULL
);

CREATE TABLE events (
    number BIGINT NOT NULL,
    t_s DOUBLE NOT NULL,
    kind VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    worker_index INTEGER,
    detail VARCHAR NOT NULL,
    "count" INTEGER NOT NULL
);

CREATE TABLE commits (
    number BIGINT NOT NULL,
    t_s DOUBLE NOT NULL,
    elapsed_s DOUBLE NOT NULL,
    num_workers INTEGER NOT NULL,
    paused BOOLEAN NOT NULL,
    keep BOOLEAN NOT NULL
);
