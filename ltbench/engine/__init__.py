"""The engine: trains the stages of one run, as fast as the hardware allows, whatever the method."""
