import { kind, type Kind } from './values.ts';

/** Kinds of upstream that a word alone stands for. */
const WORDS = ['simulator'] as const;

/** Where an upstream is. For a new kind, the compiler asks at each place that tells the kinds apart. */
export type UpstreamAddress =
  | { readonly kind: (typeof WORDS)[number] }
  /** The URL has no slash at its end. */
  | { readonly kind: 'http'; readonly url: string };

/** A base URL over http(s), or a word. Keys have an option of their own, so a URL that carries one is refused and never shown. */
export const upstreamAddress: Kind<UpstreamAddress> = kind(
  `${WORDS.join(', ')}, or a URL like http://127.0.0.1:8000/v1 without user, password, query or #`,
  (raw) => {
    const word = WORDS.find((known) => known === raw);
    return word === undefined ? toHttpAddress(raw) : { kind: word };
  },
  { secret: true },
);

function toHttpAddress(raw: string): UpstreamAddress | undefined {
  const url = URL.parse(raw);
  if (!url || !/^https?:$/.test(url.protocol)) return undefined;
  if (url.username || url.password || url.search || url.hash) return undefined;
  return { kind: 'http', url: url.href.replace(/\/+$/, '') };
}

/** The address as operators write it. */
export function addressText(address: UpstreamAddress): string {
  switch (address.kind) {
    case 'simulator':
      return address.kind;
    case 'http':
      return address.url;
  }
}

const SIMULATED: Record<UpstreamAddress['kind'], boolean> = { simulator: true, http: false };
/** Whether the upstream invents its answers. Such an upstream serves any model without set-up, and users are warned. */
export const isSimulated = ({ kind: which }: UpstreamAddress): boolean => SIMULATED[which];
