# Serves against an external Postgres: pass BLOQ_ACCOUNTS_DATABASE__URL and BLOQ_ACCOUNTS_SERVER__MASTER_KEY.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --locked --release

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/bloq-accounts bloq-accounts
COPY --from=build /source/target/release/bloq-accounts /usr/local/bin/
USER bloq-accounts
ENV BLOQ_ACCOUNTS_DATA_DIR=/var/lib/bloq-accounts \
    BLOQ_ACCOUNTS_SERVER__LISTEN=0.0.0.0:4000 \
    BLOQ_ACCOUNTS_SERVER__TLS_LISTEN=0.0.0.0:4443 \
    BLOQ_ACCOUNTS_GRPC__TLS_LISTEN=0.0.0.0:55551 \
    BLOQ_ACCOUNTS_LOG__FORMAT=json
EXPOSE 4000 4443 55551
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD \
    bash -c 'exec 3<>/dev/tcp/127.0.0.1/4000 && printf "GET /health/ready HTTP/1.0\r\n\r\n" >&3 && head -n 1 <&3 | grep -q " 200 "'
ENTRYPOINT ["bloq-accounts"]
