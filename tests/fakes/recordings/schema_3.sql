-- The tables of a recording as schema version 3 had them.

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
    elapsed_s DOUBLE,
    source VARCHAR
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
    incarnation INTEGER NOT NULL,
    episode_return DOUBLE NOT NULL,
    episode_len INTEGER NOT NULL,
    ending UTINYINT,
    duration_s FLOAT NOT NULL,
    weights_seq_no INTEGER,
    info MAP(VARCHAR, DOUBLE),
    candidate INTEGER
);

CREATE TABLE evaluation_episodes (
    end_s DOUBLE NOT NULL,
    worker_index INTEGER NOT NULL,
    env_index INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    episode_return DOUBLE NOT NULL,
    episode_len INTEGER NOT NULL,
    ending UTINYINT NOT NULL,
    duration_s FLOAT NOT NULL,
    weights_seq_no INTEGER NOT NULL,
    evaluation INTEGER NOT NULL
);

CREATE TABLE agent_episodes (
    end_s DOUBLE NOT NULL,
    worker_index INTEGER NOT NULL,
    env_index INTEGER NOT NULL,
    agent VARCHAR NOT NULL,
    agent_return DOUBLE NOT NULL,
    num_steps INTEGER NOT NULL
);

CREATE TABLE agent_totals (
    t_s DOUBLE NOT NULL,
    worker_index INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    agent VARCHAR NOT NULL,
    num_steps BIGINT NOT NULL
);

CREATE TABLE generations (
    number INTEGER NOT NULL,
    end_s DOUBLE NOT NULL,
    num_env_steps BIGINT NOT NULL,
    return_mean DOUBLE NOT NULL,
    return_best DOUBLE NOT NULL,
    return_worst DOUBLE NOT NULL,
    evaluation_mean DOUBLE,
    evaluation_n INTEGER NOT NULL,
    sigma DOUBLE
);

CREATE TABLE learner_totals (
    t_s DOUBLE NOT NULL,
    arrived_s DOUBLE,
    weights_seq_no INTEGER NOT NULL,
    population INTEGER NOT NULL,
    num_played INTEGER NOT NULL,
    num_generations INTEGER NOT NULL,
    num_parameters INTEGER NOT NULL,
    best_episode_return_mean DOUBLE,
    evaluation_episode_return_mean DOUBLE,
    evaluation_n INTEGER NOT NULL,
    num_evaluation_episodes_lifetime BIGINT NOT NULL,
    best_policy VARCHAR NOT NULL,
    num_stale BIGINT NOT NULL,
    num_restarts INTEGER NOT NULL
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
    keep BOOLEAN NOT NULL,
    ended_by VARCHAR,
    draining BOOLEAN,
    paused_workers INTEGER[],
    num_restarts BIGINT,
    policy_json VARCHAR,
    weights_seq_no INTEGER
);

CREATE TABLE history (
    bucket_s DOUBLE NOT NULL,
    bucket BIGINT NOT NULL,
    num_env_steps DOUBLE NOT NULL,
    num_terminated BIGINT NOT NULL,
    num_truncated BIGINT NOT NULL,
    num_both BIGINT NOT NULL,
    num_error BIGINT NOT NULL,
    return_n BIGINT NOT NULL,
    return_sum DOUBLE NOT NULL,
    return_min DOUBLE,
    return_max DOUBLE,
    return_p10 DOUBLE,
    return_p90 DOUBLE,
    worker_steps FLOAT[] NOT NULL,
    worker_return_sum DOUBLE[] NOT NULL,
    worker_return_n INTEGER[] NOT NULL,
    returns BLOB
);

CREATE TABLE history_scalars (
    bucket BIGINT NOT NULL,
    name VARCHAR NOT NULL,
    n BIGINT NOT NULL,
    total DOUBLE NOT NULL
);

CREATE TABLE scalars (
    tag VARCHAR NOT NULL,
    t_s DOUBLE,
    num_env_steps BIGINT,
    value DOUBLE NOT NULL
);
