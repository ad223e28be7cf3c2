"""Systems and plans with arrays: models, training, generation, storage; it knows no syntax and no picture."""
