"""The formats that other programs write: each file reads one in place and, where it can, writes it.

A reader lists pairs (`is_…`, `list_…`) and, where masks are drawings, draws them when they are asked for. Drawn masks
hold 0 where nothing is drawn; polygons are filled by the rule in `polygons`, so that what is written is read back to
the same pixel. `convert` goes from any of them to any other.
"""
