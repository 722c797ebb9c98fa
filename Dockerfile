# KD Lab, one image for all its roles: the app, which is what it starts, the scheduler and the workers (compose.yaml).
#   docker build -t kd-lab .                                  torch for processors
#   docker build -t kd-lab:cuda --build-arg VARIANT=cuda .    torch for NVIDIA GPUs, whose driver the host brings
ARG VARIANT=cpu

# The Python and the Debian that the tests run on; patch releases come with a build that pulls.
FROM python:3.11-slim-bookworm AS python
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

# requirements.txt alone knows versions. torch is most of the image: its layer is built anew when its own lines change,
# and not when another requirement does.
FROM python AS torch
COPY requirements.txt /
RUN grep -E '^torch(vision)?==' /requirements.txt > /torch.txt

FROM python AS cpu
COPY --from=torch /torch.txt /tmp/
# Without what torch needs in turn: that comes from where the other requirements do.
RUN pip install --no-cache-dir --no-deps --index-url https://download.pytorch.org/whl/cpu -r /tmp/torch.txt

FROM python AS cuda
COPY --from=torch /torch.txt /tmp/
RUN pip install --no-cache-dir -r /tmp/torch.txt

FROM ${VARIANT}
LABEL org.opencontainers.image.title="KD Lab" \
      org.opencontainers.image.description="See knowledge distillation happen" \
      org.opencontainers.image.licenses="MIT"

WORKDIR /app
COPY requirements.txt ./
# s3fs: for runs kept under s3:// (KD_STORAGE).
RUN pip install --no-cache-dir -r requirements.txt "s3fs>=2026.3"

# What a role writes lies under /data and in /tmp. The code is root's, so that who takes over a process cannot change it.
RUN useradd --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin lab \
    && install --directory --owner=lab --group=lab /data /data/home /data/cache /data/storage
COPY . .
USER 10001:10001

# Nothing here is edited, so no file is watched.
ENV HOME=/data \
    XDG_CACHE_HOME=/data/cache \
    KD_HOME=/data/home \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    STREAMLIT_SERVER_FILE_WATCHER_TYPE=none

# The scheduler's port is not named: it runs what anybody sends it, and --publish-all must not let anybody.
EXPOSE 8501

# http.client knows of no proxies, which Docker may put into the environment.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8501, timeout=4); c.request('GET', '/_stcore/health'); raise SystemExit(c.getresponse().status != 200)"]

CMD ["streamlit", "run", "app.py", "--server.address", "0.0.0.0"]
