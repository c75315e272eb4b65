# docker build --tag charrnn-bot .
# docker build --tag charrnn-bot --build-arg EXTRAS=bot,metrics .    without /retrain

FROM python:3.11-slim AS installed
ARG EXTRAS=bot,metrics,train
WORKDIR /source
RUN python -m venv /opt/charrnn
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bot bot
COPY charrnn charrnn
COPY weights weights
COPY web web
RUN /opt/charrnn/bin/pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]"

FROM python:3.11-slim
COPY --from=installed /opt/charrnn /opt/charrnn
# An empty volume takes over this folder's owner.
RUN groupadd --gid 10001 charrnn \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/charrnn charrnn \
    && install --directory --owner=charrnn --group=charrnn --mode=700 /var/lib/charrnn
USER 10001:10001
WORKDIR /var/lib/charrnn
VOLUME /var/lib/charrnn
ENV STATE=/var/lib/charrnn HEALTH_PORT=8080 PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/tmp KERAS_HOME=/tmp MPLCONFIGDIR=/tmp
# .env may set another HEALTH_PORT.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["/opt/charrnn/bin/python", "-c", \
    "import os, urllib.request as r; r.urlopen('http://127.0.0.1:%(HEALTH_PORT)s/live' % os.environ, timeout=4)"]
ENTRYPOINT ["/opt/charrnn/bin/python", "-m", "bot"]
