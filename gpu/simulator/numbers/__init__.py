"""Numbers: what an operation gives, with the rounding that PTX says. It knows nothing of instructions."""
