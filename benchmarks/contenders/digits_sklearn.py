"""A whole process of scikit-learn: fit the digits in FILE for 20 epochs and predict them."""

import sys

import numpy as np
from sklearn.neural_network import MLPClassifier

digits = np.load(sys.argv[1])
model = MLPClassifier(
    (100,),
    solver="sgd",
    alpha=0.0,
    batch_size=64,
    learning_rate_init=0.1,
    momentum=0.0,
    max_iter=20,
    n_iter_no_change=20,
)
model.fit(digits["X"], digits["y"])
print(np.mean(model.predict(digits["X"]) == digits["y"]))
