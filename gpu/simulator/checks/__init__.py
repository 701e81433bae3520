"""What watches kernels for faults that no single access shows."""
