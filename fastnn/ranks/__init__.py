"""One model over many processes: what they say to each other, and which rows each of them takes."""
