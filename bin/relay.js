#!/usr/bin/env node
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(
    `relay needs Node.js 22.18 or later, and this is ${process.versions.node}. Install a newer Node.js, or use \`npx relay\` in a checkout of the project, which brings its own.\n`,
  );
  process.exit(1);
} else {
  const { run } = await import('../dist/cli.js');
  await run(process.argv.slice(2));
}
