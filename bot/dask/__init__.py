"""Writing and training on the machines of a Dask cluster: the only importer of Dask."""
