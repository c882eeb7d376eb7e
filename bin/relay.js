#!/usr/bin/env node
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(
    `relay needs Node.js 22.18 or later, and this is ${process.versions.node}. Install a newer Node.js, or use \`npx relay\` in a checkout of the project, which brings its own.\n`,
  );
  process.exit(1);
} else {
  const warn = process.emitWarning.bind(process);
  // Node.js 22 says of its SQLite that it is experimental, in the midst of a log in JSON. What relay needs of it is tested there.
  process.emitWarning = (warning, ...rest) => {
    if (!String(warning).startsWith('SQLite is an experimental feature')) warn(warning, ...rest);
  };
  const { run } = await import('../dist/cli.js');
  await run(process.argv.slice(2));
}
