"""Regions of labels as objects: separated, measured, and written as tables."""
