/** What a caller wrote, as a message can show it: on one line, and cut when it is long. */
export const quote = (text: string): string => JSON.stringify(shorten(text));

const SHOWN_CHARS_MAX = 64;
export const shorten = (text: string): string =>
  text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text;
