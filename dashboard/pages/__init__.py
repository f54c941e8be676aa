"""One page a module: PATH, TITLE, CONTROLS (what of the bar it listens to), layout(), register()."""
