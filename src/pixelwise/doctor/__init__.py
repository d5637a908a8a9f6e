"""The dataset doctor: everything that is wrong with a folder of images and masks, and how to repair it.

look, raw_mask    one pair of files → facts, no judgement
judge             facts of one pair → what is wrong with it
findings          facts of all pairs → problems, in the form that training asks for
coding            how the masks write their classes: ids, grey steps, objects, colours
colour_map        the codes among the blended values of masks that were smoothed or saved as JPEG
mask_problems     both in words, with what only the user can decide
copies            whether two images are one picture
alike             copies, near copies, video frames and groups across splits
outliers          images that are not like the others
diagnose          all of these in one pass: the verb `check`
relabel, repair   a repaired native copy
label_errors      where a confident model and the mask disagree
fix               a repaired native copy (select_classes: fewer classes)
check_report      the findings in the terminal and as JSON; check_page: as one HTML file
"""
