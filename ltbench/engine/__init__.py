"""The engine: one training run, as fast as the hardware allows. It does not know which method it runs."""
