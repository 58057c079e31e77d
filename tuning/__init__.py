"""Searching for settings with KerasTuner."""
