# docker build -t xrcore .                                  once; minutes, as PyTorch is large
# docker run --rm xrcore                                    the demo
# docker run --rm xrcore make reproduce PROFILE=smoke       every table and figure; -v "$PWD/build:/xrcore/build" keeps what it makes
#
# It needs no GPU. pip's settings can be given by --build-arg: with PIP_EXTRA_INDEX_URL, an index of PyTorch's builds for CPUs, the image
# is gigabytes smaller.
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /xrcore
COPY . .
ARG PIP_EXTRA_INDEX_URL PIP_INDEX_URL
RUN make .venv/.workflow
CMD ["make", "demo"]
