"""From tables to features: files, kinds of columns, scaling, one-hot categories, and labels.

`fastnn.tabular.files.read` gives a `Table` or a `Matrix`; a `Preparation` learns from it how its
columns become features, and a `Label` what the network has to answer. Both are plain values in a
model file, so that whoever loads it can apply them to other tables.
"""
