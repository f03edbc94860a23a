"""The command `benchmark`: the speed of trained networks in their runtimes."""
