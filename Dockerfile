# kd-loss with JAX, as docs/cluster.md runs it: docker build -t kd-loss .
# For GPUs: docker build --build-arg JAX='jax[cuda12]' -t kd-loss .
FROM python:3.11-slim
ARG JAX=jax
WORKDIR /opt/kd-loss
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY kd_loss kd_loss
COPY models models
# the headless OpenCV needs no libGL; the backend is JAX, so TensorFlow and what belongs to it stay away
RUN pip install --no-cache-dir "$JAX" "keras>=3.12" "numpy>=2.0" "opencv-python-headless>=4.10,<5" \
      "scikit-learn>=1.5" "scipy>=1.11" "h5py>=3.11" "matplotlib>=3.9" "rich>=13" "jinja2>=3.1" "filelock>=3.12" "ai-edge-litert>=1.0" \
 && pip install --no-cache-dir --no-deps .
ENV KERAS_BACKEND=jax
WORKDIR /work
ENTRYPOINT ["kd-loss"]
CMD ["--help"]
