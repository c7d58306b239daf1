import { rm } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { Clients } from './clients.ts';
import { Figures, report } from './figures.ts';
import { SoakService } from './service.ts';

// npm run soak [-- --minutes 20 --clients 4 --keep 60s] runs the real service under load and disturbances, and reports what
// grows meanwhile. It exits with 1 if a promise was broken.

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '20' },
    clients: { type: 'string', default: '4' },
    /** How long the service keeps what has ended, so that a run is long enough to see it go. */
    keep: { type: 'string', default: '60s' },
    seed: { type: 'string', default: '1' },
  },
});
const minutes = Number(values.minutes);
const beganAt = performance.now();
const untilMs = beganAt + minutes * 60_000;
const SAMPLE_EVERY_MS = 5_000;
const DISTURB_EVERY_MS = 11_000;
const TELL_EVERY_MS = 30_000;

const service = await SoakService.start({ keep: values.keep });
const figures = new Figures(service);
const clients = new Clients(service, { seed: Number(values.seed) });
const every = async (ms: number, work: () => Promise<unknown> | void): Promise<void> => {
  while (performance.now() < untilMs && !service.hasEnded) {
    await new Promise((resolve) =>
      setTimeout(resolve, Math.min(ms, Math.max(0, untilMs - performance.now()))),
    );
    await work();
  }
};

try {
  await Promise.all([
    ...Array.from({ length: Number(values.clients) }, (_, index) => clients.run(index, untilMs)),
    every(SAMPLE_EVERY_MS, () => figures.sample(clients.ended)),
    every(DISTURB_EVERY_MS, () => service.disturb()),
    every(TELL_EVERY_MS, () => {
      const left = Math.max(0, (untilMs - performance.now()) / 60_000).toFixed(1);
      console.error(`${left} min left: ${clients.summary()}; ${service.summary()}`);
    }),
  ]);
  await service.calm();
  await clients.settle();
} catch (error) {
  clients.broken.add(`the run ended early: ${String(error)}`);
} finally {
  const code = await service.stop();
  if (code !== 0) clients.broken.add(`the service ended with ${code}:\n${service.said()}`);
}

console.log(report({ minutes: (performance.now() - beganAt) / 60_000, figures, clients, service }));
await rm(service.dir, { recursive: true, force: true });
process.exitCode = clients.broken.size === 0 ? 0 : 1;
