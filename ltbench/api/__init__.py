"""The functions of ``import ltbench``, and what they share with the commands of the same names."""
