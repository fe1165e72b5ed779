"""Pure numbers: overlap, boundary distances, clicks, and bootstrap intervals. No files, no torch."""
