"""The results browser: what stood, what did not, and on what evidence; reads MLflow alone."""
