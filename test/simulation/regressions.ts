/** Seeds that once broke a promise, with what the engine did. They are run with every test run. */
export const REGRESSIONS: Readonly<Record<number, string>> = {
  107: 'a stop waited for a whole tick',
  186: 'a claim that was under way at a stop stayed claimed',
  198: 'the alarms of a deployment with two upstreams added up through a long outage',
  204: 'a segment was lost with the answer to its claim',
  215: 'the ends of the process for which a line was to blame were counted anew each time',
  272: 'a process that came late wrote an empty output over the published one',
  327: 'a suspect line was sent although the upstream had asked to wait meanwhile',
  345: 'one poison line kept an upstream closed off after an outage',
  389: 'an innocent line was blamed for the end of the process',
  399: 'a process that came late failed a batch that its successor had started',
  480: 'a process that came late wrote answered lines into the error file of a cancelled batch',
  529: 'two processes on one store made each other look for work without a pause',
  1051: 'the tries of an outage in which all were asked to slow down were held against a last line',
  5268: 'the tries of an outage of a day were held against a last line once the server was back',
  20099: 'a create that met a stop was answered with an internal failure',
  201490: 'a process that came late wrote an empty output over that of a cancelled batch',
  202266: 'a suspect line was sent although the disk had filled while its try was written down',
  700410: 'a try before an outage in which all were asked to slow down was held against a last line after it',
};

/** As above, of histories in which lines, servers, accounts and set-ups fail in every way. */
export const BLAME_REGRESSIONS: Readonly<Record<number, string>> = {
  98: 'a last line felled its server six times, since nothing else was sent that could tell',
  134: 'lines that waited for a probe kept the lines after them from being claimed',
  239: 'a server that came back with a Retry-After was called before it by those who had waited',
};
