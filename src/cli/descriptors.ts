/** What a router has open besides connections, with room to spare: its port, databases, log, and what Node.js needs. */
const OWN = 50;
/** Connections beyond the limit that are told so, and count for nothing else. */
const TOLD = 100;
/** How many of the connections may have a file open besides: those that go by way of the router's own store. */
const FILE_SHARE = 0.5;

/** The descriptors that this process may have open; undefined where nothing limits them. Node.js raises it as far as it may. */
export function readDescriptorLimit(): number | undefined {
  const { userLimits } = process.report.getReport() as { userLimits?: { open_files?: { soft?: number | string } } };
  const soft = userLimits?.open_files?.soft;
  return typeof soft === 'number' ? soft : undefined;
}

/** How many connections there can be where so many descriptors are allowed, and how many that would have to be for all. */
export function fitConnections(
  maxConnections: number,
  descriptors: number | undefined,
): { readonly maxConnections: number; readonly neededDescriptors: number } {
  const neededDescriptors = Math.ceil(maxConnections * (1 + FILE_SHARE)) + OWN + TOLD;
  if (descriptors === undefined || descriptors >= neededDescriptors) return { maxConnections, neededDescriptors };
  const fitting = Math.floor((descriptors - OWN - TOLD) / (1 + FILE_SHARE));
  return { maxConnections: Math.max(1, fitting), neededDescriptors };
}
