"""A whole process of fastnn: fit the digits in FILE for 20 epochs and predict them."""

import sys

import numpy as np

from fastnn import SGD, Dense, Network, Trainer

digits = np.load(sys.argv[1])
network = Network(64, [Dense(100, "relu"), Dense(10)])
trainer = Trainer(network, optimizer=SGD(0.1), batch_size=64)
trainer.fit(digits["X"], digits["y"], epochs=20)
print(np.mean(trainer.predict(digits["X"]) == digits["y"]))
