"""Writing and training on the machines of a Dask cluster."""
