"""Pages to click through, made of cells, runs and the views' pictures; they derive and lay out nothing themselves."""
