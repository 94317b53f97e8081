# The gate in a small image: nothing to compile, nobody to log in, no package manager in its path.
#
#   docker build -t latchgate .
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry.example.com/latchgate:0.1.0 --push .
#   docker run --read-only --cap-drop ALL -p 8080:8080 -v ./latchgate.yaml:/etc/latchgate/latchgate.yaml:ro latchgate
#
# docs/deploy.md says what may be written, and how to run it in compose, Kubernetes and behind nginx.

FROM python:3.13-slim AS build

WORKDIR /source
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore

# Dependencies first: this layer stays while only the gate's own code changes.
# A dependency without a wheel for this platform is an error here, never a compiler's work.
# EXTRAS=otel adds what `tracing:` needs.
ARG EXTRAS=""
COPY pyproject.toml ./
RUN python -m venv --without-pip /opt/latchgate \
 && python -c 'import os, tomllib; its = tomllib.load(open("pyproject.toml", "rb"))["project"]; more = its["optional-dependencies"]; print(*its["dependencies"], *(one for extra in os.environ.get("EXTRAS", "").split() for one in more[extra]), sep="\n")' > dependencies.txt \
 && pip --python /opt/latchgate/bin/python install --quiet --no-compile --only-binary :all: -r dependencies.txt

COPY README.md LICENSE ./
COPY upstream_example ./upstream_example
COPY proxy ./proxy
RUN pip wheel --quiet --no-deps --wheel-dir wheel . \
 && pip --python /opt/latchgate/bin/python install --quiet --no-compile --no-deps wheel/*.whl \
 # Sources of extension modules, which nothing reads.
 && find /opt/latchgate -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.c' -o -name '*.h' \) -delete \
 # The image never writes bytecode, so it is all here; no time stamp can make it stale.
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/latchgate/lib

FROM python:3.13-slim

LABEL org.opencontainers.image.title="Latchgate" \
      org.opencontainers.image.description="One gate, either key: a reverse proxy that opens a route to a session cookie, a JWT, or either." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/latchgate /opt/latchgate

# `var` beside the configuration is where the relative paths of its defaults lead.
# Importing once compiles what is used of the standard library, which slim images do not.
RUN install -d -m 0755 /etc/latchgate \
 && install -d -m 0700 -o 65532 -g 65532 /var/lib/latchgate \
 && ln -s /var/lib/latchgate /etc/latchgate/var \
 && /opt/latchgate/bin/python -c 'import proxy.cli.app, proxy.run.worker'

ENV PATH=/opt/latchgate/bin:$PATH \
    LATCHGATE_CONFIG=/etc/latchgate/latchgate.yaml \
    LATCHGATE_REFUSE_ROOT=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1

# By number: Kubernetes' runAsNonRoot cannot look a name up. No name is needed.
USER 65532:65532
WORKDIR /
VOLUME /var/lib/latchgate
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["latchgate", "health"]
ENTRYPOINT ["latchgate"]
CMD ["serve"]
