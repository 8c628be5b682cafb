# CAIO in a container: one image for `caio serve`, `caio worker` and `caio db upgrade`.
#
# Nothing unpinned is run, nothing runs as root, and the runtime stage holds no compiler, no pip and no shell profile
# of its own. Two builds of one commit have the same layers: files carry SOURCE_DATE_EPOCH, and compiled Python is
# checked against nothing rather than against a time. `make pin` adds the base's digest where there is a network.
#
# A mirror that wants credentials:  docker build --secret id=pip,src=pip.conf .   (it stays out of every layer)
FROM python:3.11.14-slim-bookworm AS build
ARG SOURCE_DATE_EPOCH=1577836800
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1
WORKDIR /src
COPY requirements-build.txt requirements.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv /opt/build && python -m venv --without-pip /opt/caio \
 && /opt/build/bin/pip install --require-hashes -r requirements-build.txt \
 && /opt/build/bin/pip --python /opt/caio/bin/python install --require-hashes --only-binary :all: -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY examples examples
RUN /opt/build/bin/python -m hatchling build -t wheel -d /tmp/wheel \
 && /opt/build/bin/pip --python /opt/caio/bin/python install --no-deps --no-index --find-links /tmp/wheel caio-platform \
 # What the packages bring to test themselves, to compile against and to be typed by hand is never run here.
 && find /opt/caio/bin -type f ! -name caio -delete && rm -rf /opt/caio/bin/__pycache__ /opt/caio/include \
 && find /opt/caio/lib -type d \( -name tests -o -name __pycache__ -o -path '*/numpy/*/include' \) -prune -exec rm -rf {} + \
 && find /opt/caio/lib -regextype posix-extended \
      -regex '.*(\.(pyi|c|h|cpp|hpp|a|pyx|pxd|pxi)|/numpy/_core/_[a-z_]*(simd|tests)\.[^/]*\.so)' -delete \
 # Packages of packages that CAIO never loads: random numbers, Fortran and test suites of numpy, other databases than
 # PostgreSQL and SQLite, and the colouring of languages other than Python.
 && find /opt/caio/lib -type d -regextype posix-extended -regex \
      '.*/((alembic|sqlalchemy|numpy)/testing|sqlalchemy/dialects/(mssql|mysql|oracle)|numpy/(random|f2py|distutils))' \
      -prune -exec rm -rf {} + \
 && find /opt/caio/lib/python3*/site-packages/pygments/lexers -name '*.py' ! -name '__init__.py' ! -name _mapping.py \
      ! -name python.py ! -name special.py -delete \
 # Of AWS's services those stay that CAIO calls and that credentials come from; of a library under two names, one.
 && find /opt/caio/lib/python3*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d ! -name events ! -name kms \
      ! -name s3 ! -name signin ! -name sso ! -name sso-oidc ! -name sts -prune -exec rm -rf {} + \
 && find /opt/caio/lib/python3*/site-packages/highspy -name 'libhighs.so.*.*' -delete \
 && /opt/caio/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/caio/lib
COPY --chmod=0555 container/healthcheck.py /opt/caio/bin/healthcheck

FROM python:3.11.14-slim-bookworm
# The base's own pip is of no use to a program that installs nothing, and of much to whoever breaks into one.
RUN rm -rf /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/site-packages/* /usr/local/bin/pip* \
 && echo 'caio:x:1000:' >> /etc/group \
 && echo 'caio:x:1000:1000::/var/lib/caio:/usr/sbin/nologin' >> /etc/passwd \
 && install -d -o 1000 -g 1000 -m 0700 /var/lib/caio
COPY --from=build /opt/caio /opt/caio

ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="CAIO" \
      org.opencontainers.image.description="A control plane that routes AI requests by contract and proves every decision" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

ENV PATH=/opt/caio/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/caio \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CAIO_DATA_DIR=/var/lib/caio \
    CAIO_OPS_PORT=9090
USER 1000:1000
WORKDIR /var/lib/caio
# Declared, both are writable for the user above also where a platform mounts empty volumes over a read-only root.
VOLUME ["/var/lib/caio", "/tmp"]
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=40s --retries=3 CMD ["healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["caio"]
CMD ["serve"]
