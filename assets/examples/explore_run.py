"""Look at a recording with NumPy and DuckDB, cell by cell (`# %%`) or as a script.

    python assets/examples/explore_run.py [RUN]

RUN is a run's id, a unique beginning of one, or a recording's file (`raydash runs` lists them).
"""

# %% Open it. Read-only: nothing here can change the recording.
import sys

import numpy as np

import raydash

run = raydash.open_run(sys.argv[1] if len(sys.argv) > 1 else input("run: "))
print(f"{run.run_id}: {run.spec.env.id}, {len(run.workers)} workers, {run.figures.state}")

# %% The whole run in figures; the names are RLlib's.
figures = run.figures
print(f"{figures.num_env_steps_sampled_lifetime:,} env steps in {figures.elapsed_s:.1f} s")
print(f"{figures.num_episodes_lifetime:,} episodes, mean return {figures.episode_return_mean:.3f}")

# %% All returns as one array: quantiles, and whether the run got better.
returns = run.returns()
if len(returns):
    low, median, high = np.quantile(returns, [0.1, 0.5, 0.9])
    print(f"returns: 10 % {low:.2f}, median {median:.2f}, 90 % {high:.2f}")
    tenth = max(1, len(returns) // 10)
    print(f"first tenth {returns[:tenth].mean():.2f}, last tenth {returns[-tenth:].mean():.2f}")

# %% Workers side by side. Arrays have one element per worker.
workers = run.workers
for index, steps, busy_s in zip(
    workers.worker_index, workers.num_env_steps, workers.busy_time_s, strict=True
):
    rate = steps / busy_s if busy_s else float("nan")
    print(f"worker {index}: {steps:,} env steps, {rate:,.0f} a second while it was busy")

# %% What the plots of the window show: time buckets.
history = run.history(num_buckets=10)
start_s = (history.first_bucket + np.arange(len(history))) * history.bucket_s
for t_s, count, mean in zip(start_s, history.return_n, history.return_mean, strict=True):
    print(f"from {t_s:6.1f} s: {count:6,} episodes, mean return {mean:.2f}")

# %% Any question in SQL. A relation is lazy; `.df()`, `.pl()` and `.fetchnumpy()` read it.
longest = run.sql(
    "SELECT worker_index, episode_len, episode_return FROM episodes"
    " ORDER BY episode_len DESC LIMIT 3"
)
for worker_index, episode_len, episode_return in longest.fetchall():
    print(f"worker {worker_index}: {episode_len} steps, return {episode_return}")

# %% What went wrong, if anything did.
for event in run.events:
    if event.kind.is_bad:
        print(f"{event.t_s:.1f} s: {event.text} ({event.count} times)")

run.close()
