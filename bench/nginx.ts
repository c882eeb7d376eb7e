import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findFreePort } from '../test/support/nginx.ts';
import type { Processes, Running } from './processes.ts';
import { findProgram } from './programs.ts';

/** Certificate and key in PEM form. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** A reverse proxy before a file server, each nginx with one worker: what relay is measured against. */
export interface NginxPair {
  /** Of the proxy. */
  readonly url: string;
  readonly pids: readonly number[];
}

/**
 * Starts two nginx on loopback, the one in front passing on to the other, which serves a directory.
 * @param tls has both legs encrypted with it.
 * @returns undefined where nginx is not installed.
 */
export async function startNginxPair(
  processes: Processes,
  directory: string,
  dataDir: string,
  tls?: Certificate,
): Promise<NginxPair | undefined> {
  const site = await startNginx(processes, directory, { serve: dataDir }, { tls });
  if (site === undefined) return undefined;
  const front = await startNginx(processes, directory, { proxy: site.address }, { tls });
  if (front === undefined) return undefined;
  return { url: `${tls === undefined ? 'http' : 'https'}://${front.address}`, pids: [front.pid, site.pid] };
}

/** An nginx that takes connections at `address`. */
export interface Nginx extends Running {
  readonly address: string;
  readonly port: number;
}

interface NginxOptions {
  readonly host?: string;
  readonly through?: readonly string[];
  readonly tls?: Certificate | undefined;
}

/**
 * Starts one nginx that serves a directory, or passes on to another address.
 * @returns undefined where nginx is not installed.
 */
export async function startNginx(
  processes: Processes,
  directory: string,
  job: { readonly serve: string } | { readonly proxy: string },
  { host = '127.0.0.1', through = [], tls }: NginxOptions = {},
): Promise<Nginx | undefined> {
  const program = findProgram('nginx');
  if (program === undefined) return undefined;
  const port = await findFreePort();
  const own = join(directory, `nginx-${port}`);
  await mkdir(own, { recursive: true });
  const config = join(own, 'nginx.conf');
  const location = 'serve' in job ? `root ${job.serve};` : passOn(tls);
  const upstream = 'proxy' in job ? `upstream site { server ${job.proxy}; keepalive 64; }` : '';
  await writeFile(config, makeConfig(own, `${host}:${port}`, upstream, location, tls));
  const running = await processes.start([program, '-c', config, '-p', own, '-e', 'stderr'], isReady, { through });
  return { ...running, address: `${host}:${port}`, port };
}

/** The sockets are open by the time it says by what method it waits for events. */
const isReady = (output: string): boolean => output.includes('event method');

function makeConfig(
  own: string,
  listen: string,
  upstream: string,
  location: string,
  tls: Certificate | undefined,
): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const certificate = tls === undefined ? '' : `ssl_certificate ${tls.cert}; ssl_certificate_key ${tls.key};`;
  // The process that is started is the worker: there is no master whose user or end would have to be looked after.
  return `
    daemon off;
    master_process off;
    pid ${own}/nginx.pid;
    error_log stderr notice;
    events { worker_connections 4096; }
    http {
      access_log off;
      sendfile on;
      tcp_nopush on;
      keepalive_requests 1000000000;
      ${temporary.map((name) => `${name}_temp_path ${own}/${name};`).join('\n')}
      ${upstream}
      server {
        listen ${listen}${tls === undefined ? '' : ' ssl'};
        ${certificate}
        location / { ${location} }
      }
    }`;
}

const passOn = (tls: Certificate | undefined): string => `
  proxy_pass ${tls === undefined ? 'http' : 'https'}://site;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_buffering off;
  proxy_buffer_size 64k;
  proxy_buffers 4 64k;`;
