/**
 * What would move the cursor, change colours, hide or reorder text on a terminal: controls (C0, DEL, C1), line and
 * paragraph separators, and invisible format characters (bidi overrides, tags) except the joiners that emoji and some
 * scripts are written with; and halves of surrogate pairs.
 */
const UNSAFE = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Text from a node or from anybody else as it may be shown on a terminal: what is unsafe becomes `\x1b` or `\u{202e}`. */
export function escapeForTerminal(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}
