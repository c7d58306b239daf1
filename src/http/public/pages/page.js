// Renders /openapi.json by topic. Everything is set as text, never as HTML.
const make = (tag, props = {}, children = []) => {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
};
const code = (textContent) => make('code', { textContent });
const block = (text) => make('pre', {}, [code(text)]);
/** Text in which `names` are set as code. */
const prose = (text) => text.split('`').map((part, index) => (index % 2 === 1 ? code(part) : part));
const section = (title, ...content) => [make('h3', { textContent: title }), ...content];
const idOf = (kind, name) => `${kind}-${name.replaceAll(/\W+/g, '-')}`;

const nameOf = ({ $ref = '' }) => /^#\/components\/schemas\/(.+)$/.exec($ref)?.[1];

/** `array of File`, `string | null`: shapes that have a name are links to them. */
function typeOf(schema) {
  const name = nameOf(schema);
  if (name) return [make('a', { href: `#${idOf('shape', name)}`, textContent: name })];
  const choices = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (choices) return choices.flatMap((choice, index) => [...(index > 0 ? [' | '] : []), ...typeOf(choice)]);
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(' | ')];
  if (schema.type === 'array') return ['array of ', ...typeOf(schema.items ?? {})];
  if (schema.format === 'binary') return ['bytes'];
  return [[schema.type ?? 'anything'].flat().join(' | ')];
}

const entry = (name, { required, schema, place, description }) => [
  make('dt', {}, [
    code(name),
    ' ',
    make('span', { className: 'type' }, typeOf(schema)),
    ...(place ? [` in ${place}`] : []),
    ...(required ? [', required'] : []),
  ]),
  ...(description ? [make('dd', {}, prose(description))] : []),
];

const members = ({ properties = {}, required = [] }) =>
  make(
    'dl',
    {},
    Object.entries(properties).flatMap(([name, schema]) => [
      ...entry(name, { schema, required: required.includes(name), description: schema.description }),
      ...(schema.properties ? [make('dd', {}, [members(schema)])] : []),
    ]),
  );

/** A shape in place: by its name where it has one. */
const shape = (schema) =>
  schema.properties && !nameOf(schema) ? members(schema) : make('p', { className: 'type' }, typeOf(schema));

const parameters = (list) =>
  make(
    'dl',
    {},
    list.flatMap(({ name, in: place, required, schema = {}, description }) =>
      entry(name, { required, schema, place, description: description ?? schema.description }),
    ),
  );

function operation({ path, method, details }) {
  const [sentence, ...more] = (details.description ?? details.summary).split('\n\n');
  return make('details', { id: idOf(method, path) }, [
    make('summary', {}, [
      make('span', { className: 'method', textContent: method.toUpperCase() }),
      code(path),
      make('p', {}, prose(sentence)),
    ]),
    ...more.map((paragraph) => make('p', {}, prose(paragraph))),
    ...section('Example', ...(details['x-codeSamples'] ?? []).map(({ source }) => block(source))),
    ...(details.parameters?.length ? section('Parameters', parameters(details.parameters)) : []),
    ...Object.entries(details.requestBody?.content ?? {}).flatMap(([type, { schema = {} }]) =>
      section(`Body: ${type}`, shape(schema)),
    ),
    ...Object.entries(details.responses ?? {}).flatMap(([status, { content = {} }]) =>
      section(
        status === 'default' ? 'Answer to what is refused' : `Answer ${status}`,
        ...Object.values(content).map(({ schema = {} }) => shape(schema)),
      ),
    ),
  ]);
}

const topic = ({ name, description }, operations) =>
  make('section', { id: idOf('topic', name) }, [
    make('h2', { textContent: title(name) }),
    make('p', {}, prose(description)),
    ...operations.map(operation),
  ]);

const shapes = (schemas) =>
  make('section', { id: 'topic-shapes' }, [
    make('h2', { textContent: 'Shapes' }),
    make('p', { textContent: 'What goes in and comes out, by name.' }),
    ...Object.entries(schemas)
      .toSorted(([one], [other]) => one.localeCompare(other))
      .map(([name, schema]) =>
        make('details', { id: idOf('shape', name) }, [
          make('summary', {}, [code(name), schema.description ? ` ${schema.description}` : '']),
          schema.properties ? members(schema) : make('p', { className: 'type' }, typeOf(schema)),
        ]),
      ),
  ]);

const title = (name) => name[0].toUpperCase() + name.slice(1);

/** A link to what is folded opens it. */
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === 'DETAILS') target.open = true;
  target?.scrollIntoView();
}

const main = document.querySelector('#operations');
try {
  const api = await (await fetch('/openapi.json')).json();
  document.querySelector('#description').textContent = api.info.description;
  document.querySelector('#export').textContent = `export OFFPEAK=${location.origin} KEY=... ADMIN_KEY=...`;
  document
    .querySelector('#servers')
    .append(...api.servers.map(({ url, description }) => make('li', {}, [code(url), ` ${description}`])));
  const all = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, details]) => ({ path, method, details })),
  );
  document
    .querySelector('#topics')
    .append(
      ...[...api.tags.map(({ name }) => name), 'shapes'].map((name) =>
        make('a', { href: `#${idOf('topic', name)}`, textContent: title(name) }),
      ),
    );
  main.replaceChildren(
    ...api.tags.map((tag) =>
      topic(
        tag,
        all.filter(({ details }) => details.tags?.includes(tag.name)),
      ),
    ),
    shapes(api.components.schemas),
  );
  window.addEventListener('hashchange', unfold);
  unfold();
} catch (error) {
  main.replaceChildren(make('p', { textContent: `The document could not be loaded: ${String(error)}` }));
}
