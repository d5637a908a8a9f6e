"""Formats of other programs: each module reads one in place and, where possible, writes it.

A format's module provides `recognises`, `list_pairs` and, if masks are not plain files, `mask_ids`. Drawn masks are 0
where nothing is drawn. `polygons` defines the fill rule, so written polygons read back to the same pixels. `convert`
converts between any two formats.
"""
