"""What a run found, and the forms in which it is written down."""
