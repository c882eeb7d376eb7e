import { join } from 'node:path';
import { run } from './processes.ts';

/** An authority of one's own and a certificate that it signed, as files in PEM form. */
export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];

/** Makes certificates for `names` (`DNS:…`, `IP:…`) with openssl. @param prefix begins the names of the files. */
export async function makeCertificates(directory: string, names: string, prefix = ''): Promise<Certificates> {
  const path = (name: string): string => join(directory, `${prefix}${name}.pem`);
  const files = { ca: path('ca'), caKey: path('ca-key'), cert: path('cert'), key: path('key') };
  await openssl('req', '-x509', ...NEW_KEY, '-subj', '/CN=Plant Authority', '-keyout', files.caKey, '-out', files.ca);
  const signing = ['-CA', files.ca, '-CAkey', files.caKey, '-addext', `subjectAltName=${names}`];
  const leaf = ['-addext', 'basicConstraints=critical,CA:FALSE', '-subj', '/CN=router'];
  await openssl('req', '-x509', ...NEW_KEY, ...signing, ...leaf, '-keyout', files.key, '-out', files.cert);
  return files;
}

async function openssl(...args: string[]): Promise<void> {
  const { code, stderr } = await run('openssl', args);
  if (code !== 0) throw new Error(`openssl ${args[0]} failed: ${stderr}`);
}
