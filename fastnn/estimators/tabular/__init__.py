"""A population of small networks for tables as they are: columns of text, gaps, dates and all.

Public as `fastnn.TabularClassifier` and `fastnn.TabularRegressor`.
"""
