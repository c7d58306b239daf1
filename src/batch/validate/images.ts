import type { ByteRange } from '../request-line.ts';

/** Both names of image parts end with these bytes. A search looks for the first of them, which is rare in texts. */
const ENDINGS = [Buffer.from('_url"'), Buffer.from('_image"')];
const UNDERSCORE = 0x5f;

/** Whether the body of a sound line has a part that is an image. For most lines, one or three searches are enough to tell. */
export function carriesImage(line: Buffer, { start, end }: ByteRange): boolean {
  const from = line.indexOf(UNDERSCORE, start);
  if (from === -1 || !ENDINGS.some((ending) => line.includes(ending, from))) return false;
  const body = line.toString('utf8', start, end);
  if (!body.includes('"image_url"') && !body.includes('"input_image"')) return false;
  const { messages, input } = JSON.parse(body) as Readonly<Record<string, unknown>>;
  return [messages, input].some((items) => Array.isArray(items) && items.some(hasImage));
}

/** Whether a message, or an item of a response's input, has an image. The outputs of tools have parts too. */
function hasImage(item: unknown): boolean {
  if (typeof item !== 'object' || item === null) return false;
  const { content, output } = item as Readonly<Record<string, unknown>>;
  return [content, output].some((parts) => Array.isArray(parts) && parts.some(isImage));
}

function isImage(part: unknown): boolean {
  if (typeof part !== 'object' || part === null) return false;
  const { type } = part as Readonly<Record<string, unknown>>;
  return type === 'image_url' || type === 'input_image';
}
