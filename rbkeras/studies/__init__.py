"""The published comparisons as grids of trainings over several seeds."""
