"""The correction head: templates near the clicks guide an attention and a correlation over the features."""
