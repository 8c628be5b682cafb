# CAIO in a container: what `compose.yaml` builds. Nothing unpinned is run, and nothing runs as root.
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/build && python -m venv /opt/caio
COPY requirements-build.txt requirements.txt /src/
RUN /opt/build/bin/pip install --require-hashes -r /src/requirements-build.txt \
 && /opt/caio/bin/pip install --require-hashes -r /src/requirements.txt
COPY pyproject.toml README.md LICENSE /src/
COPY src /src/src
COPY examples /src/examples
WORKDIR /src
RUN /opt/build/bin/python -m hatchling build -t wheel -d /tmp/wheel
RUN /opt/caio/bin/pip install --no-deps --no-index /tmp/wheel/*.whl

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 caio && useradd --uid 10001 --gid caio --no-create-home --shell /usr/sbin/nologin caio \
 && install -d -o caio -g caio -m 0700 /var/lib/caio
COPY --from=build /opt/caio /opt/caio
ENV PATH=/opt/caio/bin:$PATH PYTHONUNBUFFERED=1 CAIO_DATA_DIR=/var/lib/caio
USER 10001:10001
WORKDIR /var/lib/caio
VOLUME /var/lib/caio
EXPOSE 8080
ENTRYPOINT ["caio"]
CMD ["serve"]
