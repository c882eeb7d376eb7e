# docker build -t relay .
# The build runs on the builder's platform and the image takes only files from it, so that images for other platforms need
# no emulation: docker buildx build --platform linux/amd64,linux/arm64 .
FROM --platform=$BUILDPLATFORM node:26-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY LICENSE tsconfig.json tsup.binary.config.ts ./
COPY scripts scripts
COPY src src
RUN npm run build:bundle
# An empty directory, for the image to give to its user.
RUN mkdir state

FROM node:26-bookworm-slim
LABEL org.opencontainers.image.title="relay" \
      org.opencontainers.image.description="Brings datasets out of on-premise machines through a central router" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /build/dist-bin/relay.cjs /build/dist-bin/LICENSES.txt /opt/relay/
COPY --from=build --chown=10001:10001 /build/state /var/lib/relay
# Within a container only what is published can be reached, and beyond loopback the router asks for a secret.
ENV NODE_ENV=production \
    RELAY_HOST=0.0.0.0 \
    RELAY_PORT=8080 \
    RELAY_STATE_DIR=/var/lib/relay/state
USER 10001:10001
WORKDIR /var/lib/relay
VOLUME /var/lib/relay
EXPOSE 8080
STOPSIGNAL SIGTERM
# Of the router, by its variables RELAY_PORT and RELAY_TLS_CERT, so give it these two not as arguments. On loopback there is
# no name to verify a certificate by. Turn it off for the other roles (--no-healthcheck), on which nothing listens.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
  CMD ["node", "-e", "const { RELAY_PORT: port, RELAY_TLS_CERT } = process.env; require(RELAY_TLS_CERT ? 'https' : 'http').get({ host: '127.0.0.1', port, path: '/healthz', rejectUnauthorized: false }, ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
ENTRYPOINT ["node", "/opt/relay/relay.cjs"]
CMD ["router"]
