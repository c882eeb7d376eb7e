/**
 * The name to save a file by that a text gives; empty where it gives none.
 * @param text of a path only the last part counts.
 */
export function toFilename(text: string): string {
  // Control characters could break the header or fool a terminal, and format controls a reader, who would see another ending
  // than there is; a path is the saver's business, not the sender's.
  const name = text
    .toWellFormed()
    .replace(/^.*[/\\]/s, '')
    .replaceAll(/[\p{Cc}\u2028\u2029]/gu, '_')
    .replaceAll(/\p{Cf}/gu, '');
  return name === '.' || name === '..' ? '' : name;
}

/**
 * `Content-Disposition: attachment` with the file name in full (RFC 6266, RFC 8187) and in ASCII for those who read only that.
 * @param filename a dataset's name; of a path only the last part counts.
 */
export function formatAttachment(filename: string): string {
  const name = toFilename(filename);
  if (name === '') return 'attachment';
  const ascii = name.replaceAll(/[^\x20-\x7e]|["\\%]/g, '_');
  const encoded = encodeURIComponent(name).replaceAll(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}
