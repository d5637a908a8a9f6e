"""The dataset doctor: everything that is wrong with a folder of images and masks, and how to repair it.

look, raw_mask    one pair of files → facts, no judgement
judge             facts of one pair → what is wrong with it
findings          facts of all pairs → problems, in the form that training asks for
coding            how the masks write their classes: ids, grey steps, objects, colours
colour_map        the codes among the blended values of masks that were smoothed or saved as JPEG
mask_problems     both in words, with what only a person can decide
copies            whether two images are one picture
alike             copies, near copies, video frames and groups across splits
outliers          images that are not like the others
diagnose          all of these in one pass: the verb `check`
relabel, repair   a mended native copy
suspects          where a confident model and the mask disagree
report, page      the findings as JSON, in the terminal, as one HTML file
"""

from pixelwise.data.doctor.diagnose import check
from pixelwise.data.doctor.findings import (
    Findings,
    SplitFacts,
    find_problems,
    require_sound,
    without_bad,
)
from pixelwise.data.doctor.judge import sizes_in_words
from pixelwise.data.doctor.page import write_page
from pixelwise.data.doctor.repair import Decisions
from pixelwise.data.doctor.report import Report

__all__ = [
    "Decisions",
    "Findings",
    "Report",
    "SplitFacts",
    "check",
    "find_problems",
    "require_sound",
    "sizes_in_words",
    "without_bad",
    "write_page",
]
