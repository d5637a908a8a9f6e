# syntax=docker/dockerfile:1
# `pixelwise serve`, with its page and without torch: no root, no writable root file system, no capabilities.
#
#   docker build -t pixelwise .
#   docker run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#     -p 127.0.0.1:8000:8000 -e PIXELWISE_TOKEN=some-long-secret pixelwise
#
# Then open http://127.0.0.1:8000/?token=some-long-secret. The built-in model `street` is for research only, as its data
# are. To serve a bundle or a run of your own, mount it and name it:
#
#   docker run … -v "$PWD/my_run:/model:ro" pixelwise serve /model --host 0.0.0.0
#
# Behind a proxy that speaks TLS, add `--allow-host NAME`. Training needs torch and is not part of this image.

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE ./
COPY src src
COPY web web
# The build hook builds the page, with the Node that a Python package brings for the build alone.
RUN python -m venv --without-pip /opt/pixelwise \
    && pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && pip --python /opt/pixelwise/bin/python install --no-cache-dir --only-binary :all: \
        --constraint constraints.txt /wheels/*.whl

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Pixelwise" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/pixelwise /opt/pixelwise
ENV PATH="/opt/pixelwise/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client; c = http.client.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["pixelwise"]
CMD ["serve", "street", "--host", "0.0.0.0"]
