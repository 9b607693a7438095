"""A trained model in a folder of its own, which predicts without ltbench, and the predictions of such a folder."""
