/** The control plane's paths, as the router knows them. ARM writes its fixed words in any case. */
import { CONTROL_PLANE } from './router-paths.ts';

const WORDS = new Map(
  [
    'subscriptions',
    'resourceGroups',
    'accounts',
    'deployments',
    'skus',
    'listKeys',
    'regenerateKey',
    'usages',
    'models',
    'modelCapacities',
    'locations',
  ].map((word) => [word.toLowerCase(), word]),
);

const PROVIDER = 'microsoft.cognitiveservices';

/**
 * Turns `/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a` into a path under
 * `CONTROL_PLANE`, without the provider. It is undefined for every other path, such as that of another provider.
 */
export function toControlPlanePath(path: string): string | undefined {
  const segments = path.replace(/\/$/, '').split('/').slice(1);
  const provider = segments.findIndex((word, index) => isFixed(index) && word.toLowerCase() === 'providers');
  if (provider === -1 || segments[provider + 1]?.toLowerCase() !== PROVIDER) return undefined;
  const own = segments.toSpliced(provider, 2);
  const canonical: string[] = [];
  for (const [index, segment] of own.entries()) {
    const before = canonical.at(-1);
    if (!isFixed(index)) canonical.push(before === 'accounts' ? segment.toLowerCase() : segment);
    else if (WORDS.has(segment.toLowerCase())) canonical.push(WORDS.get(segment.toLowerCase()) ?? '');
    else return undefined;
  }
  return `${CONTROL_PLANE}/${canonical.join('/')}`;
}

/** Fixed words and names alternate: `subscriptions`, its id, `resourceGroups`, its name. */
const isFixed = (index: number): boolean => index % 2 === 0;
