"""Recording: the problems that a model's run meets, as a file that ``--shapes`` and campaigns read."""
