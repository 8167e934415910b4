# The operator and the command line: docker build -f images/operator.Dockerfile -t manta/operator:0.1.0 .
# Where this was written there is no Docker: the same installation was tried in a virtual environment instead.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/manta
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# What changes rarely first: the libraries, at the versions the tests ran with.
COPY requirements/constraints.txt requirements/
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY runtime runtime
RUN /opt/manta/bin/pip install --constraint requirements/constraints.txt ".[operator]"

FROM python:3.11-slim
RUN groupadd --gid 1000 manta && useradd --uid 1000 --gid 1000 --create-home manta
COPY --from=build /opt/manta /opt/manta
ENV PATH=/opt/manta/bin:$PATH HOME=/home/manta PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /home/manta
USER 1000:1000
ENTRYPOINT ["manta"]
CMD ["operator"]
