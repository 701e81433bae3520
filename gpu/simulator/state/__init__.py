"""What a kernel's threads see and change: memories, registers of lanes, copies in flight."""
