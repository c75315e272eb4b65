"""What a job learns from: a channel or an uploaded file, cleaned and written to a text file."""
