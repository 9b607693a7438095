"""MLflow as a view of the store: everything in it can be deleted and made again at any time.

``leaderboard_runs`` and ``tuning_runs`` say what MLflow should hold, ``sync`` writes it, ``follower`` does so while a
suite runs, ``ui`` serves it.
"""
