import { Pool } from 'undici';

// The yardstick of dispatch is undici's `Pool.dispatch` with prepared bodies and nothing around it. This prints milliseconds:
// node bench/dispatch-loop.ts PORT CONCURRENCY REQUESTS BODY_BYTES

const [port, concurrency, requests, bodyBytes] = process.argv.slice(2).map(Number) as [
  number,
  number,
  number,
  number,
];
const pool = new Pool(`http://127.0.0.1:${port}`, { connections: concurrency, pipelining: 1 });
const body = Buffer.from(
  `{"model":"bench","messages":[{"role":"user","content":"${'x'.repeat(Math.max(0, bodyBytes - 60))}"}]}`,
);

let started = 0;
let finished = 0;
const done = Promise.withResolvers<void>();

function next(): void {
  if (started >= requests) return;
  started += 1;
  const chunks: Buffer[] = [];
  pool.dispatch(
    {
      path: '/v1/chat/completions',
      method: 'POST',
      headers: [
        'content-type',
        'application/json',
        'authorization',
        'Bearer k',
        'x-request-id',
        `r-${started}`,
      ],
      body,
    },
    {
      onRequestStart() {},
      onResponseStart() {},
      onResponseData(_controller, chunk) {
        chunks.push(chunk);
      },
      onResponseEnd() {
        Buffer.concat(chunks);
        finished += 1;
        if (finished === requests) done.resolve();
        else next();
      },
      onResponseError(_controller, error) {
        done.reject(error);
      },
    },
  );
}

const beganAt = performance.now();
for (let begun = 0; begun < concurrency; begun += 1) next();
await done.promise;
console.log(performance.now() - beganAt);
await pool.close();
