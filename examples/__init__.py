"""Tasks of the lectures and papers, each whole: `python -m examples.NAME` gets or makes its data, trains, measures, draws."""
