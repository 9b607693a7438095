"""MLflow as the leaderboard: a projection of the store that can be thrown away and made again at any time.

``projection`` says what MLflow should hold, ``sync`` makes it so, ``follower`` does it while a suite
runs, ``ui`` serves it.
"""
