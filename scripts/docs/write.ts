import { readFileSync, writeFileSync } from 'node:fs';
import { configurationPage } from '../../src/config/docs.ts';
import { errorPage } from './errors.ts';
import { withEvents } from './events.ts';
import { withRoles } from './roles.ts';

// Writes the pages that are made from the sources. Tests hold the pages against what this makes of them.
const page = (name: string): URL => new URL(`../../docs/${name}.md`, import.meta.url);
writeFileSync(page('configuration'), configurationPage());
writeFileSync(page('errors'), errorPage());
writeFileSync(page('identity'), withRoles(readFileSync(page('identity'), 'utf8')));
writeFileSync(page('operations'), withEvents(readFileSync(page('operations'), 'utf8')));
