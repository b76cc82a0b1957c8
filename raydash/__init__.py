"""raydash: a window that launches, controls and live-plots rollouts on Ray."""

__version__ = "0.1.0"
