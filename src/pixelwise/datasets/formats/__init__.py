"""The formats that other programs write: each file reads one in place and, where it can, writes it.

A format's module offers `recognises`, `list_pairs` and, where masks are not plain files, `mask_ids`. Drawn masks
hold 0 where nothing is drawn; polygons are filled by the rule in `polygons`, so that what is written is read back to
the same pixel. `convert` goes from any of them to any other.
"""
