import { run } from './main.ts';

// The beginning of the single file that `npm run build:binary` makes; it has no `bin/relay.js` in front of it.
void run(process.argv.slice(2));
