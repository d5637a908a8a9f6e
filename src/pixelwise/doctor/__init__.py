"""The dataset doctor: find every problem in a folder of images and masks, and write a repaired copy.

validate_pair     one inspected pair → its problems
findings          all pairs → problems, in the form that training needs
near_copies       whether two images are copies of one picture
leakage           near copies, video frames and groups across splits
outliers          images unlike the others
map_checks        GeoTIFFs whose masks lie elsewhere on the earth
unused_input      content of image files that is not used
diagnose          all of these in one pass
label_errors      where a confident model and the mask disagree
fix               a repaired native copy (select_classes: with fewer classes)
check             the verb `check`: diagnose, and fix if asked
check_report      the findings in the terminal and as JSON; check_page: as one HTML file
"""
