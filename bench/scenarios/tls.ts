import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCertificate } from '../../test/support/certificates.ts';
import { GIB, makeRandom, MIB } from '../data.ts';
import { alternate, cpuPerGib, getOnce, withCpu } from '../measure.ts';
import { startFrp } from '../frp.ts';
import { startNginx, startNginxPair } from '../nginx.ts';
import { findProgram } from '../programs.ts';
import { startPair } from '../relay.ts';
import { type Line, nginxRival, type Scenario } from '../scenario.ts';

/** One large file with both legs encrypted. */
export const tls: Scenario = {
  name: 'tls',
  async run({ runs, isQuick, directory, processes }) {
    const rate = { name: 'tls: rate, both legs', unit: 'MB/s', target: { of: 'ratio', atLeast: 0.9 } } as const;
    if (findProgram('openssl') === undefined) return [{ ...rate, relay: [], missing: 'openssl is not installed' }];
    const dataDir = join(directory, 'data');
    await mkdir(dataDir);
    const file = await makeRandom(dataDir, 'large.bin', isQuick ? 128 * MIB : GIB);
    const certificate = { key: join(directory, 'key.pem'), cert: join(directory, 'cert.pem') };
    await makeCertificate(certificate);
    const pair = await startPair(processes, { directory, dataDir, tls: certificate });
    const nginx = await startNginxPair(processes, directory, dataDir, certificate);
    const measure = async (url: string, pids: readonly number[]) => {
      const args = ['--cacert', certificate.cert];
      const { result, cpu } = await withCpu(pids, () => getOnce(processes, url, { bytes: file.bytes, args }));
      return { rate: result.megabytesPerSecond, cpu: cpuPerGib(cpu, file.bytes) };
    };
    const { relay, rival } = await alternate(
      runs,
      () => measure(pair.urlOf(file.name), pair.pids),
      nginx && (() => measure(`${nginx.url}/${file.name}`, nginx.pids)),
    );
    const cpu: Line = {
      name: 'tls: CPU of the servers',
      unit: 's/GiB',
      relay: relay.map((figures) => figures.cpu),
      rival: nginxRival(
        nginx,
        rival.map((figures) => figures.cpu),
      ),
    };
    const site = await startNginx(processes, directory, { serve: dataDir });
    const frp = site && (await startFrp(processes, directory, site));
    const besideFrp = await alternate(
      runs,
      async () => (await measure(pair.urlOf(file.name), [])).rate,
      frp === undefined ? undefined : async () => (await measure(`${frp}/${file.name}`, [])).rate,
    );
    return [
      {
        ...rate,
        relay: relay.map((figures) => figures.rate),
        rival: nginxRival(
          nginx,
          rival.map((figures) => figures.rate),
        ),
      },
      cpu,
      {
        name: 'tls: rate, beside frp at its defaults',
        unit: 'MB/s',
        target: { of: 'ratio', atLeast: 2 },
        relay: besideFrp.relay,
        rival: {
          name: 'frp',
          figures: besideFrp.rival,
          ...(frp === undefined && { missing: site === undefined ? 'nginx is not installed' : 'not installed' }),
        },
      },
    ];
  },
};
