import os

# As in charrnn/cli/backend.py, so that trainings in this process and in others end the same.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
