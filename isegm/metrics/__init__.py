"""What a segmentation is worth: overlap, boundary distances, clicks, and reports over folders of masks.

Nothing here imports torch, and SciPy, nibabel and matplotlib only where they are used.
"""
