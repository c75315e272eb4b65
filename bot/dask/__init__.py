"""Writing and training on the machines of a Dask cluster. Nothing else imports `distributed`."""
