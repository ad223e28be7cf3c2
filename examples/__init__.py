"""Tasks of the lectures and papers, each whole: `python -m examples.NAME` makes the data, trains, measures, draws."""
