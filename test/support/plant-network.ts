import { findProgram } from '../../scripts/test-programs.mjs';
import { run } from './processes.ts';

/** Two networks of their own on this machine, made and removed with `ip netns`: it needs Linux and root. */
export interface PlantNetwork extends AsyncDisposable {
  /** The names of the two for `ip netns`. */
  readonly names: { readonly plant: string; readonly outside: string };
  /** Words that run a program in the plant, whose only neighbour is `proxyAddress`. */
  readonly plant: readonly string[];
  /** Words that run a program outside. */
  readonly outside: readonly string[];
  /** Where the plant reaches the outside. */
  readonly proxyAddress: string;
  /** An address outside to which no way leads from the plant. */
  readonly routerAddress: string;
}

const PROXY = '10.98.0.1';
const PLANT = '10.98.0.2';
const ROUTER = '10.99.0.1';

let count = 0;

/** A plant and the outside, with a line between them that leads to one address only. */
export async function makePlantNetwork(): Promise<PlantNetwork> {
  count += 1;
  const [plant, outside] = [`relay-plant-${process.pid}-${count}`, `relay-outside-${process.pid}-${count}`];
  const remove = async (): Promise<void> => {
    for (const name of [plant, outside]) await run('ip', ['netns', 'del', name]);
  };
  try {
    await ip('netns', 'add', plant);
    await ip('netns', 'add', outside);
    await ip('-n', outside, 'link', 'add', 'line', 'type', 'veth', 'peer', 'name', 'line', 'netns', plant);
    await ip('-n', outside, 'addr', 'add', `${PROXY}/30`, 'dev', 'line');
    await ip('-n', outside, 'addr', 'add', `${ROUTER}/32`, 'dev', 'lo');
    await ip('-n', plant, 'addr', 'add', `${PLANT}/30`, 'dev', 'line');
    for (const name of [plant, outside]) {
      for (const device of ['lo', 'line']) await ip('-n', name, 'link', 'set', device, 'up');
    }
  } catch (error) {
    await remove();
    throw error;
  }
  const within = (name: string): string[] => ['ip', 'netns', 'exec', name];
  return {
    names: { plant, outside },
    plant: within(plant),
    outside: within(outside),
    proxyAddress: PROXY,
    routerAddress: ROUTER,
    [Symbol.asyncDispose]: remove,
  };
}

async function ip(...args: string[]): Promise<void> {
  const { code, stderr } = await run(await findProgram('ip'), args);
  if (code !== 0) throw new Error(`ip ${args.join(' ')} failed, which needs Linux and root: ${stderr}`);
}
