# taggram as a service, in two stages: built on Debian, run on a bare one.
#
#   docker build -t taggram .
#   docker run --read-only --cap-drop ALL -p 5000:5000 taggram
FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin taggram

FROM debian:bookworm-slim
COPY --from=build /src/target/release/taggram /usr/local/bin/taggram
# No home, no shell: the number is enough, and nothing belongs to it.
USER 65532:65532
# Models that were imported may be mounted here, read-only.
ENV TAGGRAM_MODELS=/models
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s CMD ["taggram", "serve", "--check", "127.0.0.1:5000"]
ENTRYPOINT ["taggram"]
CMD ["serve", "--addr", "0.0.0.0:5000"]
