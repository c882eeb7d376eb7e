import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { OPTIONS } from '../../src/config/options.ts';
import { ForwardingReader } from '../../src/router/forwarding.ts';
import { startMinio } from '../support/minio.ts';
import { RELAY, RoleProcess, run, runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const DEPLOY = join(import.meta.dirname, '../../deploy');
const DOCKERFILE = await readFile(join(DEPLOY, '../Dockerfile'), 'utf8');
const MAC = 'cc-28-aa-01-02-03';

type Node = Record<string, any>; // oxlint-disable-line typescript/no-explicit-any -- foreign schemas

const resources = new AsyncDisposableStack();
let work = '';
beforeAll(async () => {
  work = resources.use(await makeTempDir()).path;
});
afterAll(() => resources.disposeAsync());

const read = (name: string): Promise<string> => readFile(join(DEPLOY, name), 'utf8');

/** The names of options that a text sets by their variables, and that there are none of. */
function findUnknown(text: string): string[] {
  const known = new Set(Object.keys(OPTIONS).map((name) => `RELAY_${name.replaceAll('-', '_').toUpperCase()}`));
  return [...new Set(text.match(/\bRELAY_[A-Z0-9_]+\b/g))].filter((name) => !known.has(name));
}

test.each(['compose.yaml', 'kubernetes.yaml', 'relay-router.service', 'relay-connector.service', '../Dockerfile'])(
  '%s sets only options that there are',
  async (name) => expect(findUnknown(await read(name))).toEqual([]),
);

/** A router on loopback with what the deployment sets, but for the secret, which loopback does not need. */
function startDeployed(args: readonly string[], variables: Record<string, string>, stateDir: string): RoleProcess {
  const { RELAY_SECRET_FILE: _, ...rest } = variables;
  const env = { ...rest, RELAY_HOST: '127.0.0.1', RELAY_PORT: '0', RELAY_STATE_DIR: stateDir };
  return resources.use(new RoleProcess(args, { command: [process.execPath, RELAY], cwd: work, env }));
}

/** The client's address of a request that came from `peer` for `client`, to a router that trusts what a deployment names. */
const clientOf = (trusted: string, peer: string, client: string): string =>
  new ForwardingReader(trusted.split(',')).read({
    headers: { 'x-forwarded-for': client },
    socket: { remoteAddress: peer } as Socket,
  }).address;

const urlOf = async (router: RoleProcess): Promise<string> =>
  String((await router.logged(({ url }) => typeof url === 'string'))['url']);

describe('docker compose', () => {
  let compose: Node = {};
  beforeAll(async () => {
    // Each variable takes its default, as where nothing else is set.
    compose = parse((await read('compose.yaml')).replace(/\$\{\w+:-([^}]*)\}/g, '$1')) as Node;
  });

  test('keeps secrets in files, publishes on loopback only, and gives the router no rights', () => {
    const { router, minio } = compose['services'] as Record<string, Node>;
    for (const service of [router, minio] as Node[]) {
      for (const port of service['ports'] as string[]) expect(port).toMatch(/^127\.0\.0\.1:/);
      for (const name of service['secrets'] as string[]) expect(compose['secrets']).toHaveProperty(name);
      for (const volume of service['volumes'] as string[]) {
        expect(compose['volumes']).toHaveProperty(String(volume.split(':')[0]));
      }
      for (const [name, value] of Object.entries(service['environment'] as Record<string, string>)) {
        if (/SECRET|PASSWORD|CREDENTIALS|USER/.test(name)) {
          expect(service['secrets']).toContain(value.replace('/run/secrets/', ''));
        }
      }
    }
    expect(router).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
    expect(DOCKERFILE).toContain(`VOLUME ${(router as Node)['volumes'][0].split(':')[1]}\n`);
  });

  test('knows the proxy on the host, which comes from the gateway of its network, and nobody else', () => {
    const { subnet, gateway } = compose['networks'].default.ipam.config[0] as { subnet: string; gateway: string };
    const { RELAY_TRUSTED_PROXY: trusted } = compose['services'].router.environment as Record<string, string>;
    expect(trusted).toBe(gateway);
    expect(new ForwardingReader([subnet]).trusts(gateway)).toBe(true);
    expect(clientOf(gateway, gateway, '203.0.113.9')).toBe('203.0.113.9');
    expect(clientOf(gateway, gateway.replace(/1$/, '2'), '203.0.113.9')).not.toBe('203.0.113.9');
  });

  test('starts a router that offloads to MinIO, with credentials from its files', async () => {
    const { environment, command } = compose['services'].router as {
      environment: Record<string, string>;
      command: string[];
    };
    const minio = resources.use(await startMinio());
    const secrets = join(work, 'secrets');
    await mkdir(secrets);
    // The text that docs/deployment.md has written into this file.
    await writeFile(
      join(secrets, 'aws_credentials'),
      `[default]\naws_access_key_id = ${minio.accessKey}\naws_secret_access_key = ${minio.secretKey}\n`,
    );
    const here = Object.entries(environment).map(([name, value]) => [
      name,
      value
        .replace('/run/secrets', secrets)
        .replace('http://minio:9000', minio.endpoint)
        .replace('http://localhost:9000', minio.endpoint),
    ]);
    const url = await urlOf(
      startDeployed(command, Object.fromEntries(here) as Record<string, string>, join(work, 'compose')),
    );
    await using data = await makeTempDir();
    await writeFile(join(data.path, 'a.csv'), 'a,b\n');
    await using _connector = await startConnectorProcess(url, MAC, data.path);
    const asked = await runRelay(['app', 'request-offload', MAC, 'a.csv', '--router', url]);
    expect([asked.code, asked.stdout.toString(), asked.stderr]).toEqual([0, 'a,b\n', '']);
    expect(await minio.listKeys('datasets')).toEqual([expect.stringMatching(/^relay\/datasets\/cc-28-aa-01-02-03\//)]);
  });
});

describe('Kubernetes', () => {
  let objects: Node[] = [];
  let container: Node = {};
  const find = (kind: string): Node => objects.find((each) => each['kind'] === kind) as Node;
  beforeAll(async () => {
    objects = parseAllDocuments(await read('kubernetes.yaml')).map((document) => document.toJS() as Node);
    container = find('Deployment')['spec'].template.spec.containers[0] as Node;
  });

  test('has one replica that ends before the next begins, with time to drain', () => {
    const { spec } = find('Deployment') as { spec: Node };
    expect(spec).toMatchObject({ replicas: 1, strategy: { type: 'Recreate' } });
    const pauseSeconds = Number(container['lifecycle'].preStop.sleep.seconds);
    const graceSeconds = Number(/^(\d+)s$/.exec(OPTIONS.grace.default)?.[1]);
    expect(spec['template'].spec.terminationGracePeriodSeconds).toBeGreaterThan(graceSeconds + pauseSeconds);
  });

  test('asks for no rights (the restricted Pod Security Standard), as the user of the image', () => {
    const { securityContext } = find('Deployment')['spec'].template.spec as { securityContext: Node };
    expect(securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(DOCKERFILE).toContain(`USER ${securityContext['runAsUser']}:${securityContext['runAsGroup']}\n`);
    expect(container['securityContext']).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });

  test('fits together: labels, ports, volumes, names', () => {
    const { spec } = find('Deployment') as { spec: Node };
    const { labels } = spec['template'].metadata as Node;
    expect(spec['selector'].matchLabels).toEqual(labels);
    const service = find('Service');
    expect(service['spec'].selector).toEqual(labels);
    const ports = (container['ports'] as Node[]).map(({ name }) => String(name));
    expect(ports).toContain(service['spec'].ports[0].targetPort);
    const { backend } = find('Ingress')['spec'].rules[0].http.paths[0] as Node;
    expect(backend.service).toEqual({ name: service['metadata'].name, port: { name: service['spec'].ports[0].name } });
    for (const probe of ['readinessProbe', 'livenessProbe', 'startupProbe']) {
      expect(ports).toContain(container[probe].httpGet.port);
    }
    const volumes = spec['template'].spec.volumes as Node[];
    expect((container['volumeMounts'] as Node[]).map(({ name }) => String(name))).toEqual(
      volumes.map(({ name }) => String(name)),
    );
    expect(volumes[0]?.['persistentVolumeClaim'].claimName).toBe(find('PersistentVolumeClaim')['metadata'].name);
    expect(DOCKERFILE).toContain(`VOLUME ${container['volumeMounts'][0].mountPath}\n`);
    expect(DOCKERFILE).toContain(`RELAY_PORT=${container['ports'][0].containerPort} `);
    expect(spec['template'].spec.serviceAccountName).toBe(find('ServiceAccount')['metadata'].name);
  });

  const variable = (name: string): string =>
    String((container['env'] as { name: string; value: string }[]).find((each) => each.name === name)?.value);

  test('tells the clients of the ingress controller apart, which has the address of a pod', () => {
    for (const pod of ['10.244.1.7', '172.20.3.4', '192.168.77.5']) {
      expect(clientOf(variable('RELAY_TRUSTED_PROXY'), pod, '203.0.113.9')).toBe('203.0.113.9');
    }
    expect(clientOf(variable('RELAY_TRUSTED_PROXY'), '198.51.100.1', '203.0.113.9')).toBe('198.51.100.1');
  });

  test('has the limits for the memory that it gives, as the documentation has them', async () => {
    const text = await readFile(join(DEPLOY, '../docs/limits.md'), 'utf8');
    const [, memory, list = ''] = /\*\*A small machine\.\*\* (\d+) GiB is enough with ([^.]*)\./.exec(text) ?? [];
    expect(container['resources'].limits.memory).toBe(`${memory}Gi`);
    const options = [...list.matchAll(/`--([\w-]+) (\w+)`/g)];
    expect(options).toHaveLength(5);
    for (const [, name = '', value] of options) {
      expect([name, variable(`RELAY_${name.replaceAll('-', '_').toUpperCase()}`)]).toEqual([name, value]);
    }
  });

  test('starts a router that answers the probes', async () => {
    const variables = (container['env'] as { name: string; value: string }[]).map(({ name, value }) => [name, value]);
    const state = join(work, 'kubernetes');
    const router = startDeployed(container['args'] as string[], Object.fromEntries(variables), state);
    const url = await urlOf(router);
    for (const probe of ['readinessProbe', 'livenessProbe', 'startupProbe']) {
      expect([probe, (await fetch(`${url}${container[probe].httpGet.path}`)).status]).toEqual([probe, 200]);
    }
    expect(await router.end('SIGTERM')).toBe(0);
  });
});

describe.each(['router', 'connector'])('relay-%s.service', (role) => {
  const name = `relay-${role}.service`;
  /** The values of a setting, in order. */
  const valuesOf = (unit: string, key: string): string[] =>
    [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value);

  test('is one that systemd understands, and gives it little', async () => {
    const unit = await read(name);
    const program = join(work, 'relay');
    await writeFile(program, '', { mode: 0o755 });
    await writeFile(join(work, name), unit.replaceAll('/usr/local/bin/relay', program));
    const { code, stdout, stderr } = await run('systemd-analyze', ['verify', join(work, name)]);
    expect([code, stdout.toString(), stderr]).toEqual([0, '', '']);
    const exposure = await run('systemd-analyze', ['security', '--offline=true', '--threshold=20', join(work, name)]);
    expect([exposure.code, exposure.stderr]).toEqual([0, '']);
  });

  test('starts it by a command line that it takes, and gives it time to drain', async () => {
    const unit = await read(name);
    const [program = '', ...args] = String(valuesOf(unit, 'ExecStart')[0]).split(' ');
    expect(program).toBe('/usr/local/bin/relay');
    const seconds = Number(/^(\d+)s$/.exec(String(valuesOf(unit, 'TimeoutStopSec')[0]))?.[1]);
    expect(seconds).toBeGreaterThan(Number(/^(\d+)s$/.exec(OPTIONS.grace.default)?.[1]));
    const variables = Object.fromEntries(
      valuesOf(unit, 'Environment').flatMap((line) =>
        line.split(' ').map((pair) => pair.split('=') as [string, string]),
      ),
    );
    if (role === 'router') {
      const router = startDeployed(args, variables, join(work, 'systemd'));
      expect((await fetch(`${await urlOf(router)}/healthz`)).status).toBe(200);
      expect(await router.end('SIGTERM')).toBe(0);
      return;
    }
    await using router = await startRouterProcess();
    await using data = await makeTempDir();
    // What the unit expects of /etc/relay/connector.env.
    const env = { ...variables, RELAY_ROUTER: router.url, RELAY_MAC: MAC, RELAY_DATA_DIR: data.path };
    await using connector = new RoleProcess(args, { command: [process.execPath, RELAY], cwd: work, env });
    await connector.logged(({ msg }) => msg === 'connected to router');
    expect(await connector.end('SIGTERM')).toBe(0);
  });
});
