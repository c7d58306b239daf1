import { Backlog } from '../../src/batch/dispatch/backlog.ts';
import { BatchRoute } from '../../src/batch/dispatch/batch-route.ts';
import { CrashSuspects } from '../../src/batch/dispatch/poison/process-crashes.ts';
import { Route } from '../../src/serving/route.ts';
import { Server } from '../../src/serving/server.ts';
import { classifyFailure } from '../../src/serving/classify.ts';
import type { Upstream, UpstreamReply } from '../../src/upstream/port.ts';
import type { Mutant } from './mutants.ts';
import { overriding } from './overriding.ts';
import { errorAnswer } from './replies.ts';

/** Bugs of the judgement (docs/adr/0020). */
export const BLAME_MUTANTS: Readonly<Record<string, Mutant>> = {
  "one line's evidence holds its batch back": {
    weather: 'blame',
    patch: () =>
      replaced(
        BatchRoute.prototype,
        'noteFailure',
        () =>
          function (this: BatchRoute, failure, call) {
            return this.holdBack(failure, call);
          },
      ),
  },

  'a refusal counts while nobody gets through': {
    weather: 'blame',
    patch: () =>
      replaced(
        Server.prototype,
        'route',
        (routeOf) =>
          function (this: Server, upstream, endpoint) {
            const route = routeOf.call(this, upstream, endpoint);
            // Whenever it is asked, it says that a request has just been accepted.
            const later = { get: () => Infinity, set() {} };
            Object.defineProperty(route, 'acceptedStartedAtMs', later);
            return route;
          },
      ),
  },

  'a success that carries a failure is recorded as a success': {
    weather: 'blame',
    upstream: (upstream) =>
      heard(upstream, (reply) => (reply.kind === 'answer' ? { ...reply, fault: null } : reply)),
  },

  'Retry-After is kept for each deployment': {
    weather: 'blame',
    upstream: (upstream) => overriding(upstream, { server: upstream.name }),
  },

  'the last lines never end': {
    weather: 'blame',
    patch: () => {
      const isTail = Object.getOwnPropertyDescriptor(Backlog.prototype, 'isTail')!;
      Object.defineProperty(Backlog.prototype, 'isTail', { ...isTail, get: () => false });
      return () => Object.defineProperty(Backlog.prototype, 'isTail', isTail);
    },
  },

  "an account's refusal is held against lines": {
    weather: 'blame',
    upstream: (upstream) =>
      heard(upstream, (reply) =>
        reply.kind === 'answer' && reply.status >= 400 && classifyFailure(reply).names === 'account'
          ? errorAnswer(400, { words: 'bad request', retryAfterMs: null })
          : reply,
      ),
  },

  'probes go out without pauses': {
    weather: 'blame',
    patch: () => replaced(Route.prototype, 'probeReadiness', () => () => 'probe'),
  },

  'a crash suspect that is rejected keeps the turn of suspects': {
    weather: 'killer',
    patch: () =>
      replaced(
        CrashSuspects.prototype,
        'acquit',
        (before) =>
          function (this: CrashSuspects, line) {
            return line.trouble?.failure.kind === 'rejected' ? Promise.resolve() : before.call(this, line);
          },
      ),
  },
};

const heard = (upstream: Upstream, hear: (reply: UpstreamReply) => UpstreamReply): Upstream =>
  overriding(upstream, { call: async (request, signal) => hear(await upstream.call(request, signal)) });

function replaced<T extends object, K extends keyof T>(
  target: T,
  name: K,
  by: (before: T[K]) => T[K],
): () => void {
  const before = target[name];
  target[name] = by(before);
  return () => {
    target[name] = before;
  };
}
