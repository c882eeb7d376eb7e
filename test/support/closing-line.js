/** Prints the counts of a run as one plain last line, `N passed, N failed`, that any log reader finds. */
export default class ClosingLine {
  onRunComplete(_contexts, results) {
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const skipped = results.numPendingTests > 0 ? `, ${results.numPendingTests} skipped` : '';
    const line = `\n${results.numPassedTests} passed, ${failed} failed${skipped}\n`;
    // After what the other reporters have to say.
    process.once('exit', () => process.stdout.write(line));
  }
}
