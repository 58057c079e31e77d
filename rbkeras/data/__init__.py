"""Survey files, records, splits and the input pipeline."""
