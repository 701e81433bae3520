"""What every operation needs to run: a device, compiled kernels, arrays on it and their layouts, launches."""
