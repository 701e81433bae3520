"""The instructions, a file for each family: how one is decoded, and what it does; `table` has them all."""
