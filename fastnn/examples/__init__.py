"""Short scripts that each show one fact about gradient descent, with a picture when asked.

``python -m fastnn.examples`` lists them; ``python -m fastnn.examples.xor --save xor.png`` runs one.
"""
